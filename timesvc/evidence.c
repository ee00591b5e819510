/*
 * evidence.c - see evidence.h.
 *
 * A contact's delay is one-sided: what is late makes the clock look slow. So
 * of the samples of half a day the best one is kept as a point (least spread,
 * then least late), and a Theil-Sen line runs through up to 16 points. A sample
 * that contradicts the line is held back until others agree with it: one late
 * frame is no jump.
 */
#include "timesvc/evidence.h"
#include "timesvc/zone.h"
#include <stdlib.h>

#define HOUR_US   (3600 * US_PER_S)
#define DAY_US    (24 * HOUR_US)
#define BUCKET_US (12 * HOUR_US)

/* OneMeter: +-2 s when synced, +-120 s after three months. */
#define SYNCED_US   (2 * US_PER_S)
#define UNSYNCED_US (90 * DAY_US)
static const double growth_ppm = 118e6 / 90 / 86400;

/* Before the drift is measured a clock may run as wrong as this; a line is
 * never believed beyond `drift_most_ppm`. */
static const double unmeasured_ppm = 200, drift_most_ppm = 1000;

enum {
    FIT_POINTS = 4,
    ODD_AGREE = 2, /* samples that make a jump ... */
    LATE_AGREE = 5 /* ... and those that may just be late */
};
#define LATE_US  (90 * US_PER_S)
#define SLACK_US (10 * US_PER_S)
#define RIGHT_US (120 * US_PER_S)
/* No meter keeps its history longer (OneMeter: a year). */
#define HISTORY_US (400 * DAY_US)

/* A clock that shows less was never set; none of ours shows more. */
static const int64_t set_least_us = 1420070400 * US_PER_S; /* 2015-01-01 */
#define AHEAD_MOST_US (20 * 366 * DAY_US)

const char *clock_state_name(enum clock_state s)
{
    static const char *const names[] = {"unknown", "synced", "drifting",
                                        "unsynced", "untrusted"};
    return (unsigned)s <= CLOCK_UNTRUSTED ? names[s] : "?";
}

const char *clock_jump_name(enum clock_jump j)
{
    static const char *const names[] = {
        "none", "reset", "stopped", "dst", "hour", "zone", "set", "corrected"};
    return (unsigned)j <= JUMP_CORRECTED ? names[j] : "?";
}

void clock_init(struct clock_model *m)
{
    *m = (struct clock_model){
        .at_us = TIME_NONE, .last_us = TIME_NONE, .sent_us = TIME_NONE};
}

static int64_t magnitude(int64_t v)
{
    return v < 0 ? -v : v;
}

static int64_t drifted(double ppm, int64_t span_us)
{
    return (int64_t)(ppm * 1e-6 * (double)span_us);
}

/* ---- the line ---- */

