/* contact_plan.c - see contact_plan.h. */
#include "server/clocks/contact_plan.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "timesvc/cron.h"

#include <stdlib.h>

enum {
    GATEWAYS = 256, /* told apart in a plan; more share a place */
    HEARD_MOST = 8,
    DAY_MIN = 1440,
};

struct contact_plan {
    int32_t tenant;
    uint32_t window_min;
    struct slot_meter *meters;
    struct was {
        int32_t meter_id, slot;
        uint32_t period_min;
        int64_t gateway;
    } * was; /* of each, as the database has it */
    uint32_t n, cap;
    uint32_t written; /* up to there */
    uint32_t calls[DAY_MIN];
};

struct contact_plan *contact_plan_new(int32_t tenant, uint32_t window_min)
{
    struct contact_plan *p = mem_alloc(sizeof *p);

    p->tenant = tenant;
    p->window_min = window_min;
    return p;
}

void contact_plan_free(struct contact_plan *p)
{
    if (!p)
        return;
    free(p->meters);
    free(p->was);
    free(p);
}

/* One that is not told: where it was heard, if it was. */
static void observe(struct slot_meter *m, struct str heard)
{
    uint32_t at[HEARD_MOST], n = 0;
    bool inside = false;

    m->fixed = true;
    for (size_t i = 0; i < heard.n; i++) {
        bool digit = heard.p[i] >= '0' && heard.p[i] <= '9';
        if (digit && !inside && n == HEARD_MOST)
            break;
        if (digit && !inside)
            at[n++] = 0;
        if (digit)
            at[n - 1] = 10 * at[n - 1] + (uint32_t)(heard.p[i] - '0');
        inside = digit;
    }
    if (n == 0)
        return;
    m->period_min = slot_period_min(at, n);
    m->slot = (int32_t)(at[n - 1] % m->period_min);
}

void contact_plan_add(struct contact_plan *p, const struct contact_row *r,
                      int64_t now_us)
{
    struct slot_meter *m;

    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1024;
        p->meters = mem_grow(p->meters, p->cap, sizeof *p->meters);
        p->was = mem_grow(p->was, p->cap, sizeof *p->was);
    }
    p->was[p->n] =
        (struct was){r->meter_id, r->slot, r->period_min, r->gateway};
    m = &p->meters[p->n++];
    *m = (struct slot_meter){.key = cron_seed(p->tenant, r->meter_id),
                             .weight = r->weight,
                             .gateway =
                                 (uint32_t)((uint64_t)r->gateway % GATEWAYS),
                             .interval_min = r->interval_min,
                             .slot = r->slot};
    if (!r->tellable) {
        m->period_min = r->period_min;
        observe(m, r->heard);
        return;
    }
    if (r->period_min)
        m->slot = SLOT_NONE; /* that was only where it was heard */
    slot_look(m, &r->clock, now_us);
}

void contact_plan_make(struct contact_plan *p, int64_t now_us)
{
    struct slot_plan *slots = slot_plan_new(p->window_min, GATEWAYS);
    int64_t minute = now_us / (60 * US_PER_S);

    for (uint32_t i = 0; i < p->n; i++) {
        if (p->meters[i].slot != SLOT_NONE && !slot_book(slots, &p->meters[i]))
            p->meters[i].slot = SLOT_NONE; /* the window became smaller */
    }
    for (uint32_t i = 0; i < p->n; i++)
        if (p->meters[i].slot == SLOT_NONE)
            slot_assign(slots, &p->meters[i]);
    slot_rebalance(slots, p->meters, p->n, slot_most,
                   (uint64_t)minute / DAY_MIN);
    slot_plan_free(slots);
    memset(p->calls, 0, sizeof p->calls);
    slot_forecast(p->meters, p->n, p->window_min, (uint32_t)(minute % DAY_MIN),
                  p->calls);
    p->written = 0;
}

uint32_t contact_plan_slice(struct contact_plan *p, uint32_t most,
                            struct buf *json)
{
    uint32_t n = 0;

    for (; p->written < p->n && n < most; p->written++) {
        const struct slot_meter *m = &p->meters[p->written];
        const struct was *was = &p->was[p->written];

        if (m->slot == was->slot && m->period_min == was->period_min)
            continue;
        buf_printf(json, "%s[%d,%d,%u,%u,%lld,", n++ ? "," : "[", was->meter_id,
                   m->slot, slot_second(m->key), m->weight,
                   (long long)was->gateway);
        if (m->period_min)
            buf_printf(json, "%u]", m->period_min);
        else
            buf_z(json, "null]");
    }
    buf_z(json, n ? "]" : "[]");
    return n;
}

void contact_plan_calls(const struct contact_plan *p, struct buf *array)
{
    for (int i = 0; i < DAY_MIN; i++)
        buf_printf(array, "%c%u", i ? ',' : '{', p->calls[i]);
    buf_z(array, "}");
}
