/*
 * cron.h - the grammar of every schedule in the product: five fields, minute,
 * hour, day of month, month, day of week. Pure.
 *
 *   5  *  1,2,5-9  0-59/15  jan-mar  mon      numbers, lists, ranges, names
 *   ?1-30   one number of the range, drawn from the seed: the same for one
 *           installation for ever, another for the next (spreads the load)
 *   A|B     both schedules; a step behind * or a range means every n-th of it
 *
 * Day of month AND day of week must hold where both are given (classic cron
 * takes either). Days of week are 0 to 7, both 0 and 7 are Sunday.
 *
 * Times are civil times of a zone. A time that is skipped (clocks go forward)
 * runs at the end of the gap; one that happens twice runs the first time only.
 * A schedule of every hour goes by elapsed time instead: nothing is made up for
 * the gap, and the repeated hour runs again.
 */
#pragma once

#include "server/base/clock.h"
#include <stdbool.h>

struct zone; /* zone.h */

enum { CRON_PARTS = 16, CRON_TEXT = 1024 };

struct cron_part { /* bit n: that number matches */
    uint64_t minutes;
    uint32_t hours, days;
    uint16_t months;
    uint8_t weekdays; /* bit 0 is Sunday */
};

struct cron {
    struct cron_part parts[CRON_PARTS];
    uint32_t n;
};

struct cron_error {
    const char *text; /* what to do, static */
    size_t at;        /* byte in the expression */
};

/* `seed` draws the numbers of "?a-b" (cron_seed). ERR_FORMAT, ERR_FULL (too
 * long, or too many parts) with *error set; `error` may be NULL. */
int cron_parse(struct str text, uint64_t seed, struct cron *ret,
               struct cron_error *error);

/* Of one installation: a tenant's meter, or the number of a schedule. */
uint64_t cron_seed(int32_t tenant, int64_t id);

/* The first time after `after_us`; TIME_NONE when there is none in the next 40
 * years ("0 0 30 2 *"). No zone: UTC. */
int64_t cron_next(const struct cron *c, const struct zone *z, int64_t after_us);
