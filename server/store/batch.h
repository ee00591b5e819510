/*
 * batch.h - the way into the database: the frames and captures of one batch in
 * one transaction together with the journal's cursor (migrations/0004_store).
 * A batch is built on any one thread; the writer belongs to the loop thread.
 */
#pragma once

#include "schema/event.h"
#include "schema/frame.h"
#include "schema/reading.h"
#include "server/store/pg.h"

/* A frame and what became of it. Slices must live until store_batch_seal. */
struct staged_frame {
    const struct frame *frame;
    enum fate fate;   /* proposed; the store may find a duplicate */
    int32_t meter_id; /* 0: unknown */
    int64_t heard_us; /* when the network heard it, else received_us */
    bool has_key;
    struct hash128 key;       /* its identity for duplicate detection */
    int64_t counter;          /* -1: none */
    int64_t session;          /* DevAddr that it counts under; -1: none */
    int port;                 /* -1: none */
    uint64_t gateway;         /* 0: none */
    int rssi_dbm, snr_tenths; /* 0, 0: none */
    const char *codec;        /* NULL: none */
    uint32_t codec_version;
    int16_t codec_version_id;
    const char *reason;  /* quarantined, rejected: lower_snake */
    struct str detail;   /* for a person */
    struct str extras;   /* a JSON object, or empty */
    struct str payload;  /* what is kept of it */
    int64_t clock_us;    /* the meter's clock as UTC; TIME_NONE */
    bool may_be_refused; /* by refuse_replayed(): quarantine needs it whole */
};

struct staged_event {
    int64_t time_us, meter_time_us; /* meter_time_us may be TIME_NONE */
    struct str code, detail;
    enum severity severity;
    enum event_state state;
};

/* A condition that lasts: an event when it begins, one when it has ended. */
struct staged_condition {
    struct str code, detail;
    enum severity severity;
};

/* What a frame leaves behind for those after it. */
struct staged_note {
    int64_t key_id;     /* that opened it; 0: none */
    int64_t counter;    /* under that key; -1: none */
    struct str format;  /* record list that it teaches; empty: none */
    uint16_t signature; /* of the list */
    bool status;        /* it tells the meter's whole state: */
    struct staged_condition *conditions;
    uint32_t n_conditions;
};

struct store_batch; /* opaque */
struct store_batch *store_batch_new(void);
void store_batch_free(struct store_batch *b);
void store_batch_reset(struct store_batch *b);
/* The transaction sees this tenant beside those of its frames. */
void store_batch_tenant(struct store_batch *b, int32_t tenant_id);
void store_batch_frame(struct store_batch *b, const struct staged_frame *f);
/* Of the frame that was added last. *c must live until the seal. */
void store_batch_capture(struct store_batch *b, const struct capture *c);
void store_batch_event(struct store_batch *b, const struct staged_event *e);
/* Of the frame that was added last. */
void store_batch_note(struct store_batch *b, const struct staged_note *n);
/* Sorts by key and encodes; the batch can be written from then on, as often as
 * it takes, and holds nothing of its caller's. */
void store_batch_seal(struct store_batch *b);
uint32_t store_batch_frames(const struct store_batch *b);

struct store_writer; /* opaque; one connection of its own */

struct store_writer_events {
    void (*up)(void *arg);
    void (*down)(void *arg);
    void *arg;
};
struct store_writer_options {
    const char *url, *role; /* as in pg_options; live with the caller */
    int connect_s;
    int batch_s;            /* limit for storing one batch: then ERR_AWAY */
    int64_t dedup_window_s; /* how long a frame's key counts */
};
struct store_writer *store_writer_new(uv_loop_t *loop,
                                      const struct store_writer_options *o,
                                      const struct store_writer_events *e);
void store_writer_close(struct store_writer *w, void (*done)(void *),
                        void *arg);
bool store_writer_ready(const struct store_writer *w); /* up and idle */

/* What became of the frames of one tenant. */
struct store_count {
    int32_t tenant_id;
    enum fate fate;
    int64_t frames, readings;
};
/* What their counters showed of one tenant's meters. */
struct store_gap {
    int32_t tenant_id;
    int64_t missing, late; /* passed over; of those, came after all */
};
struct store_result {
    int err; /* 0; ERR_CONFLICT: the cursor is not at `from`;
                ERR_DATABASE: these rows cannot be stored;
                ERR_AWAY: outcome unknown, ask for the cursor */
    const char *error;
    const struct store_count *counts;
    uint32_t n;
    const struct store_gap *gaps;
    uint32_t n_gaps;
};
typedef void store_done_fn(void *arg, const struct store_result *r);

/* journal 0: a replay from quarantine, no cursor. Only when ready. */
void store_write(struct store_writer *w, const struct store_batch *b,
                 int journal, int64_t from, int64_t to, store_done_fn *done,
                 void *arg);

/* A batch: its journal, the cursor behind it, the frames with ids from `from`
 * up to `to`, and when they arrived. */
struct store_range {
    int journal;
    int64_t cursor, from, to, first_us, last_us;
};
/* What became of them, when a store_write ended with ERR_AWAY and its cursor
 * turned out to be committed. Readings are not told. */
void store_fates(struct store_writer *w, const struct store_range *range,
                 store_done_fn *done, void *arg);

/* How far the journal is stored; waits for a COMMIT that is still under way on
 * a connection that was cut. err as above, ERR_UNKNOWN: no such journal. */
typedef void store_cursor_fn(void *arg, int err, int64_t cursor);
void store_cursor(struct store_writer *w, int journal, store_cursor_fn *done,
                  void *arg);
