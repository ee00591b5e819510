/*
 * ways.h - where meters behind network servers were heard last, so that a
 * command finds its way down: written when it is another one than before. Loop
 * thread only.
 */
#pragma once

#include "server/base/clock.h"
#include "server/store/pg.h"

struct ways; /* opaque */

struct ways *ways_new(uv_loop_t *loop, struct pg_pool *pool);
/* An uplink; or a join at joined_us (else TIME_NONE), after which its network
 * server has nothing kept for the meter. */
void ways_heard(struct ways *w, int32_t tenant, int32_t meter,
                int32_t integration, struct str topic, int64_t joined_us);
void ways_stop(struct ways *w);
void ways_free(struct ways *w); /* NULL is fine */
