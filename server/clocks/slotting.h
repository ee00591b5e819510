/*
 * slotting.h - gives meters their contact slots (timesvc/slots.h): new ones
 * when the directory has changed, others when the load of their tenant became
 * uneven. Loop thread only.
 */
#pragma once

#include "server/store/pg.h"

struct slotting; /* opaque */

struct slotting *slotting_new(struct pg_pool *pool);
/* Meters may have come or gone. Many calls make one round. */
void slotting_wake(struct slotting *s);
/* Begins no round any more: before the pool is closed. */
void slotting_stop(struct slotting *s);
void slotting_free(struct slotting *s); /* no round may be under way */
