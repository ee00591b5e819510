/*
 * strangers.c - one round:
 *   strangers_meet -> (all stored that asked the directory before) ask ->
 *   name_row ... -> asked -> replay_next (one tenant's names) -> replayed ->
 *   replay_next ... -> ask, behind the last name -> round_end
 * The wait matters: a batch that asked the directory before the meter was in
 * it may still be on its way into quarantine.
 */
#include "server/pipeline/strangers.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES = 200, PAUSE_MS = 20, RETRY_MS = 1000 };

struct name {
    int32_t tenant_id;
    char *text;
};

struct strangers {
    uv_loop_t *loop;
    struct strangers_options o;
    struct store_writer *writer;
    struct ticker *retry;
    bool running, wanted; /* a round; another one after it */
    uint64_t since;       /* of the wanted round */
    uint64_t running_since;
    int64_t barrier;          /* journal position */
    struct name names[NAMES]; /* in order; those before `at` are done */
    uint32_t n, at;
    struct name last;            /* of the names that were asked for */
    struct replay *replay;       /* under way */
    struct buf list;             /* its names, as text[] */
    struct replay_options asked; /* by a person */
    void (*asked_done)(void *, const struct replay_result *);
    void *asked_arg;
    void (*stopped)(void *);
    void *stopped_arg;
};

static void pump(struct strangers *s);

static void names_free(struct strangers *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        free(s->names[i].text);
    s->n = s->at = 0;
}

static void want(struct strangers *s, uint64_t since)
{
    if (!s->wanted || since < s->since)
        s->since = since;
    s->wanted = true;
}

/* The only way out of a round; what failed begins again a little later. */
static void round_end(struct strangers *s, int err, const char *error)
{
    s->running = false;
    names_free(s);
    if (err && !s->stopped) {
        if (err == ERR_DATABASE)
            log_warning("strangers not replayed", "error=%s", error);
        want(s, s->running_since);
        ticker_start(s->retry, RETRY_MS, 0);
    } else {
        pump(s);
    }
}

/* ---- replaying ---- */

static void ask(struct strangers *s);
static void replay_next(struct strangers *s);

static void on_counted(void *arg, const struct store_result *r)
{
    struct strangers *s = arg;

    for (uint32_t i = 0; i < r->n; i++)
        ledger_replayed(s->o.books, r->counts[i].tenant_id, r->counts[i].fate,
                        r->counts[i].frames);
    for (uint32_t i = 0; i < r->n_gaps; i++)
        ledger_gaps(s->o.books, r->gaps[i].tenant_id, r->gaps[i].missing,
                    r->gaps[i].late);
}

static void replayed(void *arg, const struct replay_result *r)
{
    struct strangers *s = arg;
    struct replay_result result = *r;

    replay_free(s->replay);
    s->replay = NULL;
    if (result.seen)
        log_info("strangers replayed",
                 "tenant=%d frames=%lld stored=%lld readings=%lld"
                 " quarantined=%lld",
                 s->names[s->at - 1].tenant_id, (long long)result.seen,
                 (long long)result.stored, (long long)result.readings,
                 (long long)result.quarantined);
    if (result.err || s->stopped)
        round_end(s, result.err, result.error);
    else
        replay_next(s);
}

static void list_names(struct strangers *s, int32_t tenant)
{
    buf_clear(&s->list);
    for (; s->at < s->n && s->names[s->at].tenant_id == tenant; s->at++) {
        buf_z(&s->list, s->list.n ? ",\"" : "{\"");
        for (const char *p = s->names[s->at].text; *p; p++) {
            if (*p == '"' || *p == '\\')
                buf_u8(&s->list, '\\');
            buf_u8(&s->list, (uint8_t)*p);
        }
        buf_u8(&s->list, '"');
    }
    buf_z(&s->list, "}");
    buf_u8(&s->list, 0);
}

static void replay_next(struct strangers *s)
{
    struct replay_options o = {.codec_ids = s->o.codec_ids,
                               .pause_ms = PAUSE_MS,
                               .counted = on_counted};

    if (s->at == s->n && s->n < NAMES) {
        round_end(s, 0, "");
        return;
    }
    if (s->at == s->n) {
        ask(s);
        return;
    }
    if (!store_writer_ready(s->writer)) {
        round_end(s, ERR_AWAY, "");
        return;
    }
    o.tenant_id = s->names[s->at].tenant_id;
    list_names(s, o.tenant_id);
    o.strangers = (const char *)s->list.p;
    s->replay = replay_start(s->loop, s->o.pool, s->writer, s->o.directory, &o,
                             NULL, replayed, s);
}

/* ---- asking ---- */

static void name_row(void *arg, const PGresult *res, int row)
{
    struct strangers *s = arg;

    s->names[s->n++] = (struct name){atoi(PQgetvalue(res, row, 0)),
                                     mem_strdup(PQgetvalue(res, row, 1))};
}

