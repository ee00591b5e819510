/*
 * slotting.c - see slotting.h. A round: slots_due() names the tenants; one
 * after the other: slots_read(), slice by slice -> planned on the pool ->
 * slots_write(), slice by slice, of what is new or has moved ->
 * slots_planned().
 */
#include "server/clocks/slotting.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/clocks/contact_plan.h"
#include "server/loop/loop.h"
#include "server/store/column.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SLICE = 10000,         /* meters read or written at once */
    REST = 9,              /* times what a round took, before the next one */
    RETRY_MS = 60000,      /* after a round that failed */
    SESSION_MS = 20000,    /* a meter that dials in, at a modem pool's cost */
    TYPICAL_SF = 9,        /* a network server seldom says which it was */
    LORAWAN_OVERHEAD = 13, /* bytes around the payload (LoRaWAN 1.0.4 4) */
};

struct due {
    int32_t tenant;
    uint32_t window_min;
    bool daily; /* its plan of the day, with what frames tell */
};

struct slotting {
    uv_loop_t *loop;
    struct pg_pool *pool;
    const struct clock *clock;
    struct ticker *next;
    int64_t began_us;
    bool running, again, stopped;
    struct due *due; /* of this round */
    uint32_t n_due, at;
    struct contact_plan *plan; /* of due[at]; in a thread while it is planned */
    int32_t last;              /* meter that was read */
    bool planned;
    int64_t now_us; /* of the plan */
    uint32_t slice_n;
    struct buf slice; /* what is being written */
};

/* ---- the end of a round ---- */

static void finish(struct slotting *s, const struct pg_outcome *o)
{
    int64_t took_ms = (clock_mono(s->clock) - s->began_us) / 1000;

    contact_plan_free(s->plan);
    s->plan = NULL;
    free(s->due);
    s->due = NULL;
    s->n_due = 0;
    buf_done(&s->slice);
    s->running = false;
    s->again = s->again || o->err;
    if (o->err == ERR_DATABASE)
        log_warning("contact slots not given", "error=%s", o->error);
    if (!s->stopped)
        ticker_start(s->next, o->err ? RETRY_MS : (uint64_t)(REST * took_ms),
                     0);
}

/* As pg_call; where it is refused, the round is over. */
static void call(struct slotting *s, struct pg_call c)
{
    static const struct pg_outcome refused = {.err = ERR_FULL};

    c.tenant_id = PG_NO_TENANT;
    c.arg = s;
    if (pg_call(s->pool, &c) < 0)
        finish(s, &refused);
}

/* ---- a tenant ---- */

static void tenant_start(struct slotting *s);
static void write_start(struct slotting *s);

static void on_planned(void *arg, const struct pg_outcome *o)
{
    struct slotting *s = arg;

    contact_plan_free(s->plan);
    s->plan = NULL;
    s->at++;
    if (o->err || s->at == s->n_due)
        finish(s, o);
    else
        tenant_start(s);
}

static void on_written(void *arg, const struct pg_outcome *o)
{
    if (o->err)
        finish(arg, o);
    else
        write_start(arg);
}

/* On the pool: the plan, and what is to be written next of it. */
static int write_prepare(void *arg)
{
    struct slotting *s = arg;

    if (!s->planned)
        contact_plan_make(s->plan, s->now_us);
    s->planned = true;
    buf_clear(&s->slice);
    s->slice_n = contact_plan_slice(s->plan, SLICE, &s->slice);
    if (s->slice_n == 0) {
        buf_clear(&s->slice);
        contact_plan_calls(s->plan, &s->slice);
    }
    buf_u8(&s->slice, 0);
    return 0;
}

static void write_prepared(void *arg, int result)
{
    struct slotting *s = arg;
    const struct due *d = &s->due[s->at];
    char tenant[16];
    struct pg_call c = {.write = true, .n = 2};

    (void)result;
    if (s->stopped) {
        finish(s, &(struct pg_outcome){0});
        return;
    }
    snprintf(tenant, sizeof tenant, "%d", d->tenant);
    c.values[0] = tenant;
    if (s->slice_n) {
        c.sql = "SELECT slots_write($1::int, $2::jsonb)";
        c.values[1] = (char *)s->slice.p;
        c.done = on_written;
    } else {
        c.sql = "SELECT slots_planned($1::int, $2::boolean, $3::int[])";
        c.n = 3;
        c.values[1] = d->daily ? "t" : "f";
        c.values[2] = (char *)s->slice.p;
        c.done = on_planned;
    }
    call(s, c);
}

static void write_start(struct slotting *s)
{
    offload(s->loop, write_prepare, write_prepared, s);
}

