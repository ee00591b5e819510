/*
 * slotting.c - see slotting.h. A round: slots_read() gives all meters of each
 * tenant that has one without a slot, tenant by tenant -> planned ->
 * slots_write() takes what is new or has moved.
 */
#include "server/clocks/slotting.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "timesvc/cron.h"
#include "timesvc/slots.h"

#include <stdlib.h>

enum {
    GATEWAYS = 256,       /* told apart in a plan; more share a place */
    SESSION_MS = 20000,   /* a meter that dials in, at a modem pool's cost */
    TYPICAL_SF = 9,       /* a network server seldom says which it was */
    LORAWAN_OVERHEAD = 13 /* bytes around the payload (LoRaWAN 1.0.4 4) */
};

struct slotting {
    struct pg_pool *pool;
    bool running, again, stopped;
    int32_t tenant; /* whose meters are in `meters` */
    uint32_t window_min;
    struct slot_meter *meters;
    int32_t *ids, *was;
    uint32_t n, cap;
    struct buf rows;
};

static void start(struct slotting *s);

static void put(struct slotting *s, uint32_t i)
{
    const struct slot_meter *m = &s->meters[i];

    if (m->slot != s->was[i])
        buf_printf(&s->rows, "%s[%d,%d,%d,%u,%u]", s->rows.n > 1 ? "," : "",
                   s->tenant, s->ids[i], m->slot, slot_second(m->key),
                   m->weight);
}

/* All meters of one tenant are there. */
static void plan(struct slotting *s)
{
    struct slot_plan *p = slot_plan_new(s->window_min, GATEWAYS);

    for (uint32_t i = 0; i < s->n; i++) {
        if (s->meters[i].slot != SLOT_NONE && !slot_book(p, &s->meters[i]))
            s->meters[i].slot = SLOT_NONE; /* the window became smaller */
    }
    for (uint32_t i = 0; i < s->n; i++)
        if (s->meters[i].slot == SLOT_NONE)
            slot_assign(p, &s->meters[i]);
    slot_rebalance(p, s->meters, s->n, slot_most, 0);
    for (uint32_t i = 0; i < s->n; i++)
        put(s, i);
    slot_plan_free(p);
    s->n = 0;
}

static void on_meter(void *arg, const PGresult *res, int row)
{
    struct slotting *s = arg;
    int32_t tenant = atoi(PQgetvalue(res, row, 0));

    if (s->n && tenant != s->tenant)
        plan(s);
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->meters = mem_grow(s->meters, s->cap, sizeof *s->meters);
        s->ids = mem_grow(s->ids, s->cap, sizeof *s->ids);
        s->was = mem_grow(s->was, s->cap, sizeof *s->was);
    }
    s->tenant = tenant;
    s->window_min = (uint32_t)atoi(PQgetvalue(res, row, 6));
    s->ids[s->n] = atoi(PQgetvalue(res, row, 1));
    s->was[s->n] =
        PQgetisnull(res, row, 2) ? SLOT_NONE : atoi(PQgetvalue(res, row, 2));
    s->meters[s->n] = (struct slot_meter){
        .key = cron_seed(tenant, s->ids[s->n]),
        .weight = PQgetisnull(res, row, 3)
                      ? SESSION_MS
                      : lora_air_ms(TYPICAL_SF,
                                    (uint32_t)atoi(PQgetvalue(res, row, 3)) +
                                        LORAWAN_OVERHEAD),
        .gateway =
            (uint32_t)(strtoull(PQgetvalue(res, row, 4), NULL, 10) % GATEWAYS),
        .interval_min = (uint32_t)atoi(PQgetvalue(res, row, 5)),
        .slot = s->was[s->n]};
    s->n++;
}

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
    if (o->err || s->rows.n <= 1) {
        finish(s, o);
        return;
    }
    buf_put(&s->rows, "]", 2);
    if (pg_call(s->pool,
                &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                  .write = true,
                                  .sql = "SELECT slots_write($1::jsonb)",
                                  .n = 1,
                                  .values = {(char *)s->rows.p},
                                  .done = on_written,
                                  .arg = s}) < 0)
        finish(s, NULL);
}

static void start(struct slotting *s)
{
    s->again = false;
    s->running = true;
    buf_clear(&s->rows);
    buf_z(&s->rows, "[");
    if (pg_call(s->pool, &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                           .sql = "SELECT * FROM slots_read()",
                                           .row = on_meter,
                                           .done = on_read,
                                           .arg = s}) < 0)
        finish(s, NULL);
}

struct slotting *slotting_new(struct pg_pool *pool)
{
    struct slotting *s = mem_alloc(sizeof *s);

    s->pool = pool;
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
    free(s->ids);
    free(s->was);
    buf_done(&s->rows);
    free(s);
}
