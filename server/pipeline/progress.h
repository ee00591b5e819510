/*
 * progress.h - how far a backlog is drained: while the journal holds more than
 * what is merely under way, a log line every few seconds says how much is left,
 * how fast it goes beside what arrives, and when it will be over. Loop thread
 * only.
 */
#pragma once

#include "ingest/journal.h"
#include "ingest/ledger.h"
#include "server/pipeline/pipeline.h"

struct progress; /* opaque */

/* All must outlive it. */
struct progress *progress_new(uv_loop_t *loop, const struct journal *j,
                              const struct pipeline *p,
                              const struct ledger *books);
void progress_free(struct progress *g); /* NULL is fine */
void progress_look(struct progress *g); /* what it does every few seconds */

struct progress_stats {
    int64_t bytes_s, arriving_s; /* stored, journaled; journal bytes per second
                                    over the last few seconds */
    int64_t left_s; /* estimate, from the mean since the backlog began to drain;
                       0: there is none, -1: none can be made */
};
void progress_stats(const struct progress *g, struct progress_stats *ret);
