/*
 * admit.h - the one door into the journal: stamps arrival, enforces size,
 * samples what is no frame at all, appends.
 */
#pragma once

#include "ingest/journal.h"
#include "ingest/ledger.h"
#include "schema/frame.h"

/* From now on every frame is booked when it is durable; NULL: no more. */
void admit_keep_books(struct ledger *l);

/* Journals *f (received_us is set when 0). `done` exactly once unless an error
 * is returned; 0 there means: acknowledge now. ERR_FULL, ERR_RANGE (payload
 * over FRAME_PAYLOAD_MAX: pass it to admit_reject instead). */
int admit_frame(struct journal *j, const struct frame *f, journal_done_fn *done,
                void *arg);

/* Something that is no frame. The first FRAME_SAMPLE_MAX bytes are kept as a
 * sample, f->rejected says why (static text, lower_snake). At most 10 samples
 * a second per source, tenant and integration reach the journal; what is in
 * between is added to the next sample's count, and flushed within a second. */
struct door; /* the counters of one integration's transport */
struct door *door_new(uv_loop_t *loop, struct journal *j,
                      const struct clock *clock);
/* What is held goes to the journal first: end the door before the journal. Its
 * callbacks may still run until journal_close is done. NULL is fine. */
void door_free(struct door *d);
/* `done` may be NULL; it runs when this rejection is accounted for durably (a
 * sampled-out one: when the count that holds it is). Logs once per sample with
 * peer and reason. */
void admit_reject(struct door *d, const struct frame *f, journal_done_fn *done,
                  void *arg);
