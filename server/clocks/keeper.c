/*
 * keeper.c - see keeper.h. A round: contacts gathered -> clock_read() -> judged
 * row by row -> clock_write() -> what was kept is sent. A round that fails is
 * tried again with the same contacts.
 */
#include "server/clocks/keeper.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/clocks/row.h"
#include "server/clocks/visit.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

/* A meter on the line waits for its answer; by radio an answer goes with the
 * next uplink, and a larger round costs less for each. */
enum { ROUND_MOST = 500, RETRY_MS = 1000, GATHER_MS = 20, RADIO_MS = 500 };
enum { SLOT_DOWNLINK = -1 }; /* tells its downlink from a correction's */
static const int64_t SLOT_LOOK_US = 3600 * US_PER_S;

struct keeper {
    uv_loop_t *loop;
    struct keeper_options o;
    struct visits waiting, round; /* round: under way */
    struct buf rows;              /* JSON for clock_write */
    struct arena *arena;
    struct ticker *soon;
    uint64_t soon_ms; /* it is set to; 0: not */
    bool running, loaded, stopped;
    struct keeper_stats stats;
};

static void round_start(struct keeper *k);

static bool unsure(const struct keeper *k)
{
    return k->o.ours_unsure && k->o.ours_unsure(k->o.arg);
}

/* Never later than was said before, however many contacts come meanwhile. */
static void within(struct keeper *k, uint64_t ms)
{
    if (k->soon_ms && k->soon_ms <= ms)
        return;
    k->soon_ms = ms ? ms : 1;
    ticker_start(k->soon, ms, 0);
}

/* ---- gathering ---- */

/* What shows no clock and asks nothing matters only where a slot is to be
 * told; that is looked at once an hour. */
static bool matters(const struct keeper *k, const struct clock_contact *c,
                    bool asks)
{
    struct book_entry e;

    if (asks || c->clock_us != TIME_NONE)
        return true;
    if (!c->codec || slot_way_named(str_of(c->codec->name)) == SLOT_WAY_NONE)
        return false;
    return !book_get(k->o.book, c->tenant_id, c->meter_id, &e) ||
           c->heard_us >= e.slot_look_us;
}

void keeper_contact(struct keeper *k, const struct clock_contact *c)
{
    struct clock_request q = request_read(c);
    bool asks = q.asks || q.package || q.period;

    if (k->stopped || !matters(k, c, asks))
        return;
    visits_note(&k->waiting, c, asks);
    if (!k->running)
        within(k, c->source == SOURCE_HEO ? GATHER_MS : RADIO_MS);
}

/* ---- reading and judging ---- */

static void count(struct keeper *k, const struct clock_outcome *o)
{
    if (o->decision.reason)
        k->stats.by_verdict[o->decision.verdict]++;
    k->stats.verified += o->settled == SETTLED_VERIFIED;
    k->stats.lost += o->settled == SETTLED_FAILED;
    k->stats.jumps += o->jump != JUMP_NONE && o->jump != JUMP_CORRECTED;
}

static void on_read_row(void *arg, const PGresult *res, int row)
{
    struct keeper *k = arg;
    struct clock_row *r = mem_alloc(sizeof *r);
    struct visit *v;

    row_read(res, row, k->arena, r);
    v = visits_find(&k->round, r->tenant_id, r->meter_id);
    if (v) {
        struct finding *f = visit_find(v);
        clock_judge(r, &v->c, clock_utc(k->o.clock), unsure(k), &f->outcome);
        f->slot = r->slot;
        f->kept =
            (struct book_entry){.model = r->model,
                                .accepted_us = r->policy.accepted_us,
                                .interval_us = r->policy.interval_us,
                                .slot_look_us = v->c.heard_us + SLOT_LOOK_US,
                                .calm = clock_calm(r, &f->outcome)};
        row_write(r, &f->outcome, &k->rows);
    }
    free(r);
}

/* ---- sending ---- */