/* ---- reading it ---- */

static uint32_t weight_of(const PGresult *res, int row)
{
    int64_t bytes = column_int(res, row, 2, -1);

    return bytes >= 0
               ? lora_air_ms(TYPICAL_SF, (uint32_t)bytes + LORAWAN_OVERHEAD)
               : (uint32_t)column_int(res, row, 5, SESSION_MS);
}

static void on_meter(void *arg, const PGresult *res, int row)
{
    struct slotting *s = arg;
    struct contact_row r = {
        .meter_id = (int32_t)column_int(res, row, 0, 0),
        .slot = (int32_t)column_int(res, row, 1, SLOT_NONE),
        .gateway = column_int(res, row, 3, 0),
        .interval_min = (uint32_t)column_int(res, row, 4, 0),
        .weight = weight_of(res, row),
        .period_min = (uint32_t)column_int(res, row, 6, 0),
        .tellable = *PQgetvalue(res, row, 7) == 't',
        .heard = column_str(res, row, 8),
        .clock = {.at_us = column_int(res, row, 9, TIME_NONE),
                  .offset_us = column_int(res, row, 10, 0),
                  .drift_ppm = strtod(PQgetvalue(res, row, 11), NULL),
                  .accepted_us = column_int(res, row, 12, 0) * US_PER_S,
                  .beyond_us = column_int(res, row, 13, 0) * US_PER_S}};

    contact_plan_add(s->plan, &r, s->now_us);
    s->last = r.meter_id;
}

static void read_start(struct slotting *s);

static void on_read(void *arg, const struct pg_outcome *o)
{
    struct slotting *s = arg;

    if (o->err || s->stopped)
        finish(s, o);
    else if (o->rows == SLICE)
        read_start(s);
    else
        write_start(s);
}

static void read_start(struct slotting *s)
{
    const struct due *d = &s->due[s->at];
    char tenant[16], last[16], most[16];

    snprintf(tenant, sizeof tenant, "%d", d->tenant);
    snprintf(last, sizeof last, "%d", s->last);
    snprintf(most, sizeof most, "%d", SLICE);
    call(s,
         (struct pg_call){.sql = "SELECT * FROM slots_read($1::int,"
                                 " $2::boolean, $3::int, $4::int)",
                          .n = 4,
                          .values = {tenant, d->daily ? "t" : "f", last, most},
                          .row = on_meter,
                          .done = on_read});
}

static void tenant_start(struct slotting *s)
{
    const struct due *d = &s->due[s->at];

    s->plan = contact_plan_new(d->tenant, d->window_min);
    s->now_us = clock_utc(s->clock);
    s->planned = false;
    s->last = 0;
    read_start(s);
}

/* ---- rounds ---- */

static void on_tenant(void *arg, const PGresult *res, int row)
{
    struct slotting *s = arg;

    s->due = mem_grow(s->due, s->n_due + 1, sizeof *s->due);
    s->due[s->n_due++] =
        (struct due){.tenant = (int32_t)column_int(res, row, 0, 0),
                     .window_min = (uint32_t)column_int(res, row, 1, 60),
                     .daily = *PQgetvalue(res, row, 2) == 't'};
}

static void on_due(void *arg, const struct pg_outcome *o)
{
    struct slotting *s = arg;

    if (o->err || s->n_due == 0)
        finish(s, o);
    else
        tenant_start(s);
}

static void start(void *arg)
{
    struct slotting *s = arg;

    if (!s->again)
        return;
    s->again = false;
    s->running = true;
    s->at = 0;
    s->began_us = clock_mono(s->clock);
    call(s, (struct pg_call){.sql = "SELECT * FROM slots_due()",
                             .row = on_tenant,
                             .done = on_due});
}

struct slotting *slotting_new(uv_loop_t *loop, struct pg_pool *pool,
                              const struct clock *clock)
{
    struct slotting *s = mem_alloc(sizeof *s);

    s->loop = loop;
    s->pool = pool;
    s->clock = clock;
    s->next = ticker_new(loop, start, s);
    return s;
}

void slotting_wake(struct slotting *s)
{
    if (s->stopped)
        return;
    s->again = true;
    if (!s->running && !ticker_active(s->next))
        start(s);
}

void slotting_stop(struct slotting *s)
{
    s->stopped = true;
    ticker_stop(s->next);
}

void slotting_free(struct slotting *s)
{
    if (!s)
        return;
    ticker_free(s->next);
    contact_plan_free(s->plan);
    free(s->due);
    buf_done(&s->slice);
    free(s);
}
