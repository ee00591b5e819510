/*
 * host.h - one codec-host process seen from outside: started, asked, killed.
 * One thread at a time.
 */
#pragma once

#include "codecs/script/wire.h"
#include <sys/types.h>

struct host {
    pid_t pid; /* 0: none runs */
    int fd;
    struct buf out, in;
};

enum host_end {
    HOST_ANSWERED,
    HOST_HUNG, /* over the wall clock; killed */
    HOST_FAT,  /* over the memory it may have; killed */
    HOST_CRASHED,
    HOST_RETIRED, /* ended by itself, worn */
    HOST_LOST,    /* ended by somebody else, or never scheduled */
    HOST_ABSENT,  /* could not be started */
};

/* Asks one question, starting the process first where needed. *ret points into
 * h->in until the next call. Whatever is not HOST_ANSWERED leaves no process
 * behind. */
enum host_end host_ask(struct host *h, const char *program, int wall_ms,
                       const struct wire_request *q, struct wire_answer *ret);
void host_stop(struct host *h);
