/*
 * replay.c - chunk by chunk, in the order of frame ids:
 *   chunk_start -> chunk_row ... -> chunk_rows -> (pool) chunk_decode ->
 *   chunk_decoded -> chunk_stored -> chunk_start ... -> replay_finish
 * Each chunk is one transaction, so an interrupted replay loses nothing.
 */
#include "server/pipeline/replay.h"
#include "server/base/hex.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/pipeline/stage.h"
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 500, SCRATCH_MAX = 64 << 20, KEEP_MAX = 512 << 20 };

struct replay {
    uv_loop_t *loop;
    struct pg_pool *pool;
    struct store_writer *writer;
    const struct directory *directory;
    struct replay_options o;
    void (*progress)(void *, const struct replay_result *);
    void (*done)(void *, const struct replay_result *);
    void *arg;
    struct replay_result result;
    int64_t after; /* frame id */
    struct stage_item items[CHUNK];
    const char *was[CHUNK]; /* reasons; in `keep` */
    uint32_t n;
    bool stopping;
    struct ticker *pause;
    struct arena *keep, *scratch;
    struct store_batch *batch;
};

static void chunk_start(void *arg);

static void replay_finish(struct replay *r, int err, const char *error)
{
    r->result.err = err;
    snprintf(r->result.error, sizeof r->result.error, "%s", error);
    r->done(r->arg, &r->result);
}

static void chunk_row(void *arg, const PGresult *res, int row)
{
    struct replay *r = arg;
    struct str hex = str_of(PQgetvalue(res, row, 1));
    char *bytes = arena_alloc(r->keep, hex.n / 2 + 1);
    int n = bytes ? hex_decode((struct str){hex.p + 2, hex.n - 2},
                               (uint8_t *)bytes, hex.n / 2)
                  : 0;
    r->after = atoll(PQgetvalue(res, row, 0));
    if (n <= 0)
        return; /* not possible for a record that we wrote; left alone */
    r->was[r->n] = arena_str(r->keep, str_of(PQgetvalue(res, row, 2))).p;
    struct stage_item *it = &r->items[r->n++];
    stage_parse(it, r->keep, (struct str){bytes, (size_t)n}, false, r->after,
                0);
    if (it->frame.source == SOURCE_JOURNAL) { /* damaged: stays what it is */
        r->n--;
        r->result.quarantined++;
        r->result.seen++;
    }
}

static int chunk_decode(void *arg)
{
    struct replay *r = arg;
    for (uint32_t i = 0; i < r->n; i++)
        stage_decode(&r->items[i], r->keep, r->scratch, r->batch);
    store_batch_seal(r->batch);
    return 0;
}

static void add(struct replay_result *t, enum fate fate, int64_t frames,
                int64_t readings)
{
    int64_t *by_fate[] = {[FATE_STORED] = &t->stored,
                          [FATE_DUPLICATE] = &t->duplicate,
                          [FATE_QUARANTINED] = &t->quarantined,
                          [FATE_REJECTED] = &t->rejected};
    *by_fate[fate] += frames;
    t->seen += frames;
    t->readings += readings;
}

static void chunk_next(struct replay *r)
{
    if (r->progress)
        r->progress(r->arg, &r->result);
    ticker_start(r->pause, (uint64_t)r->o.pause_ms, 0);
}

static void chunk_stored(void *arg, const struct store_result *s)
{
    struct replay *r = arg;
    if (s->err) {
        replay_finish(r, s->err, s->error);
        return;
    }
    for (uint32_t i = 0; i < s->n; i++)
        add(&r->result, s->counts[i].fate, s->counts[i].frames,
            s->counts[i].readings);
    if (r->o.counted)
        r->o.counted(r->arg, s);
    chunk_next(r);
}

static void chunk_show(struct replay *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const struct stage_item *it = &r->items[i];
        struct replay_change c = {it->frame.id, r->was[i],
                                  it->fate ? it->fate : FATE_STORED, it->reason,
                                  it->readings};
        add(&r->result, c.fate, 1, c.readings);
        if (r->o.changed)
            r->o.changed(r->arg, &c);
    }
    chunk_next(r);
}

static void chunk_decoded(void *arg, int err)
{
    struct replay *r = arg;
    (void)err;
    if (!r->o.dry_run) {
        store_write(r->writer, r->batch, 0, 0, 0, chunk_stored, r);
        return;
    }
    chunk_show(r);
}

