/*
 * zone.h - IANA time zones, over GLib's GTimeZone (which reads the system's
 * tzdata). Immutable after loading; safe from any thread.
 */
#pragma once

#include "server/base/clock.h"
#include <stdbool.h>

struct zone; /* opaque, shared, lives until the process ends */

/* "Europe/Moscow", "UTC". Looked up once per name. NULL when unknown. */
const struct zone *zone_find(struct str name);

/* Local civil time (as if UTC) to UTC. dst: 1 summer, 0 winter, -1 not told.
 * *ambiguous when the hour happens twice and dst does not decide, or never. */
int64_t zone_to_utc(const struct zone *z, int64_t local_us, int dst,
                    bool *ambiguous);
int zone_offset_s(const struct zone *z, int64_t utc_us);

/* The instants at which clocks of that zone show this time, in order: 1 or 2
 * of them; 0 where it is skipped, then out[0] is the end of the gap. */
int zone_instants(const struct zone *z, int64_t local_us, int64_t out[2]);
/* By how many seconds the offset changed during the `within_us` up to then. */
int zone_change(const struct zone *z, int64_t utc_us, int64_t within_us);
