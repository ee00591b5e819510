/*
 * pg.h - PostgreSQL without ever blocking the loop: connections are opened on
 * a pool thread (name lookup, TLS and authentication included), queries run
 * through libpq's non-blocking interface on the loop. One pool, n connections,
 * requests wait in line. Loop thread only.
 */
#pragma once

#include "server/base/err.h"
#include "server/base/str.h"
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pg_pool; /* opaque */

enum { PG_PARAMS = 16, PG_ERROR = 512 };

struct pg_options {
    const char *url;  /* libpq connection URI or keyword string */
    const char *role; /* SET ROLE after connecting when the session user is
                         another; NULL or "": none */
    int connections;  /* 1..64 */
    int connect_s;    /* limit for opening one */
    int deadline_ms;  /* limit for one request, 0: none */
    int queue;        /* most waiting requests; above: ERR_FULL */
};

int pg_pool_new(uv_loop_t *loop, const struct pg_options *o,
                struct pg_pool **ret);
/* Waiting requests end with ERR_AWAY, running ones are cancelled, new ones
 * refused with ERR_FULL: what ends on a pool thread may still ask. */
void pg_pool_close(struct pg_pool *p, void (*done)(void *), void *arg);
void pg_pool_free(struct pg_pool *p);     /* closed, and its loop has ended */
bool pg_pool_up(const struct pg_pool *p); /* at least one live connection */
const char *pg_pool_error(const struct pg_pool *p); /* last, for people; "" */

/* No tenant is visible to a request without one. */
enum { PG_NO_TENANT = -1 };

/* A row: text values by column, of the one row 0 of `res`. */
typedef void pg_row_fn(void *arg, const PGresult *res, int row);
/* Exactly once. err 0; ERR_DATABASE with the server's message, ERR_AWAY (no
 * connection, cut, or deadline). `rows` is the count of rows, or of affected
 * rows for a statement without a result. sqlstate "" when there is none. */
struct pg_outcome {
    int err;
    int64_t rows;
    char sqlstate[6];
    char column[64]; /* that the error is about, or its constraint; "" */
    char error[PG_ERROR];
};
typedef void pg_done_fn(void *arg, const struct pg_outcome *o);

/* Who acts, for the audit trail and for what may be given away (settings
 * headend.actor, headend.address, headend.rights). Copied. */
struct pg_actor {
    const char *name;    /* "anna@example.org", "api key 7 (billing)" */
    const char *address; /* where from */
    uint32_t rights;
};

/* One statement in one transaction under row-level security for one tenant.
 * Parameters are text ($1...), copied. row may be NULL. Streams row by row, so
 * a large answer needs little memory. ERR_FULL: the line is too long. */
struct pg_call {
    int32_t tenant_id;
    const struct pg_actor *actor; /* NULL: the server itself */
    bool write;                   /* else the transaction is READ ONLY */
    const char *sql;              /* static */
    int n;
    const char *values[PG_PARAMS]; /* NULL is SQL NULL */
    pg_row_fn *row;
    pg_done_fn *done;
    void *arg;
};
int pg_call(struct pg_pool *p, const struct pg_call *c);
