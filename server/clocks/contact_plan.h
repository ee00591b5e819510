/*
 * contact_plan.h - the contact slots of one tenant's meters: as they are kept,
 * planned anew, and what of that is to be written. Pure; one thread at a time,
 * any.
 */
#pragma once

#include "server/base/buf.h"
#include "timesvc/slots.h"

struct contact_plan; /* opaque */

/* A meter as the database has it. */
struct contact_row {
    int32_t meter_id;
    int32_t slot;        /* SLOT_NONE */
    uint32_t period_min; /* 0: the slot is of the window */
    int64_t gateway;
    uint32_t weight;
    uint32_t interval_min;
    bool tellable;
    struct str heard; /* minutes since 1970 as {..}, where it was looked for */
    struct slot_clock clock;
};

/* window_min: 1..1440. */
struct contact_plan *contact_plan_new(int32_t tenant, uint32_t window_min);
void contact_plan_free(struct contact_plan *p); /* NULL is fine */
void contact_plan_add(struct contact_plan *p, const struct contact_row *r,
                      int64_t now_us);
/* Gives slots to all that have been added. */
void contact_plan_make(struct contact_plan *p, int64_t now_us);
/* The next meters, at most so many, that are new or have moved, as
 * slots_write() takes them; how many. */
uint32_t contact_plan_slice(struct contact_plan *p, uint32_t most,
                            struct buf *json);
/* What is expected in each minute of a UTC day, as int[]. */
void contact_plan_calls(const struct contact_plan *p, struct buf *array);
