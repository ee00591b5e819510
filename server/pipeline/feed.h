/*
 * feed.h - keeps the directory (who and whose) up to date from PostgreSQL:
 * whole at the start, then what changed. Loop thread only.
 */
#pragma once

#include "codecs/script/script.h"
#include "ingest/directory.h"
#include "server/store/pg.h"
#include "server/vault/vault.h"

struct feed; /* opaque */

/* The vault gets the tenants' keys; its master keys are read from master_file
 * again when one is missing. `scripts` runs tenants' codecs. `loaded` runs
 * after each completed round that brought something new, and after the first
 * one. */
struct feed *feed_new(uv_loop_t *loop, struct pg_pool *pool,
                      struct directory *d, struct vault *v,
                      const char *master_file, struct scripts *scripts,
                      void (*loaded)(void *), void *arg);
/* What the last round brought, inside `loaded`: how many rows of meters, keys
 * and record lists, and since which xid8 they may have changed. */
uint32_t feed_news(const struct feed *f, uint64_t *since);
/* Something changed: read soon. Many calls make one round. */
void feed_wake(struct feed *f);
/* Begins no round any more: before the pool is closed. */
void feed_stop(struct feed *f);
void feed_free(struct feed *f); /* no round may be under way: close the pool
                                   first */
