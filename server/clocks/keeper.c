/*
 * keeper.c - see keeper.h. A round: contacts gathered -> clock_read() -> judged
 * row by row -> clock_write() -> what was kept is sent. A round that fails is
 * tried again with the same contacts.
 */
#include "server/clocks/keeper.h"
#include "server/base/hex.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/clocks/model_bytes.h"
#include "server/loop/loop.h"
#include "timesvc/zone.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { ROUND_MOST = 500, RETRY_MS = 1000, GATHER_MS = 20, COPY_MAX = 512 };

/* A meter that wants to be looked at. */
struct visit {
    uint64_t key;
    struct clock_contact c;
    bool asks;
    char topic[COPY_MAX], payload[COPY_MAX];
    struct visit *next; /* of the round's orders */
    struct clock_outcome outcome;
    struct book_entry kept; /* accepted_us 0: not read yet */
    UT_hash_handle hh;
};

struct keeper {
    uv_loop_t *loop;
    struct keeper_options o;
    struct visit *waiting; /* uthash */
    struct visit *round;   /* uthash; under way */
    struct buf rows;       /* JSON for clock_write */
    struct arena *arena;
    struct ticker *soon;
    bool running, loaded, stopped;
    struct keeper_stats stats;
};

static void round_start(struct keeper *k);

