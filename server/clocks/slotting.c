/*
 * slotting.c - see slotting.h. A round: slots_read() gives all meters of each
 * tenant whose plan is a day old or that has one without a slot, tenant by
 * tenant -> planned -> slots_write() takes what is new or has moved, and what
 * is expected of the day.
 */
#include "server/clocks/slotting.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "timesvc/cron.h"
#include "timesvc/slots.h"

#include <stdlib.h>

enum {
    GATEWAYS = 256,        /* told apart in a plan; more share a place */
    SESSION_MS = 20000,    /* a meter that dials in, at a modem pool's cost */
    TYPICAL_SF = 9,        /* a network server seldom says which it was */
    LORAWAN_OVERHEAD = 13, /* bytes around the payload (LoRaWAN 1.0.4 4) */
    DAY_MIN = 1440,
};

struct slotting {
    struct pg_pool *pool;
    const struct clock *clock;
    bool running, again, stopped;
    int32_t tenant; /* whose meters are in `meters` */
    uint32_t window_min;
    bool daily; /* its plan of the day, with what frames tell */
    struct slot_meter *meters;
    struct was {
        int32_t meter_id, slot;
        uint32_t period_min;
        int64_t gateway;
    } * was; /* of each, as the database has it */
    uint32_t n, cap;
    struct buf rows, plans;
};

static void start(struct slotting *s);

/* ---- planning ---- */

static void put(struct slotting *s, uint32_t i)
{
    const struct slot_meter *m = &s->meters[i];
    const struct was *was = &s->was[i];

    if (m->slot == was->slot && m->period_min == was->period_min)
        return;
    buf_printf(&s->rows, "%s[%d,%d,%d,%u,%u,%lld,", s->rows.n > 1 ? "," : "",
               s->tenant, was->meter_id, m->slot, slot_second(m->key),
               m->weight, (long long)was->gateway);
    if (m->period_min)
        buf_printf(&s->rows, "%u]", m->period_min);
    else
        buf_z(&s->rows, "null]");
}

static void put_plan(struct slotting *s, uint32_t begin_min)
{
    uint32_t calls[DAY_MIN] = {0};

    slot_forecast(s->meters, s->n, s->window_min, begin_min, calls);
    buf_printf(&s->plans, "%s[%d,[", s->plans.n > 1 ? "," : "", s->tenant);
    for (int i = 0; i < DAY_MIN; i++)
        buf_printf(&s->plans, "%s%u", i ? "," : "", calls[i]);
    buf_printf(&s->plans, "],%s]", s->daily ? "true" : "false");
}

/* All meters of one tenant are there. */
static void plan(struct slotting *s)
{
    struct slot_plan *p = slot_plan_new(s->window_min, GATEWAYS);
    int64_t minute = clock_utc(s->clock) / (60 * US_PER_S);

    for (uint32_t i = 0; i < s->n; i++) {
        if (s->meters[i].slot != SLOT_NONE && !slot_book(p, &s->meters[i]))
            s->meters[i].slot = SLOT_NONE; /* the window became smaller */
    }
    for (uint32_t i = 0; i < s->n; i++)
        if (s->meters[i].slot == SLOT_NONE)
            slot_assign(p, &s->meters[i]);
    slot_rebalance(p, s->meters, s->n, slot_most, (uint64_t)minute / DAY_MIN);
    for (uint32_t i = 0; i < s->n; i++)
        put(s, i);
    put_plan(s, (uint32_t)(minute % DAY_MIN));
    slot_plan_free(p);
    s->n = 0;
}

/* ---- reading ---- */

static int64_t number(const PGresult *res, int row, int column, int64_t none)
{
    return PQgetisnull(res, row, column)
               ? none
               : strtoll(PQgetvalue(res, row, column), NULL, 10);
}

/* One that is not told: where it was heard, if it was. */
static void observe(struct slot_meter *m, const char *minutes)
{
    uint32_t at[8], n = 0;

    for (const char *c = minutes; *c && n < 8; c++)
        if (*c >= '0' && *c <= '9' && (c == minutes || c[-1] < '0'))
            at[n++] = (uint32_t)strtoul(c, NULL, 10);
    m->fixed = true;
    if (n == 0)
        return;
    m->period_min = slot_period_min(at, n);
    m->slot = (int32_t)(at[n - 1] % m->period_min);
}

static uint32_t weight_of(const PGresult *res, int row)
{
    int64_t bytes = number(res, row, 3, -1);

    return bytes >= 0
               ? lora_air_ms(TYPICAL_SF, (uint32_t)bytes + LORAWAN_OVERHEAD)
               : (uint32_t)number(res, row, 7, SESSION_MS);
}

