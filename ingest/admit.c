/*
 * admit.c - see admit.h. What is no frame is kept as a sample: ten a second
 * for each source, tenant and integration; what lies between is counted, and
 * the count travels with the next sample. A count that the journal could not
 * take is not lost: it goes back to what is held, for the next try.
 */
#include "ingest/admit.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>
#include <uthash.h>

enum {
    SAMPLES_MAX = 10, /* a second, of one kind */
    FLUSH_MS = 1000,  /* how long a count waits for a sample */
    OWED_MAX = 4096,  /* callbacks that wait for one count */
};

static struct ledger *books; /* of the one journal that a process has */

void admit_keep_books(struct ledger *l)
{
    books = l;
}

static void book(int32_t tenant, uint32_t count)
{
    if (books)
        ledger_received(books, tenant, count);
}

struct ticket { /* a frame until the journal has it */
    journal_done_fn *done;
    void *arg;
    int32_t tenant_id;
    uint32_t count;
};

static void on_admitted(void *arg, int err)
{
    struct ticket t = *(struct ticket *)arg;

    free(arg);
    if (err == 0)
        book(t.tenant_id, t.count);
    t.done(t.arg, err);
}

int admit_frame(struct journal *j, const struct frame *f, journal_done_fn *done,
                void *arg)
{
    static struct buf record; /* kept: one frame, many times a second */
    struct frame copy = *f;

    if (f->payload.n > FRAME_PAYLOAD_MAX)
        return ERR_RANGE;
    if (copy.received_us == 0)
        copy.received_us = clock_utc(journal_clock(j));
    if (copy.count == 0)
        copy.count = 1;
    if (copy.size < copy.payload.n)
        copy.size = (uint32_t)copy.payload.n;
    buf_clear(&record);
    frame_encode(&copy, &record);
    struct ticket *t = mem_alloc(sizeof(*t));
    *t = (struct ticket){done, arg, copy.tenant_id, copy.count};
    int r = journal_append(j, buf_view(&record), on_admitted, t);
    if (r < 0)
        free(t);
    return r;
}

/* -- rejections ------------------------------------------------------------ */

struct owed { /* a callback that waits for the count it is part of */
    journal_done_fn *done;
    void *arg;
};

struct sample {        /* one rejected frame, and those that it stands for */
    struct buf record; /* of frame_encode; its count is not up to date */
    uint32_t count;
    struct owed *owed;
    uint32_t n_owed, cap_owed;
    struct kind *kind; /* while the journal has it */
};

struct kind_key {
    int32_t source, tenant_id, integration_id;
};

struct kind { /* rejections that are sampled together */
    UT_hash_handle hh;
    struct kind_key key;
    struct door *door;
    struct sample *held; /* NULL: nothing is held back */
    int64_t window_us;   /* when the current second began */
    uint32_t in_window;
};

struct door {
    struct journal *journal;
    const struct clock *clock;
    struct ticker *ticker;
    struct kind *kinds; /* no more than tenants times sources */
    uint32_t refs;      /* the owner, and each sample that the journal has */
    bool freed; /* the owner went: only the journal's answers are waited for */
};

static void sample_free(struct sample *s)
{
    buf_done(&s->record);
    free(s->owed);
    free(s);
}

static void sample_pay(struct sample *s, int err)
{
    for (uint32_t i = 0; i < s->n_owed; i++)
        s->owed[i].done(s->owed[i].arg, err);
    sample_free(s);
}

static void sample_owe(struct sample *s, struct owed o)
{
    if (!o.done)
        return;
    if (s->n_owed == s->cap_owed) {
        s->cap_owed = s->cap_owed ? 2 * s->cap_owed : 4;
        s->owed = mem_grow(s->owed, s->cap_owed, sizeof(*s->owed));
    }
    s->owed[s->n_owed++] = o;
}

/* Counts `from` in with `into`, whose bytes stay the sample; ends `from`. */
static void sample_merge(struct sample *into, struct sample *from)
{
    uint32_t left = UINT32_MAX - into->count;

    into->count += from->count < left ? from->count : left;
    for (uint32_t i = 0; i < from->n_owed; i++)
        sample_owe(into, from->owed[i]);
    sample_free(from);
}

static struct sample *sample_new(const struct door *d, const struct frame *f,
                                 struct owed o)
{
    struct sample *s = mem_alloc(sizeof(*s));
    struct frame copy = *f;

    if (copy.payload.n > FRAME_SAMPLE_MAX)
        copy.payload.n = FRAME_SAMPLE_MAX;
    if (copy.size < f->payload.n)
        copy.size = (uint32_t)f->payload.n;
    if (copy.received_us == 0)
        copy.received_us = clock_utc(d->clock);
    s->count = copy.count ? copy.count : 1;
    sample_owe(s, o);
    frame_encode(&copy, &s->record);
    return s;
}

