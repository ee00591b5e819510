/*
 * queue.h - the command queue: takes commands from PostgreSQL where they are
 * kept, encodes them with their meter's codec, hands them to the session or the
 * network server, and tells what became of them. Any number of nodes do so at
 * once. Loop thread only.
 */
#pragma once

#include "ingest/ingest.h"
#include "server/clocks/contact.h"
#include "server/store/pg.h"

struct command_queue; /* opaque */

struct command_queue *queue_new(uv_loop_t *loop, struct pg_pool *pool);
/* The schema fits, and there are ways out. */
void queue_start(struct command_queue *q, struct ingest *in);
/* Nothing leaves any more; call it before ingest_stop, which waits for what
 * queue_receipt was given. */
void queue_stop(struct command_queue *q);
void queue_free(struct command_queue *q); /* nothing under way; NULL is fine */

/* For ingest_options. */
bool queue_window(void *arg, int32_t tenant, int32_t meter);
void queue_receipt(void *arg, int32_t tenant, const struct receipt *r,
                   journal_done_fn *done, void *done_arg);
/* A correction that the time service sent has not left. */
void queue_unsent(struct command_queue *q, int32_t tenant,
                  const struct downlink_ref *correction, int err);
/* A stored uplink, or a join. */
void queue_heard(struct command_queue *q, const struct clock_contact *c,
                 bool joined);

struct queue_stats {
    int64_t queued, sent, acknowledged; /* now, of all tenants and nodes */
    int64_t oldest_s;                   /* age of the oldest that is queued */
    int64_t handed, unsent, refused;    /* by this node, since it began */
    int64_t receipts;
};
void queue_stats(const struct command_queue *q, struct queue_stats *ret);
