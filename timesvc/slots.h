/*
 * slots.h - contact slots: which minute of its window each meter reports in, so
 * that the network is loaded evenly. Pure; the same meters in the same order
 * get the same slots.
 *
 * A meter reports by its own clock, so it is heard beside its slot by what that
 * clock is off by: up to a minute, and always to the same side, as it drifts.
 * Told minutes that are even are heard uneven; so the load is that of the
 * minutes in which meters will be heard, at some looks ahead.
 */
#pragma once

#include "timesvc/evidence.h"
#include <stddef.h>

enum {
    SLOTS_MAX = 1440,
    SLOT_GATEWAYS_MAX = 4096,
    SLOT_NONE = -1,
    SLOT_LOOKS = 4 /* at 3, 9, 15 and 21 h from now */
};

struct slot_plan; /* opaque */

/* A window of `slots` minutes; gateways are numbered 0..gateways-1. NULL over
 * the limits above. */
struct slot_plan *slot_plan_new(uint32_t slots, uint32_t gateways);
void slot_plan_free(struct slot_plan *p); /* NULL is fine */

/* What is known of a meter's clock. */
struct slot_clock {
    int64_t at_us, offset_us; /* meter less true time, then; at_us TIME_NONE:
                                 nothing is known */
    double drift_ppm;         /* 0: not measured */
    int64_t accepted_us;      /* it is corrected from there on; 0: never is */
    int64_t beyond_us;        /* a person is to say yes before that: it stays */
};

struct slot_meter {
    uint64_t key;     /* of the meter: cron_seed() */
    uint32_t weight;  /* what one report costs: its air time or session, ms */
    uint32_t gateway; /* that hears it; any number, taken modulo */
    uint32_t interval_min; /* of its readings: no slot next to an edge of it,
                              where its clock could not be corrected; 0: none */
    uint32_t period_min;   /* it reports once in each; 0: the window */
    bool fixed;   /* it cannot be told: `slot` is the minute of its period in
                     which it was heard, and stays */
    int32_t slot; /* SLOT_NONE: not yet */
    int32_t early_s[SLOT_LOOKS]; /* heard so much before its slot
                                    (slot_look()) */
};
/* Fills in early_s: what the clock will be off by. */
void slot_look(struct slot_meter *m, const struct slot_clock *c,
               int64_t now_us);
/* The least loaded, overall and on its gateway, of some slots drawn from the
 * meter's key. Sets m->slot; one it had is given back first. */
void slot_assign(struct slot_plan *p, struct slot_meter *m);
/* Books a slot that the meter has already; false where it may not have it. */
bool slot_book(struct slot_plan *p, const struct slot_meter *m);
void slot_release(struct slot_plan *p, struct slot_meter *m);
/* Load of the busiest minute of any look over the mean; 1 when nothing is
 * booked. */
double slot_unevenness(const struct slot_plan *p);
/* Moves as few meters as it can, none that is fixed, out of minutes above
 * `most` times the mean and one report; how many it moved. Another `turn`,
 * others first. */
size_t slot_rebalance(struct slot_plan *p, struct slot_meter *meters, size_t n,
                      double most, uint64_t turn);
extern const double slot_most; /* what is asked of a plan */
/* Second of its minute: 5..54, so that a second's haste changes no minute. */
uint32_t slot_second(uint64_t key);

/* How often a meter reports that was heard in these minutes, oldest first
 * (1..8 of them): a divisor of a day; one time tells nothing: a day. */
uint32_t slot_period_min(const uint32_t *minutes, uint32_t n);

/* Calls in each minute of a UTC day, the first one's looks being at
 * `begin_min` of it, of meters that report every `window_min` (a divisor of a
 * day) or at their own period; adds to out. */
void slot_forecast(const struct slot_meter *meters, size_t n,
                   uint32_t window_min, uint32_t begin_min, uint32_t out[1440]);

/* A slot that a meter was told, if it was. */
struct slot_hand {
    int32_t at_s;        /* second of the window */
    uint32_t window_min; /* 0: it has no slot */
    uint32_t told;       /* how often */
    int64_t told_us;     /* the last time; TIME_NONE */
    int64_t kept_us;     /* heard in it; looked at once a day; TIME_NONE */
};
enum slot_word {
    SLOT_LEAVE, /* nothing to do */
    SLOT_KEPT,  /* it is heard in its slot, which is worth noting */
    SLOT_TELL,  /* for the first time, or as it does not keep it */
};
/* After a contact at our time `heard_us` with a clock that is off by `e`. A
 * meter that does not keep its slot is told again behind three windows, then
 * six, and so on, at most once a week. */
enum slot_word slot_follow(const struct slot_hand *h,
                           const struct clock_error *e, int64_t heard_us);

/* Time on air of a LoRa uplink in ms: SF 7..12, 125 kHz, 4/5, EU868. */
uint32_t lora_air_ms(int spreading_factor, uint32_t payload_bytes);
