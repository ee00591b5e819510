/*
 * line.h - inside of conns.c and conn.c: one connection, and all of them.
 */
#pragma once

#include "ingest/conn.h"

#include <uthash.h>

enum {
    READ_MAX = 64 * 1024,
    UNSENT_MAX = 64 * 1024, /* bytes of replies; more pause the reading */
    PLAIN_MAX = 16 * 1024,  /* most that one TLS record holds */
};

enum conn_state {
    OPEN,    /* greets, if it has a greeting; then the session talks */
    LEAVING, /* half-closed; what comes is dropped */
    CLOSING, /* uv_close is under way */
};

struct conn {
    struct conns *all;
    struct conn *prev, *next;
    const struct heo_host *host;
    void (*gone)(void *arg);
    void *gone_arg;
    struct conn *next_dirty;
    bool dirty, reading;
    bool claimed; /* in by_meter */
    enum conn_state state;
    uv_tcp_t handle;
    struct ticker *ticker;
    int64_t due_us;              /* what the ticker is set to */
    struct greeting *greeting;   /* NULL: over, or none is needed */
    struct tls *tls;             /* NULL: plain */
    struct heo_session *session; /* NULL while it greets */
    uint64_t meter; /* tenant << 32 | meter; 0 until it said hello */
    UT_hash_handle hh;
};

struct conns {
    uv_loop_t *loop;
    const struct ingest_options *o;
    uv_prepare_t turn;
    struct conn *list;
    struct conn *dirty;    /* to be settled in this turn */
    struct conn *by_meter; /* uthash */
    struct greeter *greeter;
    int64_t open, total, refused, secured, greetings_failed;
    bool has_room; /* a greeting ended in this turn, or waits */
    void (*room)(void *arg);
    void *room_arg;
    void (*done)(void *arg);
    void *done_arg;
    char scratch[READ_MAX]; /* what is read, by whichever connection */
    char plain[PLAIN_MAX];  /* what it means, where that was TLS */
};

/* conn.c: from its accept to its close; conns.c frees nothing by itself. */
void conn_start(struct conn *c, struct tls_context *tls);
void conn_settle(struct conn *c); /* once a turn, after conn_mark */
void conn_ticker(void *arg);
void conn_fail(struct conn *c, const char *why);
void conn_close(struct conn *c);
