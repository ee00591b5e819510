/*
 * reconcile.h - which time a reading gets. A pure function of what the meter
 * said, when we heard it, and its zone; no I/O, no now(). The full time
 * service (clock state, drift, correction) grows here.
 */
#pragma once

#include "schema/quality.h"
#include "server/base/clock.h"

struct zone; /* zone.h */

/* What one frame tells about time. All *_us: UTC or TIME_NONE. */
struct time_evidence {
    int64_t received_us; /* when headend received the frame */
    int64_t network_us;  /* when the network server heard it */
};

struct meter_claim { /* the meter's own time for a row, if it has one */
    int64_t us;      /* UTC or local civil time; TIME_NONE */
    bool local;      /* no zone told: read it in `zone` */
    bool invalid;    /* the meter distrusts it */
    int8_t dst;      /* 1 summer, 0 winter, -1 not told */
};

struct reconciled {
    int64_t time_us;       /* the reading's time, UTC */
    int64_t meter_time_us; /* the meter's own, as UTC; TIME_NONE */
    uint32_t uncertainty_ms;
    uint32_t quality; /* QUALITY_*TIME*, QUALITY_LATE */
};

/* When the network heard it, if that can be true (from 2015 on, at most five
 * minutes after we received it), else when we did. *quality (may be NULL) gains
 * QUALITY_LATE when it was underway for more than a day. */
int64_t heard_us(struct time_evidence e, uint32_t *quality);

/* Never fails; no zone means UTC. A claim is impossible when it is before
 * 2000-01-01 or more than one day after the frame was heard: then time_us is
 * `heard - age_us`, where age_us (>= 0) is how far the row lies behind the
 * newest of its frame. */
struct reconciled reconcile(struct time_evidence e, struct meter_claim c,
                            int64_t age_us, const struct zone *zone);
