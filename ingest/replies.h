/*
 * replies.h - what a session has to say to its meter, in order; a reply to an
 * object is held back until the journal has that object. Loop thread only.
 *
 * Objects are kept until then, so that a journal without room, or with a
 * failing disk, is tried again without asking the meter for a repetition.
 */
#pragma once

#include "schema/frame.h"

struct heo_host;
struct replies; /* opaque */

struct reply {
    struct buf text;
    bool is_ack;      /* counted as such when it leaves */
    bool ends_now;    /* the time at which it leaves, and "}, are added */
    int offset_s;     /* of that time */
    int64_t shift_us; /* added to it */
};

/* `moved` runs (in a turn of its own) whenever the journal has answered. */
struct replies *replies_new(const struct heo_host *h, void (*moved)(void *arg),
                            void *arg);
/* `moved` runs no more; what the journal has it keeps. NULL is fine. */
void replies_free(struct replies *q);

/* Takes over r->text. Copies f->payload; the frame's other texts must outlive
 * the queue. f NULL: nothing to journal, ready at once. */
void replies_add(struct replies *q, const struct frame *f,
                 const struct reply *r);
/* Moves the replies that may leave to `out`; how many. */
uint32_t replies_release(struct replies *q, struct buf *out);

bool replies_empty(const struct replies *q);
size_t replies_bytes(const struct replies *q); /* held for the journal */

/* Are there objects that the journal did not take? If so, when to retry. */
bool replies_stuck(const struct replies *q);
int64_t replies_retry_us(const struct replies *q); /* clock_mono */
/* Offers them again. ERR_AWAY: it has failed for too long. */
int replies_retry(struct replies *q);
/* Forgets them, unanswered; how many. */
uint32_t replies_drop(struct replies *q);
