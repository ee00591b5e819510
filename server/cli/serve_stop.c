/*
 * serve_stop.c - the way down: ingest -> pipeline -> strangers -> deliver ->
 * reports -> http -> watch -> pool -> journal, each when the one before it has
 * ended.
 */
#include "server/base/log.h"
#include "server/cli/server.h"
#include <unistd.h>

enum {
    STOP_MOST_MS = 15000, /* then we leave: the journal makes that safe */
    HTTP_GRACE_MS = 2000
};

static void close_rest(void *arg)
{
    struct server *v = arg;
    own_free(v->own);
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&v->signals[i], NULL);
    ticker_free(v->stop_limit);
    v->stop_limit = NULL;
    log_info("stopped", "pid=%d", getpid());
}

static void pool_closed(void *arg)
{
    struct server *v = arg;
    journal_close(v->journal, close_rest, v);
}

static void watch_closed(void *arg)
{
    struct server *v = arg;
    pg_pool_close(v->pool, pool_closed, v);
}

static void http_stopped(void *arg)
{
    struct server *v = arg;
    store_watch_close(v->watch, watch_closed, v);
}

static void reports_stopped(void *arg)
{
    struct server *v = arg;
    http_stop(v->http, HTTP_GRACE_MS, http_stopped, v);
}

static void deliver_stopped(void *arg)
{
    struct server *v = arg;
    reports_stop(v->reports, reports_stopped, v);
}

static void strangers_stopped(void *arg)
{
    struct server *v = arg;
    deliver_stop(v->deliver, deliver_stopped, v);
}

static void pipeline_stopped(void *arg)
{
    struct server *v = arg;
    strangers_stop(v->strangers, strangers_stopped, v);
}

static void ingest_stopped(void *arg)
{
    struct server *v = arg;
    pipeline_stop(v->pipeline, pipeline_stopped, v);
}

void server_on_stop_limit(void *arg)
{
    (void)arg;
    log_error("stopping takes too long", "after_ms=%d", STOP_MOST_MS);
    _exit(1); /* what is not stored is in the journal */
}

void server_on_signal(uv_signal_t *h, int number)
{
    struct server *v = h->data;
    if (v->stopping) {
        log_warning("second signal, leaving at once", "signal=%d", number);
        _exit(1);
    }
    v->stopping = true;
    log_info("stopping", "signal=%d", number);
    ticker_start(v->stop_limit, STOP_MOST_MS, 0);
    ticker_free(v->maintain);
    progress_free(v->progress);
    v->progress = NULL;
    pulse_free(v->pulse);
    v->pulse = NULL;
    boot_stop(v->boot);
    feed_stop(v->feed);
    keeper_stop(v->keeper);
    slotting_stop(v->slotting);
    queue_stop(v->commands);
    ingest_stop(v->ingest, ingest_stopped, v);
}
