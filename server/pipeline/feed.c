/*
 * feed.c - one round: the steps below, one query each -> loaded. When a master
 * key is missing, the file is read again and the steps begin once more. A
 * failed round is tried again.
 */
#include "schema/frame.h"
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/pipeline/feed_rows.h"
#include "server/pipeline/tenant_codec.h"
#include <stdio.h>
#include <stdlib.h>

enum { RETRY_MS = 500 };

static void step_start(struct feed *f);

/* ---- codecs, meters and integrations ---- */

static void codec_row(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    int32_t tenant = atoi(PQgetvalue(res, row, 0));
    const char *name = PQgetvalue(res, row, 1);
    uint32_t version = (uint32_t)atoi(PQgetvalue(res, row, 2));
    const struct tenant_codec *known =
        directory_codec(f->directory, tenant, name);

    if (known && tenant_codec_face(known)->version == version)
        return;
    directory_put_codec(f->directory, tenant, name,
                        tenant_codec_new(f->scripts, tenant, name, version,
                                         (int16_t)atoi(PQgetvalue(res, row, 3)),
                                         str_of(PQgetvalue(res, row, 4)),
                                         str_of(PQgetvalue(res, row, 5))),
                        tenant_codec_unref);
    log_info("codec in force", "tenant=%d codec=%s version=%u", tenant, name,
             version);
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
    f->news++;
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
    int32_t tenant = atoi(PQgetvalue(res, row, 0));
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 8;
        f->list = mem_grow(f->list, f->cap, sizeof *f->list);
    }
    f->list[f->n++] = (struct integration){
        .tenant_id = tenant,
        .integration_id = atoi(PQgetvalue(res, row, 1)),
        .name = mem_strdup(feed_cell(res, row, 2)),
        .kind = kind_of(PQgetvalue(res, row, 3)),
        .url = mem_strdup(feed_cell(res, row, 4)),
        .username = mem_strdup(feed_cell(res, row, 5)),
        .password = feed_password(f, res, row, tenant),
        .ca_file = mem_strdup(feed_cell(res, row, 7)),
        .cert_file = mem_strdup(feed_cell(res, row, 8)),
        .key_file = mem_strdup(feed_cell(res, row, 9)),
        .topic_prefix = mem_strdup(feed_cell(res, row, 10)),
        .bridges = atoi(PQgetvalue(res, row, 11)),
        .enabled = *PQgetvalue(res, row, 12) == 't',
        .revision = atoll(PQgetvalue(res, row, 13))};
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

static void quota_row(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    quotas_set(directory_quotas(f->directory), atoi(PQgetvalue(res, row, 0)),
               atoll(PQgetvalue(res, row, 1)));
}

/* ---- a round ---- */

static const struct feed_step {
    const char *sql;
    size_t mark; /* of the struct mark that is its parameter, and that its
                    last column moves on; 0: none */
    pg_row_fn *row;
} steps[] = {
    {"SELECT tenant_id, key_no, master, sealed FROM directory_tenant_keys()", 0,
     feed_tenant_key},
    {"SELECT tenant_id, name, version, codec_version_id, script, mapping, upto"
     " FROM directory_codecs($1::xid8)",
     offsetof(struct feed, codecs), codec_row},
    {"SELECT tenant_id, meter_id, coalesce(dev_eui, ''), serial, codec,"
     " timezone, removed, upto FROM directory_meters($1::xid8)",
     offsetof(struct feed, meters), meter_row},
    {"SELECT tenant_id, uplinks_per_minute FROM directory_quotas()", 0,
     quota_row},
    {"SELECT tenant_id, key_id, purpose, coalesce(meter_id, 0),"
     " coalesce(address, ''), coalesce(manufacturer, ''), device_type, version,"
     " removed, key_no, sealed, upto FROM directory_meter_keys($1::xid8)",
     offsetof(struct feed, keys), feed_meter_key},
    {"SELECT tenant_id, list, upto FROM directory_formats($1::xid8)",
     offsetof(struct feed, formats), feed_format},
    {"SELECT tenant_id, unprotected = 'refuse' FROM directory_tenants()", 0,
     feed_tenant},
    {"SELECT i.tenant_id, i.integration_id, i.name, i.kind, i.url, i.username,"
     " i.password, i.ca_file, i.cert_file, i.key_file, i.topic_prefix,"
     " i.bridges, i.enabled, i.revision, p.key_no, p.sealed"
     " FROM directory_integrations() i"
     " LEFT JOIN directory_passwords() p USING (integration_id)",
     0, integration_row},
};
enum { STEPS = sizeof steps / sizeof steps[0] };

