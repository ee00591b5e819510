/*
 * reconcile.h - which time a reading gets. A pure function of what the meter
 * said, when we heard it, what is known of its clock, and its zone.
 */
#pragma once

#include "schema/quality.h"
#include "timesvc/evidence.h"

struct zone; /* zone.h */

/* What is known of the meter's clock. */
struct clock_known {
    const struct clock_model *model; /* NULL: nothing yet */
    int64_t accepted_us; /* a difference up to this is let be; 0: 60 s */
    int64_t clock_us;    /* the clock as this frame shows it; TIME_NONE */
    int64_t delay_us, spread_us; /* from that to being heard */
    int64_t interval_us; /* it measures at edges of this; 0: at any time */
    bool ours_unsure;    /* our own clock was not synchronised */
};

/* What one frame tells about time. All *_us: UTC or TIME_NONE. */
struct time_evidence {
    int64_t received_us;             /* when headend received the frame */
    int64_t network_us;              /* when the network server heard it */
    const struct clock_known *known; /* may be NULL */
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

/* Never fails; no zone means UTC. A claim is impossible when it is before 2001
 * (a clock back at an epoch) or more than one day after the frame was heard:
 * then, as where the clock is not trusted, time_us is `heard - age_us`, where
 * age_us (>= 0) is how far the row lies behind the newest of its frame. A
 * possible claim is kept when the clock is known to be right, or when the error
 * is less than half the interval; else it is re-timed and marked. */
struct reconciled reconcile(struct time_evidence e, struct meter_claim c,
                            int64_t age_us, const struct zone *zone);