static void send_order(struct keeper *k, struct visit *v, int64_t id)
{
    const struct clock_outcome *o = &v->found->outcome;
    const struct correction_sender *s = &k->o.sender;
    int r = 0;

    if (o->answer.n)
        r = s->downlink(s->arg, &v->c, &o->answer, id);
    else if (o->way == WAY_HEO && o->sent)
        r = s->set_clock(s->arg, v->c.tenant_id, v->c.meter_id, id,
                         o->shift_us);
    k->stats.sent += o->sent && r == 0;
    k->stats.unsent += r < 0;
    if (o->sent)
        log_info("clock corrected",
                 "tenant=%d meter=%d way=%s correction=%lld by_s=%.3f "
                 "reason=%s crosses_edge=%d err=%s",
                 v->c.tenant_id, v->c.meter_id, clock_way_name(o->way),
                 (long long)id, (double)o->decision.by_us / 1e6,
                 o->decision.reason, o->decision.crosses_edge, err_name(r));
}

static void on_handed(void *arg, const struct pg_outcome *o)
{
    (void)arg;
    if (o->err == ERR_DATABASE)
        log_warning("contact slot not booked as handed over", "error=%s",
                    o->error);
}

/* By radio, or into its session. Booked once it has left; a meter that is told
 * twice takes no harm. */
static void hand_slot(struct keeper *k, struct visit *v)
{
    const struct correction_sender *s = &k->o.sender;
    const struct slot_hand *slot = &v->found->slot;
    struct clock_answer a;
    char texts[3][16];
    const int32_t numbers[3] = {v->c.tenant_id, v->c.meter_id, slot->at_s};
    struct pg_call call = {.tenant_id = PG_NO_TENANT,
                           .write = true,
                           .sql = "SELECT slot_handed($1::int, $2::int,"
                                  " $3::int)",
                           .n = 3,
                           .done = on_handed};

    answer_slot(&a, v->found->outcome.slot_way, slot->at_s, slot->window_min);
    int r = a.n ? s->downlink(s->arg, &v->c, &a, SLOT_DOWNLINK)
                : s->set_slot(s->arg, v->c.tenant_id, v->c.meter_id, slot->at_s,
                              (int32_t)slot->window_min * 60);
    if (r < 0)
        return; /* with its next contact */
    k->stats.slots++;
    for (int i = 0; i < 3; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", numbers[i]);
        call.values[i] = texts[i];
    }
    pg_call(k->o.pool, &call);
}

static void on_written_row(void *arg, const PGresult *res, int row)
{
    struct keeper *k = arg;
    struct visit *v =
        visits_find(&k->round, (int32_t)row_number(res, row, 0, 0),
                    (int32_t)row_number(res, row, 1, 0));

    if (!v)
        return;
    book_put(k->o.book, v->c.tenant_id, v->c.meter_id, &v->found->kept);
    count(k, &v->found->outcome);
    send_order(k, v, row_number(res, row, 2, 0));
    if (v->found->outcome.slot == SLOT_TELL)
        hand_slot(k, v);
    visits_drop(&k->round, v);
}

/* ---- rounds ---- */

/* What was not kept (the database is away, or another node was faster) is
 * looked at again, unless a newer contact waits already. */
static void round_finish(struct keeper *k, int err, const char *error)
{
    static struct log_limit told;
    struct visit *v, *next;
    bool again = visits_count(&k->round) > 0;

    HASH_ITER (hh, k->round.by_meter, v, next) {
        if (err == ERR_DATABASE)
            visits_drop(&k->round, v);
        else
            visits_move(&k->round, v, &k->waiting);
    }
    k->running = false;
    k->stats.rounds++;
    k->stats.failed += err != 0;
    if (err && log_allowed(&told))
        log_warning("clocks not kept", "err=%s error=%s", err_name(err), error);
    if (visits_count(&k->waiting) && !k->stopped)
        within(k, again || err ? RETRY_MS : GATHER_MS);
}

static void on_written(void *arg, const struct pg_outcome *o)
{
    round_finish(arg, o->err, o->error);
}

