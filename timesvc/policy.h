/*
 * policy.h - may this clock be corrected now, and by how much? Pure: a policy
 * of a tenant and model, the case at hand, a decision with its reason.
 */
#pragma once

#include "timesvc/evidence.h"

/* Who sets this meter's clock: one only. */
enum clock_owner {
    OWNER_SERVER, /* we do */
    OWNER_DEVICE, /* its concentrator or network server does */
    OWNER_NOBODY
};
const char *clock_owner_name(enum clock_owner o); /* "server", ... */

struct clock_policy {
    enum clock_owner owner;
    int64_t accepted_us;  /* a difference from here on is corrected */
    int64_t step_us;      /* most that one correction moves a clock */
    int64_t approve_us;   /* beyond this a person decides */
    uint32_t per_day;     /* corrections in 24 h */
    int64_t guard_us;     /* never nearer to an edge of the interval ... */
    int64_t day_guard_us; /* ... or of the civil day */
    int64_t patience_us;  /* how long to wait for a moment at which both times
                             lie in one interval */
    int64_t interval_us;  /* of the meter's readings; 0: none */
    double slew_ppm;      /* the device can be slowed or hurried by; 0: not */
};
/* 60 s; 15 min a step; approval beyond 30 min; 4 a day; 30 s and 2 min of
 * guard; 2 days of patience. */
extern const struct clock_policy clock_policy_default;
/* The first member out of its bounds, or NULL. */
const char *clock_policy_wrong(const struct clock_policy *p);

struct correction_case {
    struct clock_error error; /* of the clock at now_us */
    double drift_ppm;         /* 0: not known */
    int64_t now_us;
    int64_t next_us;    /* the contact after this one; TIME_NONE */
    int64_t waiting_us; /* how long it has been waiting already */
    uint32_t today;     /* corrections of the last 24 h */
    bool asked;         /* the meter wants an answer whatever the difference */
    bool approved;      /* a person said yes to this one */
    bool ours_unsure;   /* our own clock is not synchronised */
};

enum correction_verdict {
    CORRECTION_NONE, /* nothing to correct */
    CORRECTION_NOW,
    CORRECTION_WAIT,     /* not at this moment: see not_before_us */
    CORRECTION_APPROVAL, /* a person must say yes first */
    CORRECTION_REFUSED,
};
const char *correction_verdict_name(enum correction_verdict v);

struct correction {
    enum correction_verdict verdict;
    const char *reason;    /* lower_snake, static */
    int64_t by_us;         /* to be added to the meter's clock */
    int64_t not_before_us; /* WAIT; else TIME_NONE */
    bool crosses_edge; /* the clock jumps over an edge: readings are marked */
    bool slew;         /* by running faster or slower, not by a step */
};

/* next_us, as the last contact was at `before_us` (TIME_NONE: none): one gap
 * ahead; where a correction only arrives with the contact after this one (by
 * radio), two. Three hours at least. */
int64_t correction_next_us(int64_t now_us, int64_t before_us, bool in_session);

struct correction correction_decide(const struct clock_policy *p,
                                    const struct correction_case *c,
                                    const struct zone *zone);
