/*
 * plan.h - when a report runs next, and whether a tick that has come still
 * counts. Pure.
 */
#pragma once

#include "server/base/clock.h"

/* A row of report_due() (migrations/0023_reports.sql). */
struct plan_due {
    int32_t tenant_id;
    int64_t report_id;
    struct str schedule, zone;
    int64_t planned_us; /* where due_us is TIME_NONE: look from here on */
    int64_t due_us;     /* this tick has come */
    int64_t now_us;
    int64_t oldest_us; /* ticks before are not made up for */
    int64_t hop_us;    /* after a missed tick: the next that counts */
};

struct plan_tick {
    bool run;        /* due_us gives a run */
    int64_t next_us; /* TIME_NONE: never */
};

/* A tick that comes in time always runs. Of those that were missed, one runs
 * for each period: the first, then the first from hop_us on.
 * ERR_FORMAT, ERR_FULL: the schedule; ERR_UNKNOWN: the zone. */
int plan_tick(const struct plan_due *d, struct plan_tick *ret);
