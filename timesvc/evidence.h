/*
 * evidence.h - what the contacts with a meter tell of its clock: how far it is
 * off, how it drifts, how sure that is, and what happened to it. Statistics,
 * not billing: the drift is a double. A pure fold over samples.
 *
 * offset = meter - true: positive is fast. Segments of a clock's life are
 * parted by steps; a claim of the meter is read in the segment it was made in.
 */
#pragma once

#include "server/base/clock.h"
#include <stdbool.h>

struct zone; /* zone.h */

enum { CLOCK_POINTS = 16, CLOCK_STEPS = 4 };

enum clock_state {
    CLOCK_UNKNOWN,   /* no sample yet */
    CLOCK_SYNCED,    /* within the accepted difference */
    CLOCK_DRIFTING,  /* beyond it, by a known offset */
    CLOCK_UNSYNCED,  /* nothing heard of it for more than 90 days */
    CLOCK_UNTRUSTED, /* reset, stopped, or distrusted by the meter itself, and
                        not set since */
};
const char *clock_state_name(enum clock_state s); /* "synced", ... */

/* What happened to a clock between two samples. */
enum clock_jump {
    JUMP_NONE,
    JUMP_RESET,     /* back at an epoch: 1970, 1980, 2000, 2106 */
    JUMP_STOPPED,   /* it stood still: battery changed, power lost */
    JUMP_DST,       /* one hour, around a day when the zone's clocks change */
    JUMP_HOUR,      /* one hour on another day */
    JUMP_ZONE,      /* other whole quarters of an hour: a wrong zone */
    JUMP_SET,       /* somebody set it */
    JUMP_CORRECTED, /* our own correction, seen to have worked */
};
const char *clock_jump_name(enum clock_jump j); /* "reset", ... */

struct clock_sample {
    int64_t heard_us; /* when it was heard, our time */
    int64_t meter_us; /* what the meter's clock showed */
    int64_t delay_us; /* expected between the two; spread_us: give or take */
    int64_t spread_us;
    bool distrusted; /* by the meter itself */
};

struct clock_point {
    int64_t heard_us, offset_us, spread_us;
};

struct clock_step {
    int64_t since_us, at_us;     /* it happened between these, our time */
    int64_t before_us, after_us; /* offsets on its two sides */
    double drift_ppm;            /* before it */
    bool trusted;                /* the clock before it was worth reading */
    enum clock_jump kind;
};

struct clock_model {
    struct clock_point points[CLOCK_POINTS]; /* oldest first, one segment */
    struct clock_step steps[CLOCK_STEPS];    /* oldest first */
    uint32_t n_points, n_steps;
    /* The fit, at the newest point: */
    int64_t at_us, offset_us, spread_us;
    double drift_ppm;
    bool fitted; /* the drift is measured */
    bool untrusted;
    int64_t last_us;        /* newest sample heard, whatever it said */
    struct clock_point odd; /* contradicts; believed when repeated */
    uint32_t odd_count;
    int64_t expect_us; /* a correction by that much was sent ... */
    int64_t sent_us;   /* ... then; TIME_NONE: none is under way */
};

void clock_init(struct clock_model *m);

/* Takes a sample heard not before the last one (an older one is ignored).
 * Returns what happened to the clock. `zone` may be NULL. */
enum clock_jump clock_take(struct clock_model *m, const struct clock_sample *s,
                           const struct zone *zone);
/* A correction by `by_us` (added to the meter's clock) was sent. The samples to
 * come show whether it arrived. */
void clock_expect(struct clock_model *m, int64_t sent_us, int64_t by_us);

struct clock_error {
    int64_t offset_us, uncertainty_us;
    bool known;   /* there is a model at all */
    bool trusted; /* false: the clock was not worth reading then */
    bool stepped; /* too close to a step to say on which side */
};
/* Of the clock now, at our time `us`; and of a time that the meter claims.
 * +-2 s where it is well known, growing to +-120 s in 90 days; by 17 s a day as
 * long as the drift is not measured. */
struct clock_error clock_now(const struct clock_model *m, int64_t us);
struct clock_error clock_at_claim(const struct clock_model *m,
                                  int64_t claim_us);
enum clock_state clock_state(const struct clock_model *m, int64_t now_us,
                             int64_t accepted_us);
/* How long this clock may go without a correction before its error reaches
 * `accepted_us`; INT64_MAX when it does not drift. */
int64_t clock_sync_period_us(const struct clock_model *m, int64_t accepted_us);
