/*
 * event.h - one taxonomy for what meters, gateways and the server report.
 */
#pragma once

#include "server/base/clock.h"

enum severity {
    SEVERITY_DEBUG,
    SEVERITY_INFO,
    SEVERITY_WARNING,
    SEVERITY_CRITICAL
};
enum event_state { EVENT_PULSE, EVENT_START, EVENT_END };

const char *severity_name(enum severity s);
const char *event_state_name(enum event_state s);

/* A code is lower-case words joined by dots ("tamper.magnet"). A code that is
 * not in the table is kept as it came, with severity warning. */
struct event_type {
    const char *code;
    enum severity severity;
    const char *text; /* for a person */
};
/* NULL when unknown. */
const struct event_type *event_type(struct str code);