static uint64_t key_of(int32_t tenant, int32_t meter)
{
    return (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
}

static bool unsure(const struct keeper *k)
{
    return k->o.ours_unsure && k->o.ours_unsure(k->o.arg);
}

/* ---- gathering ---- */

static struct str copy(char out[COPY_MAX], struct str s)
{
    size_t n = s.n <= COPY_MAX ? s.n : 0; /* longer is no address, no request */

    if (n)
        memcpy(out, s.p, n);
    return (struct str){out, n};
}

void keeper_contact(struct keeper *k, const struct clock_contact *c)
{
    struct clock_request q = request_read(c);
    uint64_t key = key_of(c->tenant_id, c->meter_id);
    bool asks = q.asks || q.package || q.period;
    struct visit *v;

    if (k->stopped || (c->clock_us == TIME_NONE && !asks))
        return;
    HASH_FIND(hh, k->waiting, &key, sizeof key, v);
    if (v && v->asks && !asks)
        return; /* the sample is read from the database */
    if (!v) {
        v = mem_alloc(sizeof *v);
        v->key = key;
        HASH_ADD(hh, k->waiting, key, sizeof v->key, v);
    }
    v->c = *c;
    v->c.topic = copy(v->topic, c->topic);
    v->c.payload = copy(v->payload, c->payload);
    v->asks = asks;
    if (!k->running)
        ticker_start(k->soon, GATHER_MS, 0);
}

/* ---- reading ---- */

static int64_t number(const PGresult *res, int row, int column, int64_t none)
{
    return PQgetisnull(res, row, column)
               ? none
               : strtoll(PQgetvalue(res, row, column), NULL, 10);
}

/* PostgreSQL's hex form of bytea: \x.... */
static void read_model(const PGresult *res, int row, int column,
                       struct clock_model *m)
{
    static struct log_limit told;
    const char *text = PQgetvalue(res, row, column);
    uint8_t bytes[2048];
    int n = *text ? hex_decode(str_of(text + 2), bytes, sizeof bytes) : 0;
    int r = n < 0 ? n : model_read((struct str){(char *)bytes, (size_t)n}, m);

    if (r < 0) {
        clock_init(m);
        if (log_allowed(&told))
            log_warning("clock model not readable, begins anew", "err=%s",
                        err_name(r));
    }
}

static void read_policy(const PGresult *res, int row, struct clock_policy *p)
{
    const char *owner = PQgetvalue(res, row, 5);

    *p = (struct clock_policy){
        .owner = strcmp(owner, "server") == 0   ? OWNER_SERVER
                 : strcmp(owner, "device") == 0 ? OWNER_DEVICE
                                                : OWNER_NOBODY,
        .accepted_us = number(res, row, 6, 60) * US_PER_S,
        .step_us = number(res, row, 7, 900) * US_PER_S,
        .approve_us = number(res, row, 8, 1800) * US_PER_S,
        .per_day = (uint32_t)number(res, row, 9, 4),
        .guard_us = number(res, row, 10, 30) * US_PER_S,
        .day_guard_us = number(res, row, 11, 120) * US_PER_S,
        .patience_us = number(res, row, 12, 172800) * US_PER_S,
        .interval_us = number(res, row, 13, 0) * US_PER_S,
        .slew_ppm = (double)number(res, row, 14, 0)};
}

static void read_samples(struct keeper *k, const char *text,
                         struct clock_row *r)
{
    struct json *root;
    struct json_error error;

    arena_reset(k->arena);
    if (json_parse(k->arena, str_of(text), (struct json_limits){0}, &root,
                   &error) < 0)
        return;
    json_each (item, root) {
        struct clock_heard *h = &r->samples[r->n];
        int64_t received = 0;
        if (r->n < JUDGE_SAMPLES && json_int(json_at(item, 0), &h->heard_us) &&
            json_int(json_at(item, 1), &h->meter_us) &&
            json_int(json_at(item, 2), &received)) {
            h->network_time = h->heard_us != received;
            r->n++;
        }
    }
}

static void read_row(struct keeper *k, const PGresult *res, int row,
                     struct clock_row *r)
{
    const char *state = PQgetvalue(res, row, 24);

    *r = (struct clock_row){.tenant_id = (int32_t)number(res, row, 0, 0),
                            .meter_id = (int32_t)number(res, row, 1, 0),
                            .version = number(res, row, 2, 0),
                            .zone = zone_find(str_of(PQgetvalue(res, row, 4))),
                            .period_want = (int)number(res, row, 15, -1),
                            .package = (int)number(res, row, 16, 0),
                            .period = (int)number(res, row, 17, -2),
                            .token = (int)number(res, row, 18, -1),
                            .answered_us = number(res, row, 19, TIME_NONE),
                            .resync_us = number(res, row, 20, TIME_NONE),
                            .waiting_us = number(res, row, 21, TIME_NONE),
                            .today = (uint32_t)number(res, row, 22, 0),
                            .open_id = number(res, row, 23, 0),
                            .open_sent = strcmp(state, "sent") == 0,
                            .open_approved = strcmp(state, "approved") == 0};
    read_model(res, row, 3, &r->model);
    read_policy(res, row, &r->policy);
    read_samples(k, PQgetvalue(res, row, 26), r);
}

/* ---- keeping ---- */

static void put_number(struct buf *b, const char *name, int64_t v)
{
    if (v != TIME_NONE)
        buf_printf(b, ",\"%s\":%" PRId64, name, v);
}

static void put_correction(struct buf *b, const struct clock_row *r,
                           const struct clock_outcome *o)
{
    static const char *const states[] = {"", "verified", "failed"};

    if (o->settled != SETTLED_NOT)
        buf_printf(b,
                   ",\"settle\":{\"id\":%" PRId64
                   ",\"state\":\"%s\",\"after\":%" PRId64 "}",
                   r->open_id, states[o->settled], o->error.offset_us);
    if (o->keep)
        buf_printf(b,
                   ",\"correction\":{\"state\":\"%s\",\"by\":%" PRId64
                   ",\"before\":%" PRId64
                   ",\"crosses\":%s,\"way\":\"%s\",\"reason\":\"%s\"}",
                   o->sent ? "sent" : "approval", o->decision.by_us,
                   o->error.offset_us,
                   o->decision.crosses_edge ? "true" : "false",
                   clock_way_name(o->way), o->decision.reason);
    if (o->keep && o->reuse)
        buf_printf(b, ",\"reuse\":%" PRId64, r->open_id);
    if (o->event.code)
        buf_printf(b,
                   ",\"event\":{\"code\":\"%s\",\"state\":%d,\"at\":%" PRId64
                   ",\"detail\":\"%s\",\"severity\":%d}",
                   o->event.code, o->event.state, r->model.last_us,
                   o->event.detail,
                   (int)(event_type(str_of(o->event.code))
                             ? event_type(str_of(o->event.code))->severity
                             : SEVERITY_WARNING));
}

static void put_row(struct buf *b, const struct clock_row *r,
                    const struct clock_outcome *o)
{
    struct buf model = {0};
    char hex[4096];

    model_write(&r->model, &model);
    hex_encode(model.p, model.n, hex);
    buf_done(&model);
    buf_printf(b,
               "%s{\"tenant\":%d,\"meter\":%d,\"version\":%" PRId64
               ",\"model\":\"%s\",\"state\":\"%s\",\"package\":%d",
               b->n > 1 ? "," : "", r->tenant_id, r->meter_id, r->version, hex,
               clock_state_name(o->state), r->package);
    if (o->error.known)
        buf_printf(b, ",\"offset\":%" PRId64 ",\"uncertainty\":%" PRId64,
                   o->error.offset_us, o->error.uncertainty_us);
    if (r->model.fitted)
        buf_printf(b, ",\"drift\":%.3f", r->model.drift_ppm);
    put_number(b, "offset_at", r->model.at_us);
    put_number(b, "last", r->model.last_us);
    put_number(b, "waiting", r->waiting_us);
    put_number(b, "answered", r->answered_us);
    put_number(b, "resync", r->resync_us);
    put_number(b, "period", r->period == -2 ? TIME_NONE : r->period);
    put_number(b, "token", r->token < 0 ? TIME_NONE : r->token);
    if (o->jump != JUMP_NONE)
        buf_printf(b, ",\"jump\":\"%s\",\"jump_at\":%" PRId64,
                   clock_jump_name(o->jump), r->model.last_us);
    if (o->decision.reason)
        buf_printf(b, ",\"verdict\":\"%s\",\"reason\":\"%s\"",
                   correction_verdict_name(o->decision.verdict),
                   o->decision.reason);
    put_correction(b, r, o);
    buf_u8(b, '}');
}

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
    uint64_t key;

    read_row(k, res, row, r);
    key = key_of(r->tenant_id, r->meter_id);
    HASH_FIND(hh, k->round, &key, sizeof key, v);
    if (v) {
        clock_judge(r, &v->c, clock_utc(k->o.clock), unsure(k), &v->outcome);
        v->kept = (struct book_entry){r->model, r->policy.accepted_us,
                                      r->policy.interval_us,
                                      clock_calm(r, &v->outcome)};
        put_row(&k->rows, r, &v->outcome);
    }
    free(r);
}

