/*
 * slots.h - contact slots: which minute of its window each meter reports in, so
 * that the network is loaded evenly. Pure; the same meters in the same order
 * get the same slots.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLOTS_MAX = 1440, SLOT_GATEWAYS_MAX = 4096, SLOT_NONE = -1 };

struct slot_plan; /* opaque */

/* A window of `slots` minutes; gateways are numbered 0..gateways-1. NULL over
 * the limits above. */
struct slot_plan *slot_plan_new(uint32_t slots, uint32_t gateways);
void slot_plan_free(struct slot_plan *p); /* NULL is fine */
struct slot_meter {
    uint64_t key;     /* of the meter: cron_seed() */
    uint32_t weight;  /* what one report costs: its air time or session, ms */
    uint32_t gateway; /* that hears it; any number, taken modulo */
    uint32_t interval_min; /* of its readings: no slot next to an edge of it,
                              where its clock could not be corrected; 0: none */
    int32_t slot;          /* SLOT_NONE: not yet */
};
/* The least loaded, overall and on its gateway, of some slots drawn from the
 * meter's key. Sets m->slot; one it had is given back first. */
void slot_assign(struct slot_plan *p, struct slot_meter *m);
/* Books a slot that the meter has already; false where it may not have it. */
bool slot_book(struct slot_plan *p, const struct slot_meter *m);
void slot_release(struct slot_plan *p, struct slot_meter *m);
/* Load of the busiest slot over the mean; 1 when nothing is booked. */
double slot_unevenness(const struct slot_plan *p);
/* Moves as few meters as it can from overloaded slots (above `most` times the
 * mean); how many it moved. */
size_t slot_rebalance(struct slot_plan *p, struct slot_meter *meters, size_t n,
                      double most);
/* Second of its minute: 5..54, so that a second's haste changes no minute. */
uint32_t slot_second(uint64_t key);

/* Calls in each minute of a day of meters that report every `period_s` (a
 * divisor of a day, at least the window) at their slot; adds to out. */
void slot_forecast(const struct slot_meter *meters, size_t n, uint32_t period_s,
                   uint32_t out[1440]);

/* Time on air of a LoRa uplink in ms: SF 7..12, 125 kHz, 4/5, EU868. */
uint32_t lora_air_ms(int spreading_factor, uint32_t payload_bytes);
