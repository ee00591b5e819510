/*
 * reconcile.c - one time for a reading out of what the meter, the network and
 * we say, with how far it may be off. The meter's own time wins as long as it
 * can be true; it is kept beside the result in every case.
 *
 * Uncertainty: a clock that nobody has checked is taken as good to a minute,
 * as is the age of a row by such a clock; a time of hearing is good to five
 * seconds (what a device takes from reading its registers to being heard); an
 * hour is added where a local hour happens twice or never.
 */
#include "timesvc/reconcile.h"
#include "timesvc/zone.h"

#define DAY_US (86400 * US_PER_S)

enum { UNSYNCED_MS = 60000, HEARD_MS = 5000, AMBIGUOUS_MS = 3600000 };

static const int64_t earliest_us = 946684800 * US_PER_S;      /* 2000-01-01 */
static const int64_t network_from_us = 1420070400 * US_PER_S; /* 2015-01-01 */
static const int64_t network_ahead_us = 300 * US_PER_S;

/* Claims beyond these are impossible in any zone and not worth converting. */
static const int64_t claim_least_us = 0;
static const int64_t claim_most_us = 7258118400 * US_PER_S; /* 2200-01-01 */

int64_t heard_us(struct time_evidence e, uint32_t *quality)
{
    int64_t heard = e.received_us;

    if (e.network_us != TIME_NONE && e.network_us >= network_from_us &&
        e.network_us <= e.received_us + network_ahead_us)
        heard = e.network_us;
    if (quality && e.received_us - heard > DAY_US)
        *quality |= QUALITY_LATE;
    return heard;
}

/* The claim as UTC, with the quality that the conversion brings. */
static int64_t claim_utc(struct meter_claim c, const struct zone *zone,
                         uint32_t *quality)
{
    bool ambiguous = false;

    if (c.us == TIME_NONE || !c.local)
        return c.us;
    *quality |= QUALITY_LOCAL_TIME;
    if (!zone || c.us < claim_least_us || c.us > claim_most_us)
        return c.us;
    int64_t us = zone_to_utc(zone, c.us, c.dst, &ambiguous);
    if (ambiguous)
        *quality |= QUALITY_DST_AMBIGUOUS;
    return us;
}

struct reconciled reconcile(struct time_evidence e, struct meter_claim c,
                            int64_t age_us, const struct zone *zone)
{
    int64_t heard = heard_us(e, NULL);
    struct reconciled r = {.time_us = heard, .uncertainty_ms = HEARD_MS};

    r.meter_time_us = claim_utc(c, zone, &r.quality);
    bool given = r.meter_time_us != TIME_NONE;
    if (!given && !c.invalid) {
        r.quality = QUALITY_NO_METER_TIME;
    } else if (!given || c.invalid || r.meter_time_us < earliest_us ||
               r.meter_time_us > heard + DAY_US) {
        r.quality = QUALITY_TIME_INVALID | (given ? QUALITY_TIME_SHIFTED : 0);
        if (age_us > 0 && age_us <= heard - earliest_us) {
            r.time_us = heard - age_us;
            r.uncertainty_ms = UNSYNCED_MS;
        }
    } else {
        r.time_us = r.meter_time_us;
        r.uncertainty_ms = UNSYNCED_MS;
        if (r.quality & QUALITY_DST_AMBIGUOUS)
            r.uncertainty_ms += AMBIGUOUS_MS;
    }
    if (e.received_us - r.time_us > DAY_US)
        r.quality |= QUALITY_LATE;
    return r;
}
