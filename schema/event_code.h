/*
 * event_code.h - numbers that devices give their events, to the codes of
 * event.h. A number that is in no table keeps itself, as "um31.43.1" or
 * "spodes.3.151": nothing is lost, and nothing is guessed.
 */
#pragma once

#include "schema/event.h"
#include "server/base/str.h"

enum event_source {
    EVENT_UM31,        /* group: journal 1..42; code: 1 on, 0 off */
    EVENT_SPODES,      /* group: E of 0-0:96.11.E; code: its value */
    EVENT_SPODES_BIT,  /* code: bit of the alarm register 0-0:97.98.0 */
    EVENT_IDIS,        /* group: E of 0-0:96.11.E; code: its value */
    EVENT_MBUS_STATUS, /* group: bits 1..0 as code (1..3); else code: bit */
    EVENT_RTU327,      /* code: type of GETMTRLOG */
};

enum { EVENT_NAME = 40 };

struct event_mapped {
    struct str code; /* of event.h, or the number itself, in `unknown` */
    enum event_state state;
    bool known;
};

struct event_mapped event_map(enum event_source source, unsigned group,
                              unsigned code, char unknown[EVENT_NAME]);
