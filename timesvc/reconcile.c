/*
 * reconcile.c - one time for a reading out of what the meter, the network and
 * we say, with how far it may be off. The meter's own time wins as long as it
 * can be true; it is kept beside the result in every case, and a time that is
 * not the meter's own is marked.
 *
 * Uncertainty: a clock that nobody has checked is taken as good to a minute,
 * as is the age of a row by such a clock; a time of hearing is good to five
 * seconds (what a device takes from reading its registers to being heard); an
 * hour is added where a local hour happens twice or never.
 */
#include "timesvc/reconcile.h"
#include "timesvc/interval.h"
#include "timesvc/zone.h"

#define DAY_US (86400 * US_PER_S)

enum { UNSYNCED_MS = 60000, HEARD_MS = 5000, AMBIGUOUS_MS = 3600000 };

static const int64_t epoch_us = 946684800 * US_PER_S;         /* 2000-01-01 */
static const int64_t earliest_us = 978307200 * US_PER_S;      /* 2001-01-01 */
static const int64_t network_from_us = 1420070400 * US_PER_S; /* 2015-01-01 */
static const int64_t network_ahead_us = 300 * US_PER_S;
static const int64_t accepted_default_us = 60 * US_PER_S;
static const int64_t late_us = 60 * US_PER_S; /* a sample may be, unseen */
static const int64_t contradicts_us = 10 * US_PER_S;

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

static int64_t magnitude(int64_t v)
{
    return v < 0 ? -v : v;
}

static int64_t accepted_of(const struct clock_known *k)
{
    return k->accepted_us ? k->accepted_us : accepted_default_us;
}

static uint32_t to_ms(int64_t us)
{
    int64_t ms = us / 1000;
    return ms > INT32_MAX ? INT32_MAX : (uint32_t)ms;
}

/* The claim is of no use: the row keeps its distance to when it was heard. */
static void by_hearing(struct reconciled *r, int64_t heard, int64_t age_us)
{
    bool given = r->meter_time_us != TIME_NONE;

    r->quality = QUALITY_TIME_INVALID | (given ? QUALITY_TIME_SHIFTED : 0);
    r->time_us = heard;
    r->uncertainty_ms = HEARD_MS;
    if (age_us > 0 && age_us <= heard - epoch_us) {
        r->time_us = heard - age_us;
        r->uncertainty_ms = UNSYNCED_MS;
    }
}

/* The clock's error at the claim. What the frame itself shows of the clock is
 * newer than the model: where both differ the row is in doubt. A clock that is
 * ahead of what we expect is so in truth; one that lags may just be late. */
static struct clock_error error_of(const struct clock_known *k, int64_t claim,
                                   int64_t heard)
{
    struct clock_error e = {.trusted = true}, now = {0};

    if (k->model) {
        e = clock_at_claim(k->model, claim);
        now = clock_now(k->model, heard);
    }
    if (k->clock_us == TIME_NONE)
        return e;
    int64_t shown = k->clock_us - heard + k->delay_us;
    int64_t gap = shown - now.offset_us;
    int64_t slack = now.uncertainty_us + k->spread_us + contradicts_us +
                    (now.known ? 0 : accepted_of(k));
    if (magnitude(gap) <= slack)
        return e;
    e.stepped = magnitude(gap) > accepted_of(k);
    e.uncertainty_us += magnitude(gap);
    if (gap > 0) {
        e.offset_us = shown;
        e.known = true;
    }
    return e;
}

/* An interval's reading belongs to an edge: the nearest one to when it was
 * truly made. Its own, if the error is less than half the interval; near half
 * of it a single late sample would decide, so that is in doubt. */
static void fit_interval(struct reconciled *r, const struct clock_error *e,
                         int64_t interval, int64_t edge, int64_t made)
{
    int64_t away = magnitude(edge - made) + e->uncertainty_us;
    int64_t late = interval / 8 < late_us ? interval / 8 : late_us;

    r->time_us = edge;
    r->uncertainty_ms = to_ms(away);
    if (2 * (away + late) >= interval)
        r->quality |= QUALITY_TIME_UNCERTAIN;
}

/* A claim on an edge is an interval's reading, and one made about an edge. */
static bool belongs(const struct clock_known *k, const struct clock_error *e,
                    int64_t claim, int64_t made, const struct zone *zone,
                    int64_t *edge)
{
    *edge = interval_nearest(zone, made, k->interval_us);
    return interval_floor(zone, claim, k->interval_us) == claim ||
           magnitude(*edge - made) <= accepted_of(k) + e->uncertainty_us;
}

static void by_clock(struct reconciled *r, const struct clock_known *k,
                     int64_t heard, const struct zone *zone)
{
    struct clock_error e = error_of(k, r->meter_time_us, heard);
    int64_t made = r->meter_time_us - e.offset_us, edge;

    if (e.stepped)
        r->quality |= QUALITY_TIME_UNCERTAIN;
    if (!e.known || e.offset_us < -DAY_US) {
        if (e.known || e.stepped) { /* days behind: or days on its way */
            r->quality |= QUALITY_TIME_UNCERTAIN;
            r->uncertainty_ms =
                to_ms(e.uncertainty_us + magnitude(e.offset_us));
        }
        return;
    }
    if (made > heard)
        made = heard;
    if (k->interval_us && belongs(k, &e, r->meter_time_us, made, zone, &edge)) {
        fit_interval(r, &e, k->interval_us, edge, made);
    } else if (magnitude(e.offset_us) < accepted_of(k)) {
        r->uncertainty_ms = to_ms(e.uncertainty_us + magnitude(e.offset_us));
    } else {
        r->time_us = made;
        r->uncertainty_ms = to_ms(e.uncertainty_us);
    }
    if (r->time_us != r->meter_time_us)
        r->quality |= QUALITY_TIME_SHIFTED;
    if (r->quality & QUALITY_DST_AMBIGUOUS)
        r->uncertainty_ms += AMBIGUOUS_MS;
}

static bool trusted(const struct clock_known *k, int64_t claim)
{
    return !k || !k->model || clock_at_claim(k->model, claim).trusted;
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
               r.meter_time_us > heard + DAY_US ||
               !trusted(e.known, r.meter_time_us)) {
        by_hearing(&r, heard, age_us);
    } else {
        r.time_us = r.meter_time_us;
        r.uncertainty_ms = UNSYNCED_MS;
        if (r.quality & QUALITY_DST_AMBIGUOUS)
            r.uncertainty_ms += AMBIGUOUS_MS;
        if (e.known)
            by_clock(&r, e.known, heard, zone);
    }
    if (e.received_us - r.time_us > DAY_US)
        r.quality |= QUALITY_LATE;
    if (e.known && e.known->ours_unsure)
        r.quality |= QUALITY_OUR_CLOCK_UNSURE;
    return r;
}
