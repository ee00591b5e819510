/*
 * feed.h - keeps the directory (who and whose) up to date from PostgreSQL:
 * whole at the start, then what changed. Loop thread only.
 */
#pragma once

#include "ingest/directory.h"
#include "server/store/pg.h"

struct feed; /* opaque */

/* `loaded` runs after each completed round that brought something new, and
 * after the first one. */
struct feed *feed_new(uv_loop_t *loop, struct pg_pool *pool,
                      struct directory *d, void (*loaded)(void *), void *arg);
/* Something changed: read soon. Many calls make one round. */
void feed_wake(struct feed *f);
void feed_free(struct feed *f); /* no round may be under way: close the pool
                                   first */
