/*
 * publisher.h - an MQTT 3.1.1 publisher with QoS 1 on the libuv loop.
 *
 * Its own few packets instead of paho, because a load generator must cost
 * little: paho brings two threads and a lock per message, this writes whatever
 * a loop turn gathered with one system call. Every message is kept until its
 * PUBACK and sent again after a reconnect.
 */
#pragma once

#include "server/base/buf.h"
#include <uv.h>

struct publisher; /* opaque */

struct publisher_options {
    const char *url; /* mqtt://[user:password@]host[:port] */
    const char *client_id;
    uint32_t window;            /* most messages without PUBACK, <= 65535 */
    void (*on_room)(void *arg); /* connected, or a PUBACK came */
    void *arg;
};

struct publisher_stats {
    int64_t published, acked, resent, connects;
};

/* ERR_FORMAT (url); ERR_UNKNOWN (no such host). Connects by itself, again and
 * again. */
int publisher_new(uv_loop_t *loop, const struct publisher_options *o,
                  struct publisher **ret);
uint32_t publisher_room(const struct publisher *p); /* 0 while disconnected */
/* Copies. ERR_FULL without room. */
int publisher_send(struct publisher *p, struct str topic, struct str payload);
uint32_t publisher_waiting(const struct publisher *p); /* without PUBACK */
struct publisher_stats publisher_stats(const struct publisher *p);
/* Says DISCONNECT if it can; ends itself on the loop. NULL is fine. */
void publisher_free(struct publisher *p);
