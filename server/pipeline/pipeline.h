/*
 * pipeline.h - journal -> batches -> stages -> store. One batch is prepared
 * while the one before it is being committed; whatever has arrived goes with
 * the next, no timer. The journal is released only behind a commit. Loop
 * thread only (the stages run on the pool).
 */
#pragma once

#include "ingest/directory.h"
#include "ingest/journal.h"
#include "ingest/ledger.h"
#include "server/base/clock.h"
#include "server/clocks/book.h"
#include "server/clocks/contact.h"
#include "server/store/batch.h"

struct pipeline; /* opaque */

struct pipeline_options {
    struct store_writer_options store;
    uint32_t batch_frames;    /* most frames of one transaction */
    size_t batch_bytes;       /* most journal bytes of one transaction */
    const int16_t *codec_ids; /* STAGE_CODECS numbers; lives with the caller */
    const struct clock *clock;
    struct ledger *books;       /* what the door booked; outlives us */
    void (*counted)(void *arg); /* the backlog is known: ledger_known() */
    void (*stored)(void *arg);  /* the cursor has moved, or is known again */
    const struct clock_book *clocks; /* what is known of meters' clocks */
    /* After their commit, for each frame of a known meter. */
    void (*contact)(void *arg, const struct clock_contact *c);
    bool (*ours_unsure)(void *arg); /* our own clock cannot be trusted now */
    void *arg;
    /* Likewise for each uplink and join of one. */
    void (*heard)(void *arg, const struct clock_contact *c, bool joined);
};

struct pipeline *pipeline_new(uv_loop_t *loop, struct journal *j,
                              struct directory *d,
                              const struct pipeline_options *o);
/* Begins to work; the directory must be loaded by then. Reads the cursor. */
void pipeline_start(struct pipeline *p);
/* Finishes the batch under way, then `done`. What is left stays journaled. */
void pipeline_stop(struct pipeline *p, void (*done)(void *), void *arg);
void pipeline_free(struct pipeline *p); /* after done */

struct pipeline_stats {
    int64_t cursor;   /* journal position up to which all is stored; -1 while it
                         is not known */
    int64_t resolved; /* up to here frames asked the directory whose they are;
                         -1 as above */
    int64_t batches, errors;
    int64_t commit_us; /* of the last batch */
};
void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret);
