/*
 * interval.h - edges of measuring intervals: quarter hours, hours, days, in
 * the civil time of a zone. Pure.
 */
#pragma once

#include "server/base/clock.h"

struct zone; /* zone.h; NULL: UTC */

/* Lengths that have edges: whole minutes that divide a day. ERR_RANGE. */
int interval_check(int64_t interval_us);
/* The edge at or before `us`, and the next one behind it. A day is from civil
 * midnight to civil midnight: 23, 24 or 25 hours. */
int64_t interval_floor(const struct zone *z, int64_t us, int64_t interval_us);
int64_t interval_next(const struct zone *z, int64_t us, int64_t interval_us);
int64_t interval_nearest(const struct zone *z, int64_t us, int64_t interval_us);
/* Edges of the civil day of `us`: 96 quarter hours, or 92, 100. */
int interval_count(const struct zone *z, int64_t us, int64_t interval_us);
