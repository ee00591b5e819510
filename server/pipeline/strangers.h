/*
 * strangers.h - frames of meters that nobody knew are decoded when the meter
 * is registered, by the running server: no frame twice, in the order in which
 * they came, some hundred at a time with pauses, on a connection of its own, so
 * that live frames do not wait. Loop thread only.
 */
#pragma once

#include "ingest/directory.h"
#include "ingest/ledger.h"
#include "server/pipeline/pipeline.h"
#include "server/pipeline/replay.h"
#include "server/store/pg.h"

struct strangers; /* opaque */

struct strangers_options {
    struct store_writer_options store;
    const int16_t *codec_ids; /* as in pipeline_options, like the next */
    struct ledger *books;
    struct pg_pool *pool;
    const struct directory *directory;
    const struct pipeline *pipeline;
};

struct strangers *strangers_new(uv_loop_t *loop,
                                const struct strangers_options *o);
/* The directory has meters that changed since that xid8 ("0": at the start,
 * for what was registered while no server ran). */
void strangers_meet(struct strangers *s, uint64_t since);
/* The pipeline has stored something. */
void strangers_stored(struct strangers *s);
/* What a person asks for, one at a time, between the rounds. The options'
 * codec_ids, pause_ms and counted are set here. ERR_FULL: something runs
 * already, or the database is away. */
int strangers_replay(struct strangers *s, const struct replay_options *o,
                     void (*done)(void *, const struct replay_result *),
                     void *arg);
/* Finishes the chunk under way, then `done`. The pool must still be open. */
void strangers_stop(struct strangers *s, void (*done)(void *), void *arg);
void strangers_free(struct strangers *s); /* after done */