static void on_read(void *arg, const struct pg_outcome *o)
{
    struct keeper *k = arg;
    struct visit *v = NULL, *next = NULL;

    if (o->err) {
        round_finish(k, o->err, o->error);
        return;
    }
    HASH_ITER (hh, k->round.by_meter, v, next)
        if (!v->found)
            visits_drop(&k->round, v); /* a meter that is gone */
    buf_z(&k->rows, "]");
    buf_u8(&k->rows, 0);
    int r =
        pg_call(k->o.pool, &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                             .write = true,
                                             .sql = "SELECT * FROM "
                                                    "clock_write($1::jsonb)",
                                             .n = 1,
                                             .values = {(char *)k->rows.p},
                                             .row = on_written_row,
                                             .done = on_written,
                                             .arg = k});
    if (r < 0)
        round_finish(k, r, "");
}

static void round_start(struct keeper *k)
{
    struct buf tenants = {0}, meters = {0};
    struct visit *v, *next;
    int n = 0;

    HASH_ITER (hh, k->waiting.by_meter, v, next) {
        if (n == ROUND_MOST)
            break;
        visits_move(&k->waiting, v, &k->round);
        buf_printf(&tenants, "%s%d", n ? "," : "{", v->c.tenant_id);
        buf_printf(&meters, "%s%d", n++ ? "," : "{", v->c.meter_id);
    }
    if (n == 0)
        return;
    buf_put(&tenants, "}", 2);
    buf_put(&meters, "}", 2);
    buf_clear(&k->rows);
    buf_z(&k->rows, "[");
    k->running = true;
    int r = pg_call(
        k->o.pool,
        &(struct pg_call){.tenant_id = PG_NO_TENANT,
                          .sql = "SELECT * FROM clock_read($1::int[],"
                                 " $2::int[])",
                          .n = 2,
                          .values = {(char *)tenants.p, (char *)meters.p},
                          .row = on_read_row,
                          .done = on_read,
                          .arg = k});
    if (r < 0)
        round_finish(k, r, "");
    buf_done(&tenants);
    buf_done(&meters);
}

/* ---- starting ---- */

static void on_model(void *arg, const PGresult *res, int row)
{
    struct keeper *k = arg;
    struct book_entry e = {
        .accepted_us = row_number(res, row, 3, 60) * US_PER_S,
        .interval_us = row_number(res, row, 4, 0) * US_PER_S};

    row_model(res, row, 2, &e.model);
    book_put(k->o.book, (int32_t)row_number(res, row, 0, 0),
             (int32_t)row_number(res, row, 1, 0), &e);
}

static void on_models(void *arg, const struct pg_outcome *o)
{
    struct keeper *k = arg;

    if (o->err) {
        if (!k->stopped)
            within(k, RETRY_MS);
        return;
    }
    k->loaded = true;
    if (!k->stopped)
        k->o.loaded(k->o.arg);
}

static void load(struct keeper *k)
{
    if (pg_call(k->o.pool,
                &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                  .sql = "SELECT * FROM clock_models()",
                                  .row = on_model,
                                  .done = on_models,
                                  .arg = k}) < 0)
        within(k, RETRY_MS);
}

static void on_soon(void *arg)
{
    struct keeper *k = arg;

    k->soon_ms = 0;
    if (k->stopped)
        return;
    if (!k->loaded)
        load(k);
    else if (!k->running)
        round_start(k);
}

struct keeper *keeper_new(uv_loop_t *loop, const struct keeper_options *o)
{
    struct keeper *k = mem_alloc(sizeof *k);

    k->loop = loop;
    k->o = *o;
    k->arena = arena_new(1 << 20);
    k->soon = ticker_new(loop, on_soon, k);
    return k;
}

void keeper_start(struct keeper *k)
{
    if (!k->loaded)
        load(k);
}

bool keeper_loaded(const struct keeper *k)
{
    return k->loaded;
}

void keeper_stop(struct keeper *k)
{
    k->stopped = true;
    ticker_stop(k->soon);
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    visits_clear(&k->waiting);
    visits_clear(&k->round);
    ticker_free(k->soon);
    arena_free(k->arena);
    buf_done(&k->rows);
    free(k);
}

void keeper_stats(const struct keeper *k, struct keeper_stats *ret)
{
    *ret = k->stats;
    ret->waiting = visits_count(&k->waiting) + visits_count(&k->round);
}
