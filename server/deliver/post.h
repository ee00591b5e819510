/*
 * post.h - one signed POST to an address that a tenant named, so a hostile
 * one: no redirects, bounded time and answer, and unless allowed no address
 * inside (checked on what the name resolved to, as the socket is made).
 */
#pragma once

#include "server/deliver/signature.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

enum { POST_ERROR = 200 };

struct post {
    const char *url, *id;
    struct str body;
    uint8_t secret[SECRET_BYTES];
    const char *ca_file; /* "": the system's authorities */
    int timeout_s;
    bool allow_private;
    uint64_t start_by;       /* uv_hrtime(); later it is not begun */
    const atomic_bool *stop; /* give up soon */
    /* what became of it */
    bool tried; /* false: given back, as if never begun */
    int status; /* of HTTP; 0: none */
    int64_t took_ms;
    char error[POST_ERROR]; /* "" when it was taken (2xx) */
};

/* Around all use, on the loop thread. */
void post_begin(void);
void post_end(void);
/* Not on the public internet: loopback, private, link-local, multicast ... */
bool post_is_inside(const struct sockaddr *a);
/* On a pool thread; blocks for timeout_s at most. */
void post_send(struct post *p);