static void door_unref(struct door *d)
{
    struct kind *k, *next;

    if (--d->refs > 0)
        return;
    k = d->kinds;
    HASH_CLEAR(hh, d->kinds);
    for (; k; k = next) {
        next = k->hh.next;
        free(k);
    }
    free(d);
}

static void hold(struct kind *k, struct sample *s)
{
    struct ticker *ticker = k->door->ticker;

    if (k->held)
        sample_merge(k->held, s);
    else
        k->held = s;
    if (!ticker_active(ticker))
        ticker_start(ticker, FLUSH_MS, 0);
}

static void on_sampled(void *arg, int err)
{
    struct sample *s = arg;
    struct kind *k = s->kind;
    struct door *d = k->door;

    if (err == 0)
        book(k->key.tenant_id, s->count);
    if (err < 0 && !d->freed)
        hold(k, s);
    else
        sample_pay(s, err);
    door_unref(d);
}

static int sample_append(struct kind *k, struct sample *s)
{
    struct buf record = {0};
    struct frame f = {0};
    int r = frame_decode(buf_view(&s->record), &f);

    if (r < 0)
        return r;
    f.count = s->count;
    frame_encode(&f, &record);
    s->kind = k;
    r = journal_append(k->door->journal, buf_view(&record), on_sampled, s);
    buf_done(&record);
    if (r < 0)
        return r;
    k->in_window++;
    k->door->refs++;
    log_warning("frame rejected",
                "source=%s tenant=%d integration=%d peer=%.*s reason=%s "
                "count=%u",
                source_name(f.source), f.tenant_id, f.integration_id,
                STR_ARGS(f.peer), f.rejected ? f.rejected : "", f.count);
    return 0;
}

/* To the journal with what is held; held further if it does not take it. */
static int flush(struct kind *k)
{
    struct sample *s = k->held;

    k->held = NULL;
    int r = sample_append(k, s);
    if (r < 0)
        hold(k, s);
    return r;
}

static bool window_open(struct kind *k)
{
    int64_t now = clock_mono(k->door->clock);

    if (now - k->window_us >= US_PER_S) {
        k->window_us = now;
        k->in_window = 0;
    }
    return k->in_window < SAMPLES_MAX;
}

static void on_flush_tick(void *arg)
{
    struct door *d = arg;
    struct kind *k, *next;

    HASH_ITER (hh, d->kinds, k, next) {
        window_open(k);
        if (k->held)
            flush(k);
    }
}

static struct kind *kind_get(struct door *d, const struct frame *f)
{
    struct kind_key key = {(int32_t)f->source, f->tenant_id, f->integration_id};
    struct kind *k = NULL;

    /* The analyzer loses the bytes of the key inside uthash's macro. */
    HASH_FIND(hh, d->kinds, &key, sizeof(key), k); /* NOLINT */
    if (!k) {
        k = mem_alloc(sizeof(*k));
        k->key = key;
        k->door = d;
        k->window_us = clock_mono(d->clock);
        HASH_ADD(hh, d->kinds, key, sizeof(k->key), k);
    }
    return k;
}

void admit_reject(struct door *d, const struct frame *f, journal_done_fn *done,
                  void *arg)
{
    struct kind *k = kind_get(d, f);
    struct sample *s = sample_new(d, f, (struct owed){done, arg});
    struct sample *held = k->held;

    if (!window_open(k) && (!held || held->n_owed < OWED_MAX)) {
        hold(k, s);
        return;
    }
    k->held = s;
    if (held)
        sample_merge(s, held);
    flush(k);
}

struct door *door_new(uv_loop_t *loop, struct journal *j,
                      const struct clock *clock)
{
    struct door *d = mem_alloc(sizeof(*d));

    d->journal = j;
    d->clock = clock;
    d->ticker = ticker_new(loop, on_flush_tick, d);
    d->refs = 1;
    return d;
}

/* What is held goes to the journal now, or is given up with its error. */
void door_free(struct door *d)
{
    struct kind *k, *next;

    if (!d)
        return;
    d->freed = true;
    HASH_ITER (hh, d->kinds, k, next) {
        int r = k->held ? flush(k) : 0;
        if (r < 0) {
            log_error("rejections not counted", "tenant=%d count=%u err=%s",
                      k->key.tenant_id, k->held->count, err_name(r));
            sample_pay(k->held, r);
            k->held = NULL;
        }
    }
    ticker_free(d->ticker);
    door_unref(d);
}
