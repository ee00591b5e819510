/*
 * replies.c - see replies.h. A reply is added, its object submitted and
 * journaled (or tried again), and released when it is the first in the queue.
 */
#include "ingest/replies.h"
#include "ingest/heo_session.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <stdlib.h>

enum {
    RETRY_US = US_PER_S / 4,   /* between attempts to journal */
    GIVE_UP_US = 30 * US_PER_S /* of failing attempts */
};

enum held_state {
    UNSENT,    /* the journal has not taken it, or failed with it */
    UNDER_WAY, /* the journal has it, not yet durable */
    READY,     /* may leave when it is the first */
    DROPPED,   /* nobody gets this reply */
};

struct held {
    struct replies *q;
    struct held *next;
    enum held_state state;
    bool counted; /* as a frame; attempts to journal do not count twice */
    struct reply reply;
    struct frame frame;
    char payload[];
};

struct replies {
    const struct heo_host *h; /* NULL: freed, waiting for the journal */
    void (*moved)(void *arg);
    void *arg;
    struct held *first, **last;
    uint32_t unsent, under_way;
    size_t bytes;
    int64_t retry_us, failing_us; /* failing since; 0: not failing */
};

struct replies *replies_new(const struct heo_host *h, void (*moved)(void *arg),
                            void *arg)
{
    struct replies *q = mem_alloc(sizeof *q);

    q->h = h;
    q->moved = moved;
    q->arg = arg;
    q->last = &q->first;
    return q;
}

static void held_free(struct held *a)
{
    buf_done(&a->reply.text);
    free(a);
}

void replies_free(struct replies *q)
{
    if (!q)
        return;
    for (struct held *a = q->first, *next; a; a = next) {
        next = a->next;
        if (a->state != UNDER_WAY)
            held_free(a);
    }
    q->h = NULL;
    if (q->under_way == 0)
        free(q);
}

static void failed(struct replies *q)
{
    int64_t now = clock_mono(q->h->o->clock);

    if (q->failing_us == 0)
        q->failing_us = now;
    q->retry_us = now + RETRY_US;
}

static void on_journaled(void *arg, int err)
{
    struct held *a = arg;
    struct replies *q = a->q;

    q->under_way--;
    if (!q->h) {
        held_free(a);
        if (q->under_way == 0)
            free(q);
        return;
    }
    if (err) {
        a->state = UNSENT;
        q->unsent++;
        failed(q);
    } else {
        a->state = READY;
        q->failing_us = 0;
    }
    q->moved(q->arg);
}

static int submit(struct held *a)
{
    struct replies *q = a->q;
    int r = q->h->journal(q->h->arg, &a->frame, on_journaled, a);

    if (r < 0) {
        failed(q);
        return r;
    }
    a->state = UNDER_WAY;
    q->under_way++;
    q->h->counts->frames += !a->counted;
    a->counted = true;
    return 0;
}

void replies_add(struct replies *q, const struct frame *f,
                 const struct reply *r)
{
    size_t n = f ? f->payload.n : 0;
    struct held *a = mem_alloc(sizeof *a + n);

    a->q = q;
    a->reply = *r;
    a->state = READY;
    *q->last = a;
    q->last = &a->next;
    q->bytes += sizeof *a + n;
    if (!f)
        return;
    memcpy(a->payload, f->payload.p, n);
    a->frame = *f;
    a->frame.payload.p = a->payload;
    a->state = UNSENT;
    if (q->unsent > 0 || submit(a) < 0)
        q->unsent++;
}

static void put_now(const struct replies *q, const struct reply *r,
                    struct buf *out)
{
    int64_t utc = clock_utc(q->h->o->clock) + r->shift_us;
    char now[TIME_TEXT];

    utc = (utc + US_PER_S / 2) / US_PER_S * US_PER_S; /* meters want seconds */
    if (r->offset_s)
        time_text_at(utc, r->offset_s, now);
    else
        time_text(utc, now);
    buf_z(out, now);
    buf_z(out, "\"}\n");
}

uint32_t replies_release(struct replies *q, struct buf *out)
{
    uint32_t n = 0;
    struct held *a;

    while ((a = q->first) && (a->state == READY || a->state == DROPPED)) {
        if (a->state == READY) {
            buf_str(out, buf_view(&a->reply.text));
            if (a->reply.ends_now)
                put_now(q, &a->reply, out);
            q->h->counts->acked += a->reply.is_ack;
            n++;
        }
        q->bytes -= sizeof *a + a->frame.payload.n;
        q->first = a->next;
        if (!q->first)
            q->last = &q->first;
        held_free(a);
    }
    return n;
}

bool replies_empty(const struct replies *q)
{
    return !q->first;
}

size_t replies_bytes(const struct replies *q)
{
    return q->bytes;
}

bool replies_stuck(const struct replies *q)
{
    return q->unsent > 0;
}

int64_t replies_retry_us(const struct replies *q)
{
    return q->retry_us;
}

int replies_retry(struct replies *q)
{
    int64_t now = clock_mono(q->h->o->clock);

    if (q->failing_us && now - q->failing_us >= GIVE_UP_US)
        return ERR_AWAY;
    for (struct held *a = q->first; a; a = a->next) {
        if (a->state != UNSENT)
            continue;
        if (submit(a) < 0)
            return 0;
        q->unsent--;
    }
    return 0;
}

uint32_t replies_drop(struct replies *q)
{
    uint32_t n = q->unsent;

    for (struct held *a = q->first; a; a = a->next)
        if (a->state == UNSENT)
            a->state = DROPPED;
    q->unsent = 0;
    return n;
}
