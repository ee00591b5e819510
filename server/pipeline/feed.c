/*
 * feed.c - one round: meters_start -> meter_row ... -> meters_done ->
 * integration_row ... -> integrations_done. A failed round is tried again.
 */
#include "server/pipeline/feed.h"
#include "schema/frame.h"
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdio.h>
#include <stdlib.h>

struct feed {
    struct pg_pool *pool;
    struct directory *directory;
    void (*loaded)(void *);
    void *arg;
    struct ticker *soon;
    char since[24], upto[24]; /* xid8: what the next, this round began with */
    uint64_t began;           /* `since` of the last round */
    uint32_t meters;
    bool running, again, first_done, stopped;
    struct integration *list;
    uint32_t n, cap;
};

enum { RETRY_MS = 500 };

static void meters_start(void *arg);

static const char *cell(const PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column) ? NULL : PQgetvalue(res, row, column);
}

static void meter_row(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    struct meter_entry m = {.tenant_id = atoi(PQgetvalue(res, row, 0)),
                            .meter_id = atoi(PQgetvalue(res, row, 1)),
                            .serial = str_of(PQgetvalue(res, row, 3)),
                            .codec = PQgetvalue(res, row, 4),
                            .zone = PQgetvalue(res, row, 5)};

    hex_eui(str_of(PQgetvalue(res, row, 2)), &m.dev_eui);
    snprintf(f->upto, sizeof f->upto, "%s", PQgetvalue(res, row, 7));
    f->meters++;
    if (*PQgetvalue(res, row, 6) == 't')
        directory_drop_meter(f->directory, m.tenant_id, m.meter_id);
    else
        directory_put_meter(f->directory, &m);
}

static enum integration_kind kind_of(const char *name)
{
    return strcmp(name, "chirpstack") == 0 ? INTEGRATION_CHIRPSTACK
           : strcmp(name, "tts") == 0      ? INTEGRATION_TTS
                                           : INTEGRATION_HEO;
}

static void integration_row(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 8;
        f->list = mem_grow(f->list, f->cap, sizeof *f->list);
    }
    f->list[f->n++] =
        (struct integration){.tenant_id = atoi(PQgetvalue(res, row, 0)),
                             .integration_id = atoi(PQgetvalue(res, row, 1)),
                             .name = mem_strdup(cell(res, row, 2)),
                             .kind = kind_of(PQgetvalue(res, row, 3)),
                             .url = mem_strdup(cell(res, row, 4)),
                             .username = mem_strdup(cell(res, row, 5)),
                             .password = mem_strdup(cell(res, row, 6)),
                             .ca_file = mem_strdup(cell(res, row, 7)),
                             .cert_file = mem_strdup(cell(res, row, 8)),
                             .key_file = mem_strdup(cell(res, row, 9)),
                             .topic_prefix = mem_strdup(cell(res, row, 10)),
                             .bridges = atoi(PQgetvalue(res, row, 11)),
                             .enabled = *PQgetvalue(res, row, 12) == 't',
                             .revision = atoll(PQgetvalue(res, row, 13))};
}

static void round_end(struct feed *f, const struct pg_outcome *o)
{
    f->running = false;
    if (f->stopped)
        return;
    if (o->err) {
        if (o->err == ERR_DATABASE)
            log_error("directory not read", "error=%s", o->error);
        ticker_start(f->soon, RETRY_MS, 0);
        return;
    }
    if (f->again) {
        f->again = false;
        ticker_start(f->soon, 0, 0);
    }
}

static void integrations_done(void *arg, const struct pg_outcome *o)
{
    struct feed *f = arg;
    if (o->err == 0) {
        f->began = strtoull(f->since, NULL, 10);
        snprintf(f->since, sizeof f->since, "%s", f->upto);
        directory_put_integrations(f->directory, f->list, f->n);
        f->list = NULL;
        f->n = f->cap = 0;
        if (!f->first_done)
            log_info("directory loaded", "meters=%u",
                     directory_meters(f->directory));
        f->first_done = true;
        f->loaded(f->arg);
    }
    round_end(f, o);
}

static void list_free(struct feed *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct integration *x = &f->list[i];
        char *texts[] = {x->name,     x->url,         x->username,
                         x->password, x->ca_file,     x->cert_file,
                         x->key_file, x->topic_prefix};
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
            free(texts[t]);
    }
    free(f->list);
    f->list = NULL;
    f->n = f->cap = 0;
}

static void integrations_start(struct feed *f)
{
    list_free(f); /* of a round that failed halfway */
    struct pg_call c = {
        .tenant_id = PG_NO_TENANT,
        .sql = "SELECT tenant_id, integration_id, name, kind, url, username,"
               " password, ca_file, cert_file, key_file, topic_prefix, bridges,"
               " enabled, revision FROM directory_integrations()",
        .row = integration_row,
        .done = integrations_done,
        .arg = f};
    int err = pg_call(f->pool, &c);
    if (err < 0)
        round_end(f, &(struct pg_outcome){.err = err});
}

static void meters_done(void *arg, const struct pg_outcome *o)
{
    struct feed *f = arg;
    if (o->err)
        round_end(f, o);
    else
        integrations_start(f);
}

static void meters_start(void *arg)
{
    struct feed *f = arg;
    if (f->running) {
        f->again = true;
        return;
    }
    f->running = true;
    f->meters = 0;
    snprintf(f->upto, sizeof f->upto, "%s", f->since);
    struct pg_call c = {
        .tenant_id = PG_NO_TENANT,
        .sql = "SELECT tenant_id, meter_id, coalesce(dev_eui, ''), serial,"
               " codec, timezone, removed, upto"
               " FROM directory_meters($1::xid8)",
        .n = 1,
        .values = {f->since},
        .row = meter_row,
        .done = meters_done,
        .arg = f};
    int err = pg_call(f->pool, &c);
    if (err < 0)
        round_end(f, &(struct pg_outcome){.err = err});
}

struct feed *feed_new(uv_loop_t *loop, struct pg_pool *pool,
                      struct directory *d, void (*loaded)(void *), void *arg)
{
    struct feed *f = mem_alloc(sizeof *f);
    *f = (struct feed){.pool = pool,
                       .directory = d,
                       .loaded = loaded,
                       .arg = arg,
                       .since = "0"};
    f->soon = ticker_new(loop, meters_start, f);
    return f;
}

uint32_t feed_news(const struct feed *f, uint64_t *since)
{
    *since = f->began;
    return f->meters;
}

void feed_wake(struct feed *f)
{
    if (!f->stopped)
        ticker_start(f->soon, 0, 0);
}

void feed_stop(struct feed *f)
{
    f->stopped = true;
    ticker_stop(f->soon);
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    ticker_free(f->soon);
    list_free(f);
    free(f);
}
