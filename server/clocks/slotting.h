/*
 * slotting.h - gives meters their contact slots (timesvc/slots.h): new ones
 * when the directory has changed, and every day those of a tenant are looked at
 * with what is known of the clocks; some move. Who cannot be told keeps the
 * minute in which it was heard.
 *
 * However many meters there are and however often they change: at most a tenth
 * of the time goes into planning, and nothing of it blocks the loop. Loop
 * thread only.
 */
#pragma once

#include "server/base/clock.h"
#include "server/store/pg.h"

struct slotting; /* opaque */

struct slotting *slotting_new(uv_loop_t *loop, struct pg_pool *pool,
                              const struct clock *clock);
/* Meters may have come or gone, or a plan may be a day old. Many calls make one
 * round. */
void slotting_wake(struct slotting *s);
/* Begins no round any more: before the pool is closed. */
void slotting_stop(struct slotting *s);
void slotting_free(struct slotting *s); /* no round may be under way */
