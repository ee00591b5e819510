/*
 * year.h - what the files of clock_year share: a simulated meter, as it is and
 * as the head-end sees it; what is counted; the plan of all slots.
 */
#pragma once

#include "chance.h"
#include "timesvc/policy.h"
#include "timesvc/slots.h"
#include "timesvc/zone.h"

#define HOUR_US (3600 * US_PER_S)
#define DAY_US  (24 * HOUR_US)

enum { BUFFER = 256, SENT = 64, YEAR_MIN = 366 * 1440 };
extern const int64_t begin_us; /* 2026-01-01 */

struct year_options {
    uint64_t seed;
    int meters, days, jobs, window_min, verbose;
};
extern struct year_options o;

/* ---- what is counted ---- */

struct tally {
    int64_t readings, marked, wrong_marked, wrong_unmarked, duplicates;
    int64_t moved, uncertain, invalid;
    int64_t contacts, synced, synced_within, within;
    int64_t corrections, lost, crossed_marked, crossed_unmarked, too_often;
    int64_t asked_person, jumps, verified, stale;
    int64_t slots_told, slots_again;
    int32_t worst_hour_synced[366 * 24], worst_hour_within[366 * 24];
    uint32_t calls[YEAR_MIN], calls_random[YEAR_MIN];
};
void tally_add(struct tally *to, const struct tally *t);

/* ---- one meter ---- */

enum transport { GATEWAY_TIME, DIALS_IN, NO_TIME };

struct correction_sent {
    int64_t by_us, ready_us; /* a class A meter gets it at a later uplink */
    uint8_t token;
    bool crosses, under_way;
};

struct reading {
    int64_t label_us, true_us;
};

struct meter {
    struct rng rng;
    uint64_t key;
    enum transport transport;
    const struct zone *zone;
    int64_t interval_us;
    /* The device, as it is: */
    int64_t now_us;   /* true time */
    double offset_us; /* its clock less true time, at now_us */
    double base_ppm, per_degree_ppm, phase;
    double rate_ppm;
    int64_t slot_us, random_us; /* of the window; had it begun at random */
    uint8_t token;
    struct reading buffer[BUFFER];
    uint32_t n;
    /* The head-end's view: */
    struct clock_model model;
    struct clock_policy policy;
    int64_t sent_at[SENT];
    uint32_t n_sent;
    int64_t waiting_since;
    int64_t approve_at; /* when a person will have said yes */
    int asked_token, unanswered;
    struct correction_sent down;
    struct slot_hand hand;
    int64_t slot_down_us; /* a slot on its way; TIME_NONE: none */
    /* The judge's: */
    int64_t applied_at[8];
    uint32_t n_applied;
    bool crossing; /* a step over an edge that nobody has marked yet */
    struct tally *t;
};

/* device.c */
void device_begin(struct meter *m, int i, const struct slot_meter *slot,
                  struct tally *t);
int64_t device_time(const struct meter *m);
void device_run_to(struct meter *m, int64_t us);
void device_step(struct meter *m, int64_t by_us);
void device_live(struct meter *m, int64_t until_us);

/* contact.c */
void contact(struct meter *m);
void contact_slot(struct meter *m, int32_t slot); /* it is to have that one */

/* ---- the plan (load.c) ---- */

/* Of each meter, shared by the processes: where the plan has it, and what the
 * head-end knows of its clock. */
struct told {
    int32_t slot;
    struct slot_clock clock;
};

struct estate; /* opaque */
struct estate *estate_new(struct told *told);
void estate_free(struct estate *e);
const struct slot_meter *estate_meter(const struct estate *e, int i);
/* The day begins: some are moved; the result is in `told`. */
void estate_day(struct estate *e, int day);
struct estate_figures {
    double planned;  /* busiest minute over the mean, as first planned */
    double expected; /* on the day that was worst, as expected before it */
    int64_t moves;
    double daily, daily_random; /* the same meters, reporting once a day */
};
struct estate_figures estate_figures(const struct estate *e);

/* ---- the verdict (judge.c): the number of violated conditions ---- */

int year_judge(const struct tally *t, const struct estate_figures *e);
