/*
 * watch.c - one connection that only listens. Many notifications in a row are
 * one change.
 */
#include "server/store/watch.h"
#include "server/base/mem.h"
#include "server/store/conn.h"
#include <stdlib.h>

struct store_watch {
    struct pg_conn *conn;
    void (*changed)(void *);
    void *arg;
    void (*closed)(void *);
    void *closed_arg;
};

static void on_up(void *arg)
{
    struct store_watch *w = arg;
    w->changed(w->arg);
}

static void on_input(void *arg)
{
    struct store_watch *w = arg;
    PGnotify *n;
    int seen = 0;
    while ((n = PQnotifies(pg_conn_pq(w->conn)))) {
        PQfreemem(n);
        seen++;
    }
    if (seen)
        w->changed(w->arg);
}

static void on_down(void *arg, const char *error)
{
    (void)arg;
    (void)error;
}

struct store_watch *store_watch_new(uv_loop_t *loop, const char *url,
                                    const char *role, int connect_s,
                                    void (*changed)(void *), void *arg)
{
    struct store_watch *w = mem_alloc(sizeof *w);
    w->changed = changed;
    w->arg = arg;
    w->conn = pg_conn_new(
        loop,
        &(struct pg_conn_options){url, role, connect_s,
                                  "LISTEN headend_directory"},
        &(struct pg_conn_events){on_up, on_input, NULL, on_down, w});
    return w;
}

static void on_closed(void *arg)
{
    struct store_watch *w = arg;
    void (*closed)(void *) = w->closed;
    void *closed_arg = w->closed_arg;
    free(w);
    if (closed)
        closed(closed_arg);
}

void store_watch_close(struct store_watch *w, void (*done)(void *), void *arg)
{
    w->closed = done;
    w->closed_arg = arg;
    pg_conn_close(w->conn, on_closed, w);
}