static void chunk_rows(void *arg, const struct pg_outcome *o)
{
    struct replay *r = arg;
    if (o->err || o->rows == 0) {
        replay_finish(r, o->err, o->error);
        return;
    }
    if (r->n == 0) {
        chunk_next(r);
        return;
    }
    for (uint32_t i = 0; i < r->n; i++)
        stage_resolve(&r->items[i], r->keep, r->directory, NULL,
                      r->o.codec_ids);
    offload(r->loop, chunk_decode, chunk_decoded, r);
}

static const char any_sql[] =
    "SELECT q.frame_id, q.record, q.reason FROM quarantine q"
    " LEFT JOIN meter m USING (tenant_id, meter_id)"
    " LEFT JOIN meter_model d USING (tenant_id, model_id)"
    " WHERE tenant_id = $1 AND q.frame_id > $2::bigint"
    " AND ($3::bigint = 0 OR q.frame_id = $3::bigint)"
    " AND ($4::text IS NULL OR q.reason = $4)"
    " AND ($5::text IS NULL OR m.serial = $5)"
    " AND ($6::text IS NULL OR d.codec = $6)"
    " AND ($7::timestamptz IS NULL OR q.received_at >= $7::timestamptz)"
    " AND ($8::timestamptz IS NULL OR q.received_at < $8::timestamptz)"
    " ORDER BY q.frame_id LIMIT 500";

/* Through the index quarantine_waiting. */
static const char strangers_sql[] =
    "SELECT frame_id, record, reason FROM quarantine WHERE tenant_id = $1"
    " AND frame_id > $2::bigint AND reason IN ('unknown_meter',"
    " 'key_missing', 'decrypt_failed', 'format_missing')"
    " AND octet_length(detail) < 300 AND detail = ANY ($3::text[])"
    " ORDER BY frame_id LIMIT 500";

static void chunk_start(void *arg)
{
    struct replay *r = arg;
    char tenant[16], frame[24], after[24];

    if (r->stopping) {
        replay_finish(r, UV_ECANCELED, "stopped");
        return;
    }
    if (r->o.most && r->result.seen >= r->o.most) {
        r->result.next = r->after;
        replay_finish(r, 0, "");
        return;
    }
    r->n = 0;
    arena_reset(r->keep);
    store_batch_reset(r->batch);
    store_batch_tenant(r->batch, r->o.tenant_id);
    snprintf(tenant, sizeof tenant, "%d", r->o.tenant_id);
    snprintf(frame, sizeof frame, "%lld", (long long)r->o.frame_id);
    snprintf(after, sizeof after, "%lld", (long long)r->after);
    struct pg_call c = {
        .tenant_id = r->o.tenant_id,
        .sql = r->o.strangers ? strangers_sql : any_sql,
        .n = r->o.strangers ? 3 : 8,
        .values = {tenant, after, r->o.strangers ? r->o.strangers : frame,
                   r->o.reason, r->o.serial, r->o.codec, r->o.from, r->o.to},
        .row = chunk_row,
        .done = chunk_rows,
        .arg = r};
    int err = pg_call(r->pool, &c);
    if (err < 0)
        replay_finish(r, err, err_text(err));
}

struct replay *replay_start(
    uv_loop_t *loop, struct pg_pool *pool, struct store_writer *writer,
    const struct directory *d, const struct replay_options *o,
    void (*progress)(void *, const struct replay_result *),
    void (*done)(void *, const struct replay_result *), void *arg)
{
    struct replay *r = mem_alloc(sizeof *r);
    r->loop = loop;
    r->pool = pool;
    r->writer = writer;
    r->directory = d;
    r->o = *o;
    r->after = o->after;
    r->progress = progress;
    r->done = done;
    r->arg = arg;
    r->keep = arena_new(KEEP_MAX);
    r->scratch = arena_new(SCRATCH_MAX);
    r->batch = store_batch_new();
    r->pause = ticker_new(loop, chunk_start, r);
    ticker_start(r->pause, 0, 0);
    return r;
}

void replay_stop(struct replay *r)
{
    r->stopping = true;
}

void replay_free(struct replay *r)
{
    if (!r)
        return;
    ticker_free(r->pause);
    arena_free(r->keep);
    arena_free(r->scratch);
    store_batch_free(r->batch);
    free(r);
}
