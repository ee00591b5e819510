/*
 * slotting.h - gives meters their contact slots (timesvc/slots.h): new ones
 * when the directory has changed, and every day those of a tenant are looked at
 * with what is known of the clocks; some move. Who cannot be told keeps the
 * minute in which it was heard. Loop thread only.
 */
#pragma once

#include "server/base/clock.h"
#include "server/store/pg.h"

struct slotting; /* opaque */

struct slotting *slotting_new(struct pg_pool *pool, const struct clock *clock);
/* Meters may have come or gone, or a plan may be a day old. Many calls make one
 * round. */
void slotting_wake(struct slotting *s);
/* Begins no round any more: before the pool is closed. */
void slotting_stop(struct slotting *s);
void slotting_free(struct slotting *s); /* no round may be under way */