/* ---- sending ---- */

static void send_order(struct keeper *k, struct visit *v, int64_t id)
{
    const struct clock_outcome *o = &v->outcome;
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

/* Booked once it has left; a meter that is told twice takes no harm. */
static void hand_slot(struct keeper *k, int32_t tenant, int32_t meter,
                      int32_t at_s)
{
    const struct correction_sender *s = &k->o.sender;
    char texts[3][16];
    const int32_t numbers[3] = {tenant, meter, at_s};
    struct pg_call call = {.tenant_id = PG_NO_TENANT,
                           .write = true,
                           .sql = "SELECT slot_handed($1::int, $2::int,"
                                  " $3::int)",
                           .n = 3,
                           .done = on_handed};

    if (s->set_slot(s->arg, tenant, meter, at_s) < 0)
        return; /* with its next contact */
    for (int i = 0; i < 3; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", numbers[i]);
        call.values[i] = texts[i];
    }
    pg_call(k->o.pool, &call);
}

static void on_written_row(void *arg, const PGresult *res, int row)
{
    struct keeper *k = arg;
    uint64_t key = key_of((int32_t)number(res, row, 0, 0),
                          (int32_t)number(res, row, 1, 0));
    struct visit *v;

    HASH_FIND(hh, k->round, &key, sizeof key, v);
    if (!v)
        return;
    book_put(k->o.book, v->c.tenant_id, v->c.meter_id, &v->kept);
    count(k, &v->outcome);
    send_order(k, v, number(res, row, 2, 0));
    if (!PQgetisnull(res, row, 3))
        hand_slot(k, v->c.tenant_id, v->c.meter_id,
                  (int32_t)number(res, row, 3, 0));
    HASH_DEL(k->round, v);
    free(v);
}

/* ---- rounds ---- */

/* What was not kept (the database is away, or another node was faster) is
 * looked at again, unless a newer contact waits already. */
static void round_finish(struct keeper *k, int err, const char *error)
{
    static struct log_limit told;
    struct visit *v, *next, *newer;
    bool again = k->round != NULL;

    HASH_ITER (hh, k->round, v, next) {
        HASH_DEL(k->round, v);
        HASH_FIND(hh, k->waiting, &v->key, sizeof v->key, newer);
        if (err == ERR_DATABASE || newer)
            free(v);
        else
            HASH_ADD(hh, k->waiting, key, sizeof v->key, v);
    }
    k->running = false;
    k->stats.rounds++;
    k->stats.failed += err != 0;
    if (err && log_allowed(&told))
        log_warning("clocks not kept", "err=%s error=%s", err_name(err), error);
    if (k->waiting && !k->stopped)
        ticker_start(k->soon, again || err ? RETRY_MS : 0, 0);
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
    HASH_ITER (hh, k->round, v, next) {
        if (v->kept.accepted_us)
            continue;
        HASH_DEL(k->round, v); /* a meter that is gone */
        free(v);
    }
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

    HASH_ITER (hh, k->waiting, v, next) {
        if (n == ROUND_MOST)
            break;
        HASH_DEL(k->waiting, v);
        v->kept.accepted_us = 0;
        HASH_ADD(hh, k->round, key, sizeof v->key, v);
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
    struct book_entry e = {.accepted_us = number(res, row, 3, 60) * US_PER_S,
                           .interval_us = number(res, row, 4, 0) * US_PER_S};

    read_model(res, row, 2, &e.model);
    book_put(k->o.book, (int32_t)number(res, row, 0, 0),
             (int32_t)number(res, row, 1, 0), &e);
}

static void on_models(void *arg, const struct pg_outcome *o)
{
    struct keeper *k = arg;

    if (o->err) {
        if (!k->stopped)
            ticker_start(k->soon, RETRY_MS, 0);
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
        ticker_start(k->soon, RETRY_MS, 0);
}

static void on_soon(void *arg)
{
    struct keeper *k = arg;

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
    struct visit *v, *next;

    if (!k)
        return;
    HASH_ITER (hh, k->waiting, v, next) {
        HASH_DEL(k->waiting, v);
        free(v);
    }
    HASH_ITER (hh, k->round, v, next) {
        HASH_DEL(k->round, v);
        free(v);
    }
    ticker_free(k->soon);
    arena_free(k->arena);
    buf_done(&k->rows);
    free(k);
}

void keeper_stats(const struct keeper *k, struct keeper_stats *ret)
{
    *ret = k->stats;
    ret->waiting = HASH_COUNT(k->waiting) + HASH_COUNT(k->round);
}
