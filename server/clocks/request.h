/*
 * request.h - what a device asks about the time by radio, and the bytes of the
 * answers: TS003 (LoRaWAN application layer clock synchronization, FPort 202,
 * versions 1 and 2), FPort 4 of Vega devices and of our profile for KARAT
 * modules, and what sets an Elvaco module's clock, which does not ask. Pure.
 */
#pragma once

#include "server/clocks/contact.h"

enum clock_way { WAY_NONE, WAY_TS003, WAY_VEGA, WAY_HEO, WAY_ELVACO };
const char *clock_way_name(enum clock_way w); /* "none", "ts003", ... */

struct clock_request {
    enum clock_way way;
    bool asks;         /* for the time; device_us is then its own */
    bool must_answer;  /* even if it is right */
    uint8_t token;     /* TS003 */
    int64_t device_us; /* UTC, whole seconds; TIME_NONE */
    int package;       /* TS003 PackageVersionAns; 0: none came */
    int period; /* DeviceAppTimePeriodicityAns: 1 accepted, -1 not supported, 0
                   none came */
};

/* WAY_NONE when the contact is none that can be answered. */
struct clock_request request_read(const struct clock_contact *c);

enum { ANSWER_MAX = 16 };
struct clock_answer {
    int port;
    uint8_t bytes[ANSWER_MAX];
    int n; /* 0: nothing to say */
};
/* What the device adds to its clock; TS003 saturates to an i32, then the device
 * asks again (others are never told as much). Further TS003 commands may follow
 * in the same downlink. */
void answer_time(struct clock_answer *a, const struct clock_request *r,
                 int64_t correction_s);
void answer_version(struct clock_answer *a);            /* tell yours */
void answer_period(struct clock_answer *a, int period); /* 128 * 2^period s */
void answer_resync(struct clock_answer *a);             /* ask for the time */
