/*
 * boot.h - what the data path needs from PostgreSQL before it may begin: the
 * right schema, a role that row-level security binds, the journal's number,
 * the codecs' numbers, partitions. Tried again until it succeeds.
 */
#pragma once

#include "ingest/journal.h"
#include "server/pipeline/stage.h"
#include "server/store/pg.h"

struct boot; /* opaque */

/* `done` runs once, when all is there. *codec_ids is filled by position in
 * codec_list(). journal may be NULL (a replay has none). */
struct boot *boot_start(uv_loop_t *loop, struct pg_pool *pool,
                        struct journal *journal, int64_t dedup_window_s,
                        int16_t codec_ids[STAGE_CODECS], void (*done)(void *),
                        void *arg);
/* Why it has not finished, for people; "" when it has. */
const char *boot_waits_for(const struct boot *b);
/* Tries no more: before the pool is closed. */
void boot_stop(struct boot *b);
void boot_free(struct boot *b); /* after the pool is closed */
