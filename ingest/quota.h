/*
 * quota.h - how many frames a minute each tenant may send. Every frame takes a
 * turn; who is faster than its tenant's quota waits for it. One tenant's turns
 * are handed out in order, so that its many senders share them fairly, and
 * nobody else's are touched. Loop thread only.
 */
#pragma once

#include "server/base/clock.h"
#include <uthash.h>

struct quotas; /* opaque */

struct quota {
    int32_t tenant_id;
    int64_t per_minute; /* 0: no limit */
    int64_t slowed;     /* frames that had to wait */
    int64_t refused;    /* senders told to come back later */
    int64_t taken_us;   /* clock_mono up to which all turns are given away */
    int64_t slow_us;    /* when one had to wait last; 0: never */
    UT_hash_handle hh;
};

struct quotas *quotas_new(const struct clock *clock);
void quotas_free(struct quotas *q);

/* 0: no limit. */
void quotas_set(struct quotas *q, int32_t tenant, int64_t per_minute);
/* The caller's turn: *at_us (clock_mono) is when its frame may be taken; now or
 * in the past means at once. ERR_FULL: that would be more than patience_us
 * away, and no turn was taken. */
int quotas_turn(struct quotas *q, int32_t tenant, int64_t patience_us,
                int64_t *at_us);
/* Tenants that have, or had, a limit; NULL ends. */
const struct quota *quotas_first(const struct quotas *q);
const struct quota *quotas_next(const struct quota *t);
bool quotas_slow(const struct quotas *q, const struct quota *t); /* now? */
