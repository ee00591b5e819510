/*
 * policy.c - see policy.h. The questions are asked in order of who may say no:
 * us, the policy, a person, the moment.
 */
#include "timesvc/policy.h"
#include "timesvc/interval.h"

#define DAY_US (86400 * US_PER_S)

/* A clock may have moved by as much since its last sample, and nobody knows. */
static const int64_t unseen_us = 10 * US_PER_S;

const struct clock_policy clock_policy_default = {
    .owner = OWNER_SERVER,
    .accepted_us = 60 * US_PER_S,
    .step_us = 900 * US_PER_S,
    .approve_us = 1800 * US_PER_S,
    .per_day = 4,
    .guard_us = 30 * US_PER_S,
    .day_guard_us = 120 * US_PER_S,
    .patience_us = 2 * DAY_US,
};

const char *clock_owner_name(enum clock_owner o)
{
    static const char *const names[] = {"server", "device", "nobody"};
    return (unsigned)o <= OWNER_NOBODY ? names[o] : "?";
}

const char *correction_verdict_name(enum correction_verdict v)
{
    static const char *const names[] = {"none", "now", "wait", "approval",
                                        "refused"};
    return (unsigned)v <= CORRECTION_REFUSED ? names[v] : "?";
}

static bool within(int64_t v, int64_t least, int64_t most)
{
    return v >= least && v <= most;
}

const char *clock_policy_wrong(const struct clock_policy *p)
{
    if (!within(p->accepted_us, US_PER_S, DAY_US))
        return "accepted";
    if (!within(p->step_us, US_PER_S, DAY_US))
        return "step";
    if (p->approve_us < p->accepted_us)
        return "approve";
    if (!within(p->per_day, 0, 96))
        return "per_day";
    if (p->interval_us && interval_check(p->interval_us) < 0)
        return "interval";
    if (p->guard_us < 0 || (p->interval_us && p->guard_us > p->interval_us / 4))
        return "guard";
    if (!within(p->day_guard_us, 0, DAY_US / 4))
        return "day_guard";
    return p->patience_us < 0 ? "patience" : NULL;
}

static int64_t magnitude(int64_t v)
{
    return v < 0 ? -v : v;
}

static struct correction no(enum correction_verdict verdict, const char *reason)
{
    return (struct correction){
        .verdict = verdict, .reason = reason, .not_before_us = TIME_NONE};
}

static struct correction wait(const char *reason, int64_t until_us)
{
    return (struct correction){.verdict = CORRECTION_WAIT,
                               .reason = reason,
                               .not_before_us = until_us};
}

/* Beyond the accepted difference; or, where the drift is measured, perhaps so
 * before there is another chance. */
static bool due(const struct clock_policy *p, const struct correction_case *c)
{
    int64_t then = c->error.offset_us, drift = 0;

    if (!c->error.trusted || magnitude(then) >= p->accepted_us)
        return true;
    if (c->next_us != TIME_NONE)
        drift =
            (int64_t)(c->drift_ppm * 1e-6 * (double)(c->next_us - c->now_us));
    then += drift + (drift < 0 ? -1 : 1) * c->error.uncertainty_us;
    return drift && magnitude(then) >= p->accepted_us &&
           (then < 0) == (c->error.offset_us < 0);
}

/* A clock that nobody trusts is set at once, and so is one where a person said
 * yes; any other moves by the step limit at most. */
static int64_t amount(const struct clock_policy *p,
                      const struct correction_case *c)
{
    int64_t by = -c->error.offset_us;

    if (!c->error.trusted || c->approved || magnitude(by) <= p->step_us)
        return by;
    return by < 0 ? -p->step_us : p->step_us;
}

static bool near_edge(const struct zone *z, int64_t us, int64_t interval,
                      int64_t guard, int64_t *clear_us)
{
    int64_t edge = interval_nearest(z, us, interval);

    *clear_us = edge + guard;
    return magnitude(us - edge) < guard;
}

/* Within `margin` of either time, or between them, lies an edge. */
static bool crosses(const struct zone *z, int64_t from, int64_t to,
                    int64_t interval, int64_t margin)
{
    int64_t first = from < to ? from : to, last = from < to ? to : from;

    return interval_floor(z, first - margin, interval) !=
           interval_floor(z, last + margin, interval);
}

/* When both times will lie behind the edge that parts them now. */
static int64_t both_behind(const struct zone *z, int64_t now, int64_t from,
                           int64_t to, int64_t interval, int64_t margin)
{
    int64_t first = (from < to ? from : to) - margin;
    return now + interval_next(z, first, interval) - first;
}

/* Is this the moment? The guard is never broken; the edge between the clock's
 * time before and after is, when waiting was no use. */
static struct correction at_moment(const struct clock_policy *p,
                                   const struct correction_case *c,
                                   const struct zone *z, struct correction r)
{
    int64_t from = c->now_us + c->error.offset_us, to = from + r.by_us, clear;
    int64_t interval = p->interval_us ? p->interval_us : DAY_US;
    int64_t margin = unseen_us + 2 * c->error.uncertainty_us;

    if (near_edge(z, c->now_us, DAY_US, p->day_guard_us, &clear))
        return wait("near_day_end", clear);
    if (p->interval_us &&
        near_edge(z, c->now_us, p->interval_us, p->guard_us, &clear))
        return wait("near_edge", clear);
    r.crosses_edge = crosses(z, from, to, interval, margin);
    if (r.crosses_edge && c->error.trusted && magnitude(r.by_us) < interval &&
        c->waiting_us < p->patience_us)
        return wait("crosses_edge",
                    both_behind(z, c->now_us, from, to, interval, margin));
    return r;
}

int64_t correction_next_us(int64_t now_us, int64_t before_us, bool in_session)
{
    static const int64_t least_us = 3 * 3600 * US_PER_S;
    static const int64_t most_us = 48 * 3600 * US_PER_S;
    int64_t gap = before_us == TIME_NONE ? 0 : now_us - before_us;

    gap = gap > most_us ? most_us : gap;
    gap *= in_session ? 1 : 2;
    return now_us + (gap > least_us ? gap : least_us);
}

struct correction correction_decide(const struct clock_policy *p,
                                    const struct correction_case *c,
                                    const struct zone *zone)
{
    struct correction r = no(CORRECTION_NOW, "due");

    if (p->owner != OWNER_SERVER)
        return no(CORRECTION_REFUSED, "other_owner");
    if (!c->error.known)
        return no(CORRECTION_NONE, "unknown");
    if (!due(p, c) && !c->asked)
        return no(CORRECTION_NONE, "within_accepted");
    if (c->ours_unsure)
        return no(CORRECTION_REFUSED, "our_clock_unsure");
    if (c->error.uncertainty_us > magnitude(c->error.offset_us) && !c->asked)
        return no(CORRECTION_NONE, "uncertain");
    if (c->today >= p->per_day)
        return no(CORRECTION_REFUSED, "too_often");
    r.by_us = amount(p, c);
    if (magnitude(c->error.offset_us) > p->approve_us && c->error.trusted &&
        !c->approved) {
        r.verdict = CORRECTION_APPROVAL;
        r.reason = "beyond_limit";
        r.by_us = -c->error.offset_us;
        return r;
    }
    if (c->asked && !due(p, c))
        r.reason = "asked";
    if (p->slew_ppm > 0 && c->error.trusted && !c->approved) {
        r.slew = true;
        return r;
    }
    return at_moment(p, c, zone, r);
}
