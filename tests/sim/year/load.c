/*
 * load.c - the plan of all slots: given once, looked at every day with what is
 * known of the clocks.
 */
#include "timesvc/cron.h"
#include "year.h"

#include <stdlib.h>

enum { GATEWAYS = 200 };

struct estate {
    struct told *told;
    struct slot_meter *meters;
    struct estate_figures f;
};

/* Once a day in each minute of it: planned, and with random minutes. */
static void daily(struct estate_figures *f)
{
    struct slot_plan *p = slot_plan_new(1440, 1), *q = slot_plan_new(1440, 1);
    struct rng r = {o.seed + 1};

    for (int i = 0; i < o.meters; i++) {
        struct slot_meter m = {
            .key = cron_seed(1, i), .weight = 1, .slot = SLOT_NONE};
        slot_assign(p, &m);
        m.slot = (int32_t)(draw(&r) % 1440);
        slot_book(q, &m);
    }
    f->daily = slot_unevenness(p);
    f->daily_random = slot_unevenness(q);
    slot_plan_free(p);
    slot_plan_free(q);
}

static void tell(struct estate *e)
{
    for (int i = 0; i < o.meters; i++)
        e->told[i].slot = e->meters[i].slot;
}

struct estate *estate_new(struct told *told)
{
    struct estate *e = calloc(1, sizeof *e);
    struct slot_plan *p = slot_plan_new((uint32_t)o.window_min, GATEWAYS);
    struct rng r = {o.seed};

    if (!e || !p || !(e->meters = calloc((size_t)o.meters, sizeof *e->meters)))
        exit(2);
    e->told = told;
    for (int i = 0; i < o.meters; i++) {
        struct slot_meter *m = &e->meters[i];
        *m = (struct slot_meter){.key = cron_seed(1, i),
                                 .weight = 1,
                                 .gateway = (uint32_t)(draw(&r) % GATEWAYS),
                                 .interval_min = chance(&r, 0.3) ? 15 : 60,
                                 .slot = SLOT_NONE};
        slot_assign(p, m);
        told[i].clock.at_us = TIME_NONE;
    }
    e->f.planned = slot_unevenness(p);
    daily(&e->f);
    slot_plan_free(p);
    tell(e);
    return e;
}

void estate_free(struct estate *e)
{
    free(e->meters);
    free(e);
}

const struct slot_meter *estate_meter(const struct estate *e, int i)
{
    return &e->meters[i];
}

void estate_day(struct estate *e, int day)
{
    struct slot_plan *p = slot_plan_new((uint32_t)o.window_min, GATEWAYS);

    for (int i = 0; i < o.meters; i++) {
        slot_look(&e->meters[i], &e->told[i].clock, begin_us + day * DAY_US);
        slot_book(p, &e->meters[i]);
    }
    e->f.moves += (int64_t)slot_rebalance(p, e->meters, (size_t)o.meters,
                                          slot_most, (uint64_t)day);
    double expected = slot_unevenness(p);
    if (day > 0 && expected > e->f.expected)
        e->f.expected = expected;
    slot_plan_free(p);
    tell(e);
}

struct estate_figures estate_figures(const struct estate *e)
{
    return e->f;
}
