/*
 * serve.c - headend serve: opens the rooms bottom-up, runs the loop, closes
 * them top-down.
 *   start: journal, pool, pipeline, http, api -> boot -> directory ->
 *          pipeline_start, ingest_apply: "serving" -> backlog: "reconciled"
 */
#include "server/base/log.h"
#include "server/cli/server.h"
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAINTAIN_MS = 3600 * 1000 };

static void on_hangup(uv_signal_t *h, int number)
{
    struct server *v = h->data;

    if (v->stopping)
        return;
    log_info("reading certificates anew", "signal=%d", number);
    ingest_reload(v->ingest);
    http_reload(v->http);
}

static void catch_signals(struct server *v)
{
    static const int numbers[3] = {SIGTERM, SIGINT, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&v->loop, &v->signals[i]);
        v->signals[i].data = v;
        uv_signal_start(&v->signals[i], i < 2 ? server_on_signal : on_hangup,
                        numbers[i]);
    }
}

static void start_tickers(struct server *v)
{
    v->maintain = ticker_new(&v->loop, server_on_maintain, v);
    ticker_start(v->maintain, MAINTAIN_MS, MAINTAIN_MS);
    v->pulse = pulse_new(&v->loop);
    v->stop_limit = ticker_new(&v->loop, server_on_stop_limit, v);
}

static void free_rooms(struct server *v)
{
    ingest_free(v->ingest);
    strangers_free(v->strangers);
    deliver_free(v->deliver);
    reports_free(v->reports);
    pipeline_free(v->pipeline);
    http_free(v->http);
    api_free(v->api);
    feed_free(v->feed);
    keeper_free(v->keeper);
    slotting_free(v->slotting);
    queue_free(v->commands);
    book_free(v->clocks);
    boot_free(v->boot);
    uv_run(&v->loop, UV_RUN_DEFAULT); /* handles that close by themselves */
    pg_pool_free(v->pool);
    directory_free(v->directory);
    scripts_free(v->scripts);
    vault_free(v->vault);
    admit_keep_books(NULL);
    ledger_free(v->books);
    uv_loop_close(&v->loop);
}

/* A descriptor for each meter: as many as the system lets us have. */
static void raise_files(void)
{
    struct rlimit most;

    if (getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur < most.rlim_max) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
}

int cmd_serve(struct cli *c)
{
    static struct server v;
    size_t n = sizeof v.program;

    raise_files();
    /* Connections open and files sync on the pool: more threads than cores. */
    setenv("UV_THREADPOOL_SIZE", "16", 0);
    /* A batch's memory is needed again by the next one: giving it back costs
     * more than decoding does. Few heaps, so that what is kept is kept once. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 16 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
    v.s = &c->settings;
    snprintf(v.window, sizeof v.window, "%lld", (long long)v.s->dedup_window_s);
    uv_exepath(v.program, &n);
    if (sodium_init() < 0)
        return cli_fail("libsodium cannot start");
    uv_loop_init(&v.loop);
    log_info("headend starts", "version=%s pid=%d", HEADEND_VERSION, getpid());
    if (server_open_vault(&v) != 0 || server_open_journal(&v) != 0 ||
        server_open_clock(&v) != 0)
        return 1;
    server_open_database(&v);
    if (server_open_oidc(&v) != 0 || server_open_http(&v) != 0 ||
        server_open_ingest(&v) != 0)
        return 1; /* the process ends; nothing has been accepted yet */
    catch_signals(&v);
    start_tickers(&v);
    uv_run(&v.loop, UV_RUN_DEFAULT);
    free_rooms(&v);
    return 0;
}
