/*
 * own.h - watches our own clock against NTP sources (or the kernel's, which
 * chrony or ntpd steers), and serves time to devices that ask for it. Loop
 * thread only.
 */
#pragma once

#include "timesvc/sntp.h"
#include <uv.h>

struct own_watch; /* opaque */

struct own_options {
    const char *sources; /* "a.example,b.example:123,[::1]:123", "kernel", "" */
    const char *listen;  /* SNTP server, "127.0.0.1:123"; "": none */
    int64_t poll_ms;
    const struct clock *clock;
};

/* Begins at once. ERR_FORMAT: sources or listen are not written so; ERR_FULL:
 * more than 8 sources; or libuv's error of the listener. */
int own_new(uv_loop_t *loop, const struct own_options *o,
            struct own_watch **ret);
/* Closes by itself in later turns of the loop. NULL is fine. */
void own_free(struct own_watch *w);

struct own_verdict own_verdict(const struct own_watch *w);
/* No meter is to be corrected, and readings are to be marked. */
bool own_unsure(const struct own_watch *w);
int64_t own_served(const struct own_watch *w); /* requests answered */
int own_port(const struct own_watch *w);       /* of the listener; 0: none */