static void grow(struct slotting *s)
{
    if (s->n < s->cap)
        return;
    s->cap = s->cap ? 2 * s->cap : 1024;
    s->meters = mem_grow(s->meters, s->cap, sizeof *s->meters);
    s->was = mem_grow(s->was, s->cap, sizeof *s->was);
}

static void on_meter(void *arg, const PGresult *res, int row)
{
    struct slotting *s = arg;
    int32_t tenant = (int32_t)number(res, row, 0, 0);
    int32_t id = (int32_t)number(res, row, 1, 0);

    if (s->n && tenant != s->tenant)
        plan(s);
    grow(s);
    s->tenant = tenant;
    s->window_min = (uint32_t)number(res, row, 6, 60);
    s->daily = *PQgetvalue(res, row, 16) == 't';
    struct was *was = &s->was[s->n];
    *was =
        (struct was){id, (int32_t)number(res, row, 2, SLOT_NONE),
                     (uint32_t)number(res, row, 8, 0), number(res, row, 4, 0)};
    struct slot_meter *m = &s->meters[s->n++];
    *m = (struct slot_meter){.key = cron_seed(tenant, id),
                             .weight = weight_of(res, row),
                             .gateway =
                                 (uint32_t)((uint64_t)was->gateway % GATEWAYS),
                             .interval_min = (uint32_t)number(res, row, 5, 0),
                             .slot = was->slot};
    if (*PQgetvalue(res, row, 9) != 't') { /* cannot be told */
        m->period_min = was->period_min;
        observe(m, PQgetvalue(res, row, 10));
        return;
    }
    if (was->period_min)
        m->slot = SLOT_NONE; /* that was only where it was heard */
    slot_look(m,
              &(struct slot_clock){
                  .at_us = number(res, row, 11, TIME_NONE),
                  .offset_us = number(res, row, 12, 0),
                  .drift_ppm = strtod(PQgetvalue(res, row, 13), NULL),
                  .accepted_us = number(res, row, 14, 0) * US_PER_S,
                  .beyond_us = number(res, row, 15, 0) * US_PER_S},
              clock_utc(s->clock));
}

/* ---- rounds ---- */

static void finish(struct slotting *s, const struct pg_outcome *o)
{
    s->running = false;
    if (o && o->err == ERR_DATABASE)
        log_warning("contact slots not given", "error=%s", o->error);
    if (s->again && !s->stopped)
        start(s);
}

static void on_written(void *arg, const struct pg_outcome *o)
{
    finish(arg, o);
}

static void on_read(void *arg, const struct pg_outcome *o)
{
    struct slotting *s = arg;

    if (o->err == 0 && s->n)
        plan(s);
    s->n = 0;
    if (o->err || s->plans.n <= 1) {
        finish(s, o);
        return;
    }
    buf_put(&s->rows, "]", 2);
    buf_put(&s->plans, "]", 2);
    if (pg_call(s->pool, &(struct pg_call){
                             .tenant_id = PG_NO_TENANT,
                             .write = true,
                             .sql = "SELECT slots_write($1::jsonb,"
                                    " $2::jsonb)",
                             .n = 2,
                             .values = {(char *)s->rows.p, (char *)s->plans.p},
                             .done = on_written,
                             .arg = s}) < 0)
        finish(s, NULL);
}

static void start(struct slotting *s)
{
    s->again = false;
    s->running = true;
    buf_clear(&s->rows);
    buf_clear(&s->plans);
    buf_z(&s->rows, "[");
    buf_z(&s->plans, "[");
    if (pg_call(s->pool, &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                           .sql = "SELECT * FROM slots_read()",
                                           .row = on_meter,
                                           .done = on_read,
                                           .arg = s}) < 0)
        finish(s, NULL);
}

struct slotting *slotting_new(struct pg_pool *pool, const struct clock *clock)
{
    struct slotting *s = mem_alloc(sizeof *s);

    s->pool = pool;
    s->clock = clock;
    return s;
}

void slotting_wake(struct slotting *s)
{
    if (s->stopped)
        return;
    s->again = true;
    if (!s->running)
        start(s);
}

void slotting_stop(struct slotting *s)
{
    s->stopped = true;
}

void slotting_free(struct slotting *s)
{
    if (!s)
        return;
    free(s->meters);
    free(s->was);
    buf_done(&s->rows);
    buf_done(&s->plans);
    free(s);
}
