/*
 * heo_session.h - the HEO-JSON v1 dialogue with one meter, without sockets:
 * bytes go in, replies come out, objects go to the journal.
 *
 * An object is acknowledged only when the journal says that it is durable;
 * replies leave in the order of their objects. What a session holds is
 * bounded. Loop thread only.
 */
#pragma once

#include "ingest/ingest.h"
#include "server/base/arena.h"

struct heo_counts {
    int64_t frames, rejected, acked;
};

/* What the sessions of one listener share, and what they ask of it. */
struct heo_host {
    const struct ingest_options *o;
    const struct directory *directory;
    struct arena *arena; /* for one object at a time; reset by the session */
    struct heo_counts *counts;
    int32_t tenant_id; /* TENANT_PLATFORM: shared, the serial tells */
    int32_t integration_id;
    void *arg; /* of journal and reject */
    /* As admit_frame: 0 and later `done`, or an error and never. */
    int (*journal)(void *arg, const struct frame *f, journal_done_fn *done,
                   void *done_arg);
    void (*reject)(void *arg, const struct frame *f);
    struct quotas *quotas; /* NULL: no limits */
    /* The next two get the session's own arg. `changed`: something is to be
     * sent or read, outside of any call; must not free the session. */
    void (*changed)(void *arg);
    int64_t (*rtt_us)(void *arg); /* round trip to the meter; 0 unknown */
};

struct heo_session; /* opaque */

/* Copies `peer`. *h must outlive the session. */
struct heo_session *heo_session_new(const struct heo_host *h, struct str peer,
                                    void *arg);
/* Nothing is called any more; answers of the journal still under way are
 * waited for silently. NULL is fine. */
void heo_session_free(struct heo_session *s);

/* Copies. Bytes that came although none were wanted are kept; bytes for a
 * session that is ending are dropped. */
void heo_session_feed(struct heo_session *s, struct str bytes);
/* The meter sends no more; what it sent is answered, then the session ends. */
void heo_session_eof(struct heo_session *s);
/* Takes no more objects; ends when those taken are answered. `code` != NULL:
 * the last word is that nak. */
void heo_session_end(struct heo_session *s, const char *code);

/* false: pause reading (limits, rate, the journal has no room, or ending). */
bool heo_session_wants_bytes(const struct heo_session *s);
/* Replies to send, in order; the caller takes the bytes out. */
struct buf *heo_session_out(struct heo_session *s);
/* All is said: send what is in `out`, then close. */
bool heo_session_ended(const struct heo_session *s);
/* Tells it to set its clock: to the time at which the command is there (half a
 * round trip after it left), and `shift_us` more. `id` is the command's; its
 * characters need no escaping in JSON. ERR_AWAY: it does not listen now. */
int heo_session_set_clock(struct heo_session *s, const char *id,
                          int64_t shift_us);
/* Tells it when to dial in: `at_s` after each whole `window_s` of UTC (our own
 * addition to set_schedule). ERR_AWAY as above. */
int heo_session_set_slot(struct heo_session *s, int32_t at_s, int32_t window_s);
/* A command, as one line without its end. ERR_AWAY as above. */
int heo_session_command(struct heo_session *s, struct str line);
/* What ingest_options.window was told of: there is nothing to do. */
void heo_session_no_command(struct heo_session *s);
/* It has said all that it had to say, and hears us. */
bool heo_session_listens(const struct heo_session *s);

/* Did it say hello as a known meter? */
bool heo_session_meter(const struct heo_session *s, int32_t *tenant,
                       int32_t *meter);

/* When heo_session_run must be called (clock_mono); INT64_MAX: not by time.
 * Ask again after every call above and after `changed`. */
int64_t heo_session_due(const struct heo_session *s);
void heo_session_run(struct heo_session *s);
