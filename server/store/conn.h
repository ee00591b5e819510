/*
 * conn.h - one connection that keeps itself open. Opened on a pool thread
 * (name lookup, TLS and authentication block), then non-blocking on the loop;
 * lost ones come back with growing pauses. Inside the store only.
 */
#pragma once

#include "server/loop/loop.h"
#include <libpq-fe.h>

struct pg_conn; /* opaque */

struct pg_conn_options {
    const char *url;
    const char *role; /* SET ROLE when the session user is another */
    int connect_s;
    const char *setup; /* statements run once after connecting, or NULL */
};

struct pg_conn_events {
    void (*up)(void *arg);    /* ready for queries */
    void (*input)(void *arg); /* PQconsumeInput succeeded: look for results */
    void (*room)(void *arg);  /* all is sent that had to wait; NULL is fine */
    void (*down)(void *arg, const char *error); /* whatever ran is lost */
    void *arg;
};

/* Copies the options' texts. */
struct pg_conn *pg_conn_new(uv_loop_t *loop, const struct pg_conn_options *o,
                            const struct pg_conn_events *events);
/* The libpq connection while up, else NULL. */
PGconn *pg_conn_pq(const struct pg_conn *c);
/* Sends what libpq has buffered; call after each PQsend* or PQput*. False when
 * some of it has to wait (then `room` runs), or the connection failed. */
bool pg_conn_flush(struct pg_conn *c);
/* Drops the connection and opens it again; `down` runs inside this call. */
void pg_conn_fail(struct pg_conn *c, const char *error);
/* `done` runs later, when nothing is under way any more. */
void pg_conn_close(struct pg_conn *c, void (*done)(void *), void *arg);