static void asked(void *arg, const struct pg_outcome *o)
{
    struct strangers *s = arg;

    if (o->err || s->stopped) {
        round_end(s, o->err, o->error);
        return;
    }
    if (s->n) {
        free(s->last.text);
        s->last.tenant_id = s->names[s->n - 1].tenant_id;
        s->last.text = mem_strdup(s->names[s->n - 1].text);
    }
    replay_next(s);
}

static void ask(struct strangers *s)
{
    char since[24], tenant[16], most[16];
    struct pg_call c = {.tenant_id = PG_NO_TENANT,
                        .sql = "SELECT tenant_id, name FROM strangers_met("
                               "$1::xid8, $2::int, $3, $4::int)",
                        .n = 4,
                        .values = {since, tenant, s->last.text, most},
                        .row = name_row,
                        .done = asked,
                        .arg = s};

    names_free(s);
    snprintf(since, sizeof since, "%" PRIu64, s->running_since);
    snprintf(tenant, sizeof tenant, "%d", s->last.tenant_id);
    snprintf(most, sizeof most, "%d", NAMES);
    int err = pg_call(s->o.pool, &c);
    if (err < 0)
        round_end(s, err, "");
}

static void round_start(struct strangers *s)
{
    s->running = true;
    s->wanted = false;
    s->running_since = s->since;
    free(s->last.text);
    s->last = (struct name){-1, mem_strdup("")};
    ask(s);
}

/* ---- what to do next ---- */

static void writer_closed(void *arg)
{
    struct strangers *s = arg;

    s->stopped(s->stopped_arg);
}

static void pump(struct strangers *s)
{
    struct pipeline_stats p;

    if (s->running || !s->writer)
        return;
    if (s->stopped) {
        struct store_writer *w = s->writer;
        s->writer = NULL;
        store_writer_close(w, writer_closed, s);
        return;
    }
    pipeline_stats(s->o.pipeline, &p);
    if (s->wanted && p.cursor >= s->barrier && store_writer_ready(s->writer))
        round_start(s);
}

void strangers_meet(struct strangers *s, uint64_t since)
{
    struct pipeline_stats p;

    pipeline_stats(s->o.pipeline, &p);
    s->barrier = p.resolved;
    want(s, since);
    pump(s);
}

void strangers_stored(struct strangers *s)
{
    if (s->wanted)
        pump(s);
}

/* ---- what a person asks for ---- */

static void asked_changed(void *arg, const struct replay_change *c)
{
    struct strangers *s = arg;

    if (s->asked.changed)
        s->asked.changed(s->asked_arg, c);
}

static void asked_replayed(void *arg, const struct replay_result *r)
{
    struct strangers *s = arg;
    struct replay_result result = *r;

    replay_free(s->replay);
    s->replay = NULL;
    s->running = false;
    s->asked_done(s->asked_arg, &result);
    pump(s);
}

int strangers_replay(struct strangers *s, const struct replay_options *o,
                     void (*done)(void *, const struct replay_result *),
                     void *arg)
{
    struct replay_options all = *o;

    if (s->running || s->stopped || !s->writer ||
        !store_writer_ready(s->writer))
        return ERR_FULL;
    s->running = true;
    s->asked = *o;
    s->asked_done = done;
    s->asked_arg = arg;
    all.codec_ids = s->o.codec_ids;
    all.pause_ms = PAUSE_MS;
    all.counted = on_counted;
    all.changed = asked_changed;
    s->replay = replay_start(s->loop, s->o.pool, s->writer, s->o.directory,
                             &all, NULL, asked_replayed, s);
    return 0;
}

static void on_retry(void *arg)
{
    pump(arg);
}

static void on_up(void *arg)
{
    pump(arg);
}

static void on_down(void *arg)
{
    (void)arg; /* what was under way says so itself */
}

struct strangers *strangers_new(uv_loop_t *loop,
                                const struct strangers_options *o)
{
    struct strangers *s = mem_alloc(sizeof *s);

    s->loop = loop;
    s->o = *o;
    s->barrier = -1;
    s->retry = ticker_new(loop, on_retry, s);
    s->writer = store_writer_new(
        loop, &o->store, &(struct store_writer_events){on_up, on_down, s});
    return s;
}

void strangers_stop(struct strangers *s, void (*done)(void *), void *arg)
{
    s->stopped = done;
    s->stopped_arg = arg;
    if (s->replay)
        replay_stop(s->replay);
    pump(s);
}

void strangers_free(struct strangers *s)
{
    if (!s)
        return;
    ticker_free(s->retry);
    names_free(s);
    free(s->last.text);
    buf_done(&s->list);
    free(s);
}
