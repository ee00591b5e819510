/*
 * conn.c - the life of one PostgreSQL connection:
 * open_start (pool thread: open_work) -> open_done -> up ... down -> pause.
 */
#include "server/store/conn.h"
#include "server/base/mem.h"
#include "server/base/str.h"
#include <stdio.h>
#include <stdlib.h>

struct pg_conn {
    uv_loop_t *loop;
    char *url, *role, *setup;
    int connect_s;
    struct pg_conn_events events;
    PGconn *pq;      /* while up */
    uv_poll_t *poll; /* closes by itself; freed in poll_closed */
    struct ticker *retry;
    struct backoff backoff;
    bool opening, closing;
    PGconn *opened; /* from the pool thread */
    char error[256];
    void (*closed)(void *);
    void *closed_arg;
};

static void open_start(void *arg);

/* Pool thread. Only the fields that nobody else touches while `opening`. */
static int setup_session(struct pg_conn *c, PGconn *pq)
{
    static const char settings[] =
        "SET timezone = 'UTC'; SET jit = off;"
        "SET client_connection_check_interval = '5s';"
        "SET idle_in_transaction_session_timeout = '60s'";
    const char *steps[3] = {settings, NULL, c->setup};
    char set_role[160] = "";

    if (c->role && *c->role && strcmp(c->role, PQuser(pq)) != 0) {
        char *quoted = PQescapeIdentifier(pq, c->role, strlen(c->role));
        snprintf(set_role, sizeof set_role, "SET ROLE %s",
                 quoted ? quoted : "");
        PQfreemem(quoted);
        steps[1] = set_role;
    }
    for (int i = 0; i < 3; i++) {
        if (!steps[i])
            continue;
        PGresult *r = PQexec(pq, steps[i]);
        bool ok = PQresultStatus(r) == PGRES_COMMAND_OK ||
                  PQresultStatus(r) == PGRES_TUPLES_OK;
        PQclear(r);
        if (!ok)
            return -1;
    }
    return 0;
}

static int open_work(void *arg)
{
    struct pg_conn *c = arg;
    char limit[16];
    snprintf(limit, sizeof limit, "%d", c->connect_s > 1 ? c->connect_s : 2);
    const char *keys[] = {"dbname", "connect_timeout", "application_name",
                          "tcp_user_timeout", NULL};
    const char *values[] = {c->url, limit, "headend", "15000", NULL};
    PGconn *pq = PQconnectdbParams(keys, values, 1);

    if (PQstatus(pq) != CONNECTION_OK || setup_session(c, pq) < 0 ||
        PQsetnonblocking(pq, 1) != 0) {
        struct str e = str_trim(str_of(PQerrorMessage(pq)));
        snprintf(c->error, sizeof c->error, "%.*s", STR_ARGS(e));
        PQfinish(pq);
        return -1;
    }
    c->opened = pq;
    return 0;
}

static void close_finish(struct pg_conn *c)
{
    ticker_free(c->retry);
    free(c->url);
    free(c->role);
    free(c->setup);
    void (*closed)(void *) = c->closed;
    void *arg = c->closed_arg;
    free(c);
    if (closed)
        closed(arg);
}

static void poll_closed(uv_handle_t *h)
{
    free(h);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct pg_conn *c = h->data;
    if (status < 0) {
        pg_conn_fail(c, uv_strerror(status));
        return;
    }
    if (events & UV_WRITABLE && pg_conn_flush(c) && c->events.room)
        c->events.room(c->events.arg);
    if (!c->pq || c->poll != h || !(events & UV_READABLE))
        return;
    if (!PQconsumeInput(c->pq))
        pg_conn_fail(c, PQerrorMessage(c->pq));
    else
        c->events.input(c->events.arg);
}

static void watch(struct pg_conn *c, bool writing)
{
    uv_poll_start(c->poll, UV_READABLE | (writing ? UV_WRITABLE : 0), on_poll);
}

static void open_done(void *arg, int result)
{
    struct pg_conn *c = arg;
    c->opening = false;
    if (c->closing) {
        if (result == 0)
            PQfinish(c->opened);
        close_finish(c);
        return;
    }
    if (result < 0) {
        c->events.down(c->events.arg, c->error);
        ticker_start(c->retry, backoff_pause_ms(&c->backoff), 0);
        return;
    }
    backoff_reset(&c->backoff);
    c->pq = c->opened;
    c->poll = mem_alloc(sizeof *c->poll);
    uv_poll_init(c->loop, c->poll, PQsocket(c->pq));
    c->poll->data = c;
    watch(c, false);
    c->events.up(c->events.arg);
}

static void open_start(void *arg)
{
    struct pg_conn *c = arg;
    c->opening = true;
    offload(c->loop, open_work, open_done, c);
}

struct pg_conn *pg_conn_new(uv_loop_t *loop, const struct pg_conn_options *o,
                            const struct pg_conn_events *events)
{
    struct pg_conn *c = mem_alloc(sizeof *c);
    c->loop = loop;
    c->url = mem_strdup(o->url);
    c->role = mem_strdup(o->role);
    c->setup = mem_strdup(o->setup);
    c->connect_s = o->connect_s;
    c->events = *events;
    c->backoff = (struct backoff){.first_ms = 100, .most_ms = 1000};
    c->retry = ticker_new(loop, open_start, c);
    open_start(c);
    return c;
}

PGconn *pg_conn_pq(const struct pg_conn *c)
{
    return c->pq;
}

bool pg_conn_flush(struct pg_conn *c)
{
    if (!c->pq)
        return false;
    int left = PQflush(c->pq);
    if (left < 0)
        pg_conn_fail(c, PQerrorMessage(c->pq));
    else
        watch(c, left == 1);
    return left == 0;
}

static void drop(struct pg_conn *c)
{
    uv_poll_stop(c->poll);
    uv_close((uv_handle_t *)c->poll, poll_closed);
    c->poll = NULL;
    PQfinish(c->pq);
    c->pq = NULL;
}

void pg_conn_fail(struct pg_conn *c, const char *error)
{
    if (!c->pq)
        return;
    struct str e = str_trim(str_of(error));
    snprintf(c->error, sizeof c->error, "%.*s", STR_ARGS(e));
    drop(c);
    ticker_start(c->retry, backoff_pause_ms(&c->backoff), 0);
    c->events.down(c->events.arg, c->error);
}

static void close_later(void *arg)
{
    close_finish(arg);
}

void pg_conn_close(struct pg_conn *c, void (*done)(void *), void *arg)
{
    c->closing = true;
    c->closed = done;
    c->closed_arg = arg;
    if (c->pq)
        drop(c);
    if (c->opening)
        return; /* open_done goes on */
    ticker_free(c->retry);
    c->retry = ticker_new(c->loop, close_later, c);
    ticker_start(c->retry, 0, 0);
}
