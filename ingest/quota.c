/*
 * quota.c - see quota.h. The generic cell rate algorithm (ITU-T I.371): a
 * bucket kept as one time, that at which it is full again.
 */
#include "ingest/quota.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"

#include <stdlib.h>

static const int64_t minute_us = 60 * US_PER_S;
enum { BURST_S = 10, BURST_LEAST = 10 }; /* of frames, without waiting */

struct quotas {
    const struct clock *clock;
    struct quota *all;
};

struct quotas *quotas_new(const struct clock *clock)
{
    struct quotas *q = mem_alloc(sizeof *q);

    q->clock = clock;
    return q;
}

void quotas_free(struct quotas *q)
{
    struct quota *t, *next;

    if (!q)
        return;
    HASH_ITER (hh, q->all, t, next) {
        HASH_DEL(q->all, t);
        free(t);
    }
    free(q);
}

static struct quota *find(const struct quotas *q, int32_t tenant)
{
    struct quota *t = NULL;

    HASH_FIND(hh, q->all, &tenant, sizeof tenant, t); /* NOLINT */
    return t;
}

void quotas_set(struct quotas *q, int32_t tenant, int64_t per_minute)
{
    struct quota *t = find(q, tenant);

    if (!t && per_minute == 0)
        return;
    if (!t) {
        t = mem_alloc(sizeof *t);
        t->tenant_id = tenant;
        HASH_ADD(hh, q->all, tenant_id, sizeof t->tenant_id, t);
    }
    if (t->per_minute == per_minute)
        return;
    log_info("tenant quota", "tenant=%d uplinks_per_minute=%lld", tenant,
             (long long)per_minute);
    t->per_minute = per_minute;
    t->taken_us = 0; /* turns that wait keep their time */
}

static int64_t burst_us(const struct quota *t)
{
    int64_t least = BURST_LEAST * minute_us / t->per_minute;

    return least > BURST_S * US_PER_S ? least : BURST_S * US_PER_S;
}

bool quotas_slow(const struct quotas *q, const struct quota *t)
{
    return t->slow_us && clock_mono(q->clock) - t->slow_us < minute_us;
}

static void slowed(const struct quotas *q, struct quota *t, int64_t now)
{
    if (!quotas_slow(q, t))
        log_warning("tenant is over its quota and slowed",
                    "tenant=%d uplinks_per_minute=%lld", t->tenant_id,
                    (long long)t->per_minute);
    t->slow_us = now;
}

int quotas_turn(struct quotas *q, int32_t tenant, int64_t patience_us,
                int64_t *at_us)
{
    struct quota *t = find(q, tenant);
    int64_t now = clock_mono(q->clock), at;

    *at_us = now;
    if (!t || t->per_minute == 0)
        return 0;
    if (t->taken_us < now)
        t->taken_us = now;
    at = t->taken_us - burst_us(t);
    if (at > now)
        slowed(q, t, now);
    if (at > now && at - now > patience_us) {
        t->refused++;
        return ERR_FULL;
    }
    t->slowed += at > now;
    t->taken_us += minute_us / t->per_minute;
    *at_us = at;
    return 0;
}

const struct quota *quotas_first(const struct quotas *q)
{
    return q->all;
}

const struct quota *quotas_next(const struct quota *t)
{
    return t->hh.next;
}