static int by_value(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double slope_ppm(const struct clock_model *m)
{
    double slopes[CLOCK_POINTS * (CLOCK_POINTS - 1) / 2];
    size_t n = 0;

    for (uint32_t i = 0; i < m->n_points; i++) {
        for (uint32_t k = i + 1; k < m->n_points; k++) {
            int64_t span = m->points[k].heard_us - m->points[i].heard_us;
            int64_t rise = m->points[k].offset_us - m->points[i].offset_us;
            if (span > 0)
                slopes[n++] = (double)rise / (double)span * 1e6;
        }
    }
    double s = n ? median(slopes, n) : 0;
    return s > drift_most_ppm    ? drift_most_ppm
           : s < -drift_most_ppm ? -drift_most_ppm
                                 : s;
}

/* A segment too short to measure the drift goes on with the one before it. */
static void fit(struct clock_model *m)
{
    const struct clock_point *last = &m->points[m->n_points - 1];
    double levels[CLOCK_POINTS];

    m->at_us = last->heard_us;
    if (m->n_points >= FIT_POINTS &&
        last->heard_us - m->points[0].heard_us >= DAY_US) {
        m->fitted = true;
        m->drift_ppm = slope_ppm(m);
    }
    if (!m->fitted) {
        m->offset_us = last->offset_us;
        m->spread_us = last->spread_us;
        return;
    }
    m->spread_us = INT64_MAX;
    for (uint32_t i = 0; i < m->n_points; i++) {
        const struct clock_point *p = &m->points[i];
        levels[i] = (double)(p->offset_us +
                             drifted(m->drift_ppm, m->at_us - p->heard_us));
        if (p->spread_us < m->spread_us)
            m->spread_us = p->spread_us;
    }
    double level = median(levels, m->n_points);
    m->offset_us = (int64_t)level;
    for (uint32_t i = 0; i < m->n_points; i++)
        levels[i] = levels[i] < level ? level - levels[i] : levels[i] - level;
    m->spread_us += (int64_t)(1.5 * median(levels, m->n_points));
}

static void point_add(struct clock_model *m, struct clock_point p)
{
    if (m->n_points == CLOCK_POINTS) {
        m->n_points--;
        memmove(m->points, m->points + 1, m->n_points * sizeof *m->points);
    }
    m->points[m->n_points++] = p;
}

/* Buckets are parts of our time, so that each holds half a day's samples. */
static bool same_bucket(int64_t a_us, int64_t b_us)
{
    return a_us / BUCKET_US == b_us / BUCKET_US;
}

static void keep(struct clock_model *m, struct clock_point p)
{
    struct clock_point *last = m->n_points ? &m->points[m->n_points - 1] : NULL;

    if (!last || !same_bucket(last->heard_us, p.heard_us)) {
        point_add(m, p);
        fit(m);
        return;
    }
    int64_t moved = drifted(m->drift_ppm, p.heard_us - last->heard_us);
    if (p.spread_us < last->spread_us ||
        (p.spread_us == last->spread_us &&
         p.offset_us >= last->offset_us + moved)) {
        *last = p;
        fit(m);
    }
}

/* ---- steps ---- */

static void step_add(struct clock_model *m, const struct clock_point *now,
                     enum clock_jump kind)
{
    struct clock_error before = clock_now(m, now->heard_us);

    if (m->n_steps == CLOCK_STEPS) {
        m->n_steps--;
        memmove(m->steps, m->steps + 1, m->n_steps * sizeof *m->steps);
    }
    m->steps[m->n_steps++] = (struct clock_step){
        .since_us = m->sent_us != TIME_NONE ? m->sent_us : m->last_us,
        .at_us = now->heard_us,
        .before_us = before.offset_us,
        .after_us = now->offset_us,
        .drift_ppm = m->drift_ppm,
        .trusted = before.trusted,
        .kind = kind};
}

/* A new segment begins. */
static void segment_begin(struct clock_model *m, struct clock_point p,
                          enum clock_jump kind)
{
    if (m->n_points)
        step_add(m, &p, kind);
    m->n_points = 0;
    m->odd_count = 0;
    m->sent_us = TIME_NONE;
    point_add(m, p);
    fit(m);
    m->untrusted = kind == JUMP_RESET || kind == JUMP_STOPPED;
}

static bool whole(int64_t us, int64_t unit, int64_t slack)
{
    int64_t rest = magnitude(us) % unit;
    return magnitude(us) > slack && (rest <= slack || unit - rest <= slack);
}

static enum clock_jump classify(const struct clock_model *m,
                                const struct clock_point *p, int64_t off,
                                int64_t slack, const struct zone *zone)
{
    int64_t silent = p->heard_us - m->last_us;
    int64_t days_us = 8 * DAY_US;

    if (slack > 120 * US_PER_S)
        slack = 120 * US_PER_S;
    if (magnitude(magnitude(off) - HOUR_US) <= slack) {
        bool change =
            zone && (zone_change(zone, p->heard_us, days_us) ||
                     zone_change(zone, p->heard_us + days_us, days_us));
        return change ? JUMP_DST : JUMP_HOUR;
    }
    if (magnitude(off) <= 26 * HOUR_US && whole(off, HOUR_US / 4, slack))
        return JUMP_ZONE;
    return off < -LATE_US && m->n_points && -off <= silent + slack
               ? JUMP_STOPPED
               : JUMP_SET;
}

/* ---- samples ---- */

static bool never_set(const struct clock_sample *s)
{
    return s->meter_us < set_least_us ||
           s->meter_us > s->heard_us + AHEAD_MOST_US;
}

/* Beyond this a sample contradicts the line. */
static int64_t tolerance(const struct clock_model *m,
                         const struct clock_point *p)
{
    struct clock_error e = clock_now(m, p->heard_us);

    return e.uncertainty_us + p->spread_us + SLACK_US;
}

/* A contradicting sample: JUMP_NONE until enough of them agree. Of those that
 * agree the least late one counts. */
static bool believed(struct clock_model *m, const struct clock_point *p,
                     int64_t off, int64_t slack)
{
    int64_t apart = magnitude(p->offset_us - m->odd.offset_us);
    bool agrees = m->odd_count > 0 && apart <= 2 * slack;
    uint32_t enough = off < 0 && off >= -LATE_US ? LATE_AGREE : ODD_AGREE;

    if (!agrees)
        m->odd_count = 0;
    if (!agrees || p->offset_us > m->odd.offset_us)
        m->odd = *p;
    m->odd.heard_us = p->heard_us;
    return ++m->odd_count >= enough;
}

static enum clock_jump contradicted(struct clock_model *m,
                                    const struct clock_point *p, int64_t off,
                                    int64_t slack, const struct zone *zone)
{
    int64_t rest = off - m->expect_us;

    if (m->sent_us != TIME_NONE && magnitude(rest) <= slack &&
        magnitude(rest) < magnitude(off)) {
        segment_begin(m, *p, JUMP_CORRECTED);
        return JUMP_CORRECTED;
    }
    if (m->untrusted) { /* it was set by somebody: readable again */
        segment_begin(m, *p, JUMP_SET);
        return JUMP_SET;
    }
    if (!believed(m, p, off, slack))
        return JUMP_NONE;
    enum clock_jump kind = classify(m, p, off, slack, zone);
    segment_begin(m, m->odd, kind);
    return kind;
}

/* A correction smaller than what contradicts the line is still seen: the sample
 * lies nearer to where it should be now than to where it was. */
static bool small_correction(const struct clock_model *m,
                             const struct clock_point *p, int64_t off)
{
    int64_t rest = off - m->expect_us;

    return m->sent_us != TIME_NONE && p->heard_us > m->sent_us &&
           magnitude(m->expect_us) > p->spread_us &&
           magnitude(rest) < magnitude(off);
}

/* The few samples that there are were later than this one. */
static bool first_were_late(const struct clock_model *m, int64_t off,
                            int64_t slack)
{
    return !m->untrusted && m->sent_us == TIME_NONE && off > slack &&
           off <= LATE_US && m->n_points < FIT_POINTS;
}

/* A clock that is not worth reading. Still not is no new jump. */
static enum clock_jump invalid(struct clock_model *m,
                               const struct clock_point *p)
{
    int64_t off = p->offset_us - clock_now(m, p->heard_us).offset_us;
    bool still =
        m->untrusted && m->n_points && magnitude(off) <= tolerance(m, p);

    if (!still)
        segment_begin(m, *p, JUMP_RESET);
    m->last_us = p->heard_us;
    return still ? JUMP_NONE : JUMP_RESET;
}

enum clock_jump clock_take(struct clock_model *m, const struct clock_sample *s,
                           const struct zone *zone)
{
    struct clock_point p = {
        s->heard_us, s->meter_us - s->heard_us + s->delay_us, s->spread_us};
    enum clock_jump kind = JUMP_NONE;

    if (m->last_us != TIME_NONE && s->heard_us <= m->last_us)
        return JUMP_NONE;
    if (never_set(s) || s->distrusted)
        return invalid(m, &p);
    if (m->n_points == 0) {
        segment_begin(m, p, JUMP_NONE);
    } else {
        int64_t off = p.offset_us - clock_now(m, p.heard_us).offset_us;
        int64_t slack = tolerance(m, &p);
        if (first_were_late(m, off, slack)) {
            m->n_points = 0;
            keep(m, p);
        } else if (magnitude(off) > slack) {
            kind = contradicted(m, &p, off, slack, zone);
        } else if (small_correction(m, &p, off)) {
            segment_begin(m, p, kind = JUMP_CORRECTED);
        } else {
            m->odd_count = 0;
            keep(m, p);
        }
    }
    if (magnitude(p.offset_us) <= RIGHT_US)
        m->untrusted = false; /* whoever set it */
    m->last_us = s->heard_us;
    return kind;
}

void clock_expect(struct clock_model *m, int64_t sent_us, int64_t by_us)
{
    m->sent_us = sent_us;
    m->expect_us = by_us;
}

/* ---- questions ---- */

static int64_t uncertainty(const struct clock_model *m, int64_t away_us)
{
    int64_t least = m->spread_us > SYNCED_US ? m->spread_us : SYNCED_US;
    double ppm = m->fitted ? growth_ppm : unmeasured_ppm;

    return least + drifted(ppm, magnitude(away_us));
}

struct clock_error clock_now(const struct clock_model *m, int64_t us)
{
    if (m->n_points == 0)
        return (struct clock_error){.trusted = !m->untrusted};
    return (struct clock_error){
        .offset_us = m->offset_us + drifted(m->drift_ppm, us - m->at_us),
        .uncertainty_us = uncertainty(m, us - m->at_us),
        .known = true,
        .trusted = !m->untrusted};
}

/* Whether the claim can have been made behind (or before) a step. */
static bool made_after(const struct clock_step *s, int64_t claim_us)
{
    return claim_us - s->after_us >= s->since_us;
}

static bool made_before(const struct clock_step *s, int64_t claim_us)
{
    int64_t away = claim_us - s->before_us - s->at_us;
    int64_t real = s->at_us + away - drifted(s->drift_ppm, away);

    return real <= s->at_us && real >= s->since_us - HISTORY_US;
}

struct clock_error clock_at_claim(const struct clock_model *m, int64_t claim_us)
{
    struct clock_error e = clock_now(m, claim_us - m->offset_us);

    for (uint32_t i = m->n_steps; e.known && i-- > 0;) {
        const struct clock_step *s = &m->steps[i];
        bool after = made_after(s, claim_us), before = made_before(s, claim_us);

        if (after && !before)
            break;
        if (after == before) { /* either, or neither */
            e.stepped = true;
            e.uncertainty_us += magnitude(s->after_us - s->before_us);
            break;
        }
        int64_t away = claim_us - s->before_us - s->at_us;
        e.offset_us = s->before_us + drifted(s->drift_ppm, away);
        e.uncertainty_us = uncertainty(m, away);
        e.trusted = s->trusted;
    }
    return e;
}

enum clock_state clock_state(const struct clock_model *m, int64_t now_us,
                             int64_t accepted_us)
{
    struct clock_error e = clock_now(m, now_us);

    if (m->untrusted)
        return CLOCK_UNTRUSTED;
    if (!e.known)
        return CLOCK_UNKNOWN;
    if (now_us - m->last_us > UNSYNCED_US)
        return CLOCK_UNSYNCED;
    return magnitude(e.offset_us) < accepted_us ? CLOCK_SYNCED : CLOCK_DRIFTING;
}

int64_t clock_sync_period_us(const struct clock_model *m, int64_t accepted_us)
{
    double ppm = m->drift_ppm < 0 ? -m->drift_ppm : m->drift_ppm;
    double most = (double)INT64_MAX / 2;

    if (!m->fitted)
        ppm = growth_ppm;
    return ppm * most < (double)accepted_us * 1e6
               ? INT64_MAX
               : (int64_t)((double)accepted_us * 1e6 / ppm);
}