static struct mark *mark_of(struct feed *f, const struct feed_step *s)
{
    return s->mark ? (struct mark *)((char *)f + s->mark) : NULL;
}

static void step_row(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    struct mark *m = mark_of(f, &steps[f->step]);

    if (m) {
        m->rows++;
        snprintf(m->upto, sizeof m->upto, "%s",
                 PQgetvalue(res, row, PQnfields(res) - 1));
    }
    steps[f->step].row(f, res, row);
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

static void round_done(struct feed *f)
{
    f->began = UINT64_MAX;
    for (int i = 0; i < STEPS; i++) {
        struct mark *m = mark_of(f, &steps[i]);
        uint64_t since = m ? strtoull(m->since, NULL, 10) : 0;
        if (m && m->rows && since < f->began)
            f->began = since;
        if (m && !(m == &f->keys && f->unopened)) /* those are asked again */
            memcpy(m->since, m->upto, sizeof m->since);
    }
    keyrings_publish(directory_keys(f->directory));
    directory_put_integrations(f->directory, f->list, f->n);
    f->list = NULL;
    f->n = f->cap = 0;
    if (!f->first_done)
        log_info("directory loaded", "meters=%u",
                 directory_meters(f->directory));
    f->first_done = true;
    f->loaded(f->arg);
    round_end(f, &(struct pg_outcome){0});
}

static void steps_start(struct feed *f);

static int masters_read(void *arg)
{
    struct feed *f = arg;
    char error[MASTER_ERROR];

    return masters_load(f->fresh, f->master_file, error);
}

/* An unreadable file was told at the start; a rotation writes it whole. */
static void masters_done(void *arg, int err)
{
    struct feed *f = arg;

    if (err == 0)
        vault_masters(f->vault, f->fresh);
    else
        masters_free(f->fresh);
    f->fresh = NULL;
    steps_start(f);
}

static void masters_reread(struct feed *f)
{
    f->reread = true;
    f->fresh = masters_new();
    offload(f->loop, masters_read, masters_done, f);
}

static void step_done(void *arg, const struct pg_outcome *o)
{
    struct feed *f = arg;

    if (o->err) {
        round_end(f, o);
    } else if ((f->missing || !vault_ready(f->vault)) && !f->reread) {
        masters_reread(f);
    } else if (++f->step < STEPS) {
        step_start(f);
    } else {
        round_done(f);
    }
}

static void step_start(struct feed *f)
{
    const struct feed_step *s = &steps[f->step];
    struct mark *m = mark_of(f, s);
    struct pg_call c = {.tenant_id = PG_NO_TENANT,
                        .sql = s->sql,
                        .n = m ? 1 : 0,
                        .values = {m ? m->since : NULL},
                        .row = step_row,
                        .done = step_done,
                        .arg = f};

    if (m) {
        m->rows = 0;
        memcpy(m->upto, m->since, sizeof m->upto);
    }
    int err = pg_call(f->pool, &c);
    if (err < 0)
        round_end(f, &(struct pg_outcome){.err = err});
}

static void steps_start(struct feed *f)
{
    list_free(f); /* of a round that failed halfway */
    keyrings_discard(directory_keys(f->directory));
    f->missing = f->unopened = false;
    f->news = 0;
    f->step = 0;
    step_start(f);
}

static void round_start(void *arg)
{
    struct feed *f = arg;

    if (f->running) {
        f->again = true;
        return;
    }
    f->running = true;
    f->reread = false;
    steps_start(f);
}

struct feed *feed_new(uv_loop_t *loop, struct pg_pool *pool,
                      struct directory *d, struct vault *v,
                      const char *master_file, struct scripts *scripts,
                      void (*loaded)(void *), void *arg)
{
    struct feed *f = mem_alloc(sizeof *f);
    *f = (struct feed){.loop = loop,
                       .pool = pool,
                       .directory = d,
                       .vault = v,
                       .master_file = master_file,
                       .loaded = loaded,
                       .arg = arg,
                       .scripts = scripts,
                       .meters = {.since = "0"},
                       .codecs = {.since = "0"},
                       .keys = {.since = "0"},
                       .formats = {.since = "0"}};
    f->soon = ticker_new(loop, round_start, f);
    return f;
}

uint32_t feed_news(const struct feed *f, uint64_t *since)
{
    *since = f->began;
    return f->news;
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
