/*
 * journal.c - appending (room and releasing are journal_room.c, reading is
 * reader.c, start-up is journal_dir.c, bytes on disk are segment.c).
 *
 * append -> filling -> (swap) -> flushing -> round -> done, record by record.
 * A round is one write and one sync in one segment, on a pool thread; there is
 * one at a time, and what arrives meanwhile gathers in `filling`. A round ends
 * where a segment ends; the next one is made ahead, also on the pool.
 *
 * After an error the round's records are reported with it and the segment is
 * left: what a failed sync leaves in the page cache proves nothing. A segment
 * in which nothing was ever acknowledged is thrown away instead, so that a
 * disk in trouble does not use up the quota.
 *
 * Behind what is synced stands an end mark, which the next round overwrites: a
 * last record that does not prove itself is then known to be damaged, where
 * without the mark it would pass for a torn write.
 */
#include "ingest/journal_inside.h"
#include "ingest/reader.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <stdlib.h>
#include <unistd.h>

enum {
    WAITING_MAX = 64 * 1024 * 1024, /* bytes appended and not yet durable */
    BATCH_KEPT = 4 * 1024 * 1024,   /* a larger buffer is not kept */
};

/* -- batches --------------------------------------------------------------- */

uint32_t batch_left(const struct batch *b)
{
    return b->n - b->at;
}

static void batch_add(struct batch *b, struct str record, journal_done_fn *done,
                      void *arg)
{
    size_t space = record_space(record.n);

    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->list = mem_grow(b->list, b->cap, sizeof(*b->list));
    }
    record_put(buf_room(&b->data, space), record);
    b->data.n += space;
    b->list[b->n++] = (struct pending){done, arg, (uint32_t)space};
}

static void batch_clear(struct batch *b)
{
    buf_clear(&b->data);
    b->n = b->at = 0;
    b->sent = 0;
    if (b->data.cap > BATCH_KEPT)
        buf_done(&b->data);
    if (b->cap * sizeof(*b->list) > BATCH_KEPT) {
        free(b->list);
        b->list = NULL;
        b->cap = 0;
    }
}

static void batch_done(struct batch *b)
{
    buf_done(&b->data);
    free(b->list);
}

void journal_report(struct journal *j, uint32_t count, int err)
{
    struct batch *b = &j->flushing;

    while (count-- > 0) {
        struct pending p = b->list[b->at++];
        b->sent += p.space;
        p.done(p.arg, err);
    }
}

static uint32_t waiting(const struct journal *j)
{
    return batch_left(&j->flushing) + batch_left(&j->filling);
}

static void on_turn(uv_idle_t *turn)
{
    uv_idle_stop(turn);
    journal_flush(turn->data);
}

void journal_flush_soon(struct journal *j)
{
    uv_idle_start(&j->turn, on_turn);
}

void journal_complain(struct journal *j, const char *what, int err)
{
    int n = log_allowed(&j->complaint);

    j->stats.errors++;
    if (n > 0)
        log_error(what, "err=%s times=%d", err_name(err), n);
}

/* -- rounds ---------------------------------------------------------------- */

/* The segment is left: ended where its last reported record ends, so far as
 * the disk still lets us; or thrown away when there is none. */
static void round_spoil(const struct journal *j)
{
    const struct round *r = &j->round;
    char name[SEGMENT_NAME];

    if (r->offset == SEGMENT_HEAD)
        unlinkat(j->dir.fd, segment_name(r->segment.number, "seg", name), 0);
    else if (segment_mark_end(&r->segment, r->offset) == 0)
        segment_sync(&r->segment);
}

static int round_work(void *arg)
{
    struct journal *j = arg;
    struct round *r = &j->round;
    int e;

    segment_seal(&r->segment, r->offset, r->p, r->n);
    e = segment_write(&r->segment, r->offset, r->p, r->n);
    if (e == 0 && r->leave)
        e = segment_mark_end(&r->segment, r->offset + (int64_t)r->n);
    if (e == 0 && r->sync) {
        uint64_t t = uv_hrtime();
        e = segment_sync(&r->segment);
        r->sync_us = (int64_t)((uv_hrtime() - t) / 1000);
        if (e == 0 && !r->leave) /* after the sync, or it would prove nothing */
            segment_mark_end(&r->segment, r->offset + (int64_t)r->n);
    }
    if (e < 0)
        round_spoil(j);
    return e;
}

static void round_good(struct journal *j)
{
    const struct round *r = &j->round;

    j->offset += (int64_t)r->n;
    if (r->n > 0)
        j->end = segment_position(&j->current, j->offset);
    j->stats.appended += r->records;
    j->stats.appended_bytes += (int64_t)r->n;
    j->stats.syncs += r->sync;
    j->stats.sync_us += r->sync_us;
    if (r->sync)
        j->sync_due = j->unsynced = false;
    else
        j->unsynced = true;
    if (j->unsynced && !ticker_active(j->sync_ticker))
        ticker_start(j->sync_ticker, j->sync_interval_ms, 0);
    if (r->leave)
        segment_close(&j->current);
}

static void round_bad(struct journal *j, int err)
{
    journal_complain(j, "journal write failed", err);
    if (j->round.offset == SEGMENT_HEAD) {
        /* Its number comes again: no next one is made so early in a segment. */
        j->files--;
        j->last_number = j->current.number - 1;
    }
    j->sync_due = j->unsynced = false; /* nothing is left that a sync helps */
    segment_close(&j->current);
}

/* The only way out of a round: report its records, then let the next one go. */
static void round_finish(void *arg, int r)
{
    struct journal *j = arg;
    int64_t end = j->end;

    if (r == 0)
        round_good(j);
    else
        round_bad(j, r);
    journal_report(j, j->round.records, r);
    if (r < 0)
        tail_reset(j);
    j->busy = false;
    if (j->end != end && j->on_durable)
        j->on_durable(j->on_durable_arg);
    journal_flush(j);
}

/* As many waiting records as go into the current segment. */
static void round_lay_out(struct journal *j)
{
    const struct batch *b = &j->flushing;
    int64_t room = segment_limit(j->current.size) - j->offset;
    struct round r = {.segment = j->current, .offset = j->offset};

    if (b->n > 0)
        r.p = b->data.p + b->sent;
    for (uint32_t i = b->at; i < b->n; i++) {
        size_t space = b->list[i].space;
        r.leave = (int64_t)(r.n + space) > room;
        if (r.leave)
            break;
        r.n += space;
        r.records++;
    }
    r.sync = r.leave || j->sync_due || j->sync_interval_ms == 0;
    j->round = r;
}

static void close_when_idle(struct journal *j);

void journal_flush(struct journal *j)
{
    if (j->busy)
        return;
    if (batch_left(&j->flushing) == 0) {
        batch_clear(&j->flushing);
        struct batch empty = j->flushing;
        j->flushing = j->filling;
        j->filling = empty;
    }
    bool records = batch_left(&j->flushing) > 0;
    if (records && j->current.fd < 0 && !next_take(j))
        return;
    if (j->current.fd < 0)
        j->sync_due = false; /* synced when it was left */
    if (!records && !j->sync_due) {
        close_when_idle(j);
        return;
    }
    prepare_ahead(j);
    round_lay_out(j);
    j->busy = true;
    offload(j->loop, round_work, round_finish, j);
}

static void on_sync_tick(void *arg)
{
    struct journal *j = arg;

    j->sync_due = j->unsynced;
    journal_flush(j);
}

int journal_append(struct journal *j, struct str record, journal_done_fn *done,
                   void *arg)
{
    size_t space = record_space(record.n);

    if (j->closed)
        return UV_ECANCELED;
    if (record.n == 0 || record.n > RECORD_MAX)
        return ERR_RANGE;
    if (j->filling.data.n + j->flushing.data.n + space > WAITING_MAX)
        return ERR_FULL;
    if (!tail_take(j, (int64_t)space)) {
        full_set(j, true);
        return ERR_FULL;
    }
    full_maybe_over(j);
    batch_add(&j->filling, record, done, arg);
    if (!j->busy)
        journal_flush_soon(j);
    return 0;
}

/* -- opening, closing, questions ------------------------------------------- */

int journal_open(uv_loop_t *loop, const struct journal_options *o,
                 struct journal **ret, struct journal_recovery *found)
{
    struct journal_dir dir;
    struct journal_tail tail;

    if (o->sync_interval_ms < 0)
        return ERR_RANGE;
    int r = journal_dir_open(o->dir, o->segment_size, &dir);
    if (r < 0)
        return r;
    r = o->quota < 2 * dir.segment_size ? ERR_RANGE
                                        : journal_dir_recover(&dir, &tail);
    if (r < 0) {
        journal_dir_close(&dir);
        return r;
    }
    struct journal *j = mem_alloc(sizeof(*j));
    j->loop = loop;
    j->dir = dir;
    j->clock = o->clock;
    j->quota = o->quota;
    j->sync_interval_ms = (uint64_t)o->sync_interval_ms;
    j->current = tail.segment;
    j->next = SEGMENT_NONE;
    j->offset = tail.offset;
    j->last_number = tail.last_number;
    j->first = tail.found.first;
    j->end = tail.found.end;
    j->files = tail.files;
    j->spares = tail.spares;
    tail_reset(j);
    uv_idle_init(loop, &j->turn);
    j->turn.data = j;
    j->sync_ticker = ticker_new(loop, on_sync_tick, j);
    *found = tail.found;
    *ret = j;
    return 0;
}

static void on_turn_closed(uv_handle_t *turn)
{
    struct journal *j = turn->data;
    void (*closed)(void *) = j->closed;
    void *arg = j->closed_arg;

    journal_dir_close(&j->dir);
    batch_done(&j->filling);
    batch_done(&j->flushing);
    free(j);
    closed(arg);
}

static void close_when_idle(struct journal *j)
{
    if (!j->closed || j->preparing || j->releasing ||
        uv_is_active((uv_handle_t *)&j->turn))
        return;
    if (j->unsynced) {
        j->sync_due = true;
        journal_flush_soon(j);
        return;
    }
    segment_close(&j->current);
    segment_close(&j->next);
    ticker_free(j->sync_ticker);
    uv_close((uv_handle_t *)&j->turn, on_turn_closed);
}

void journal_close(struct journal *j, void (*done)(void *arg), void *arg)
{
    j->closed = done;
    j->closed_arg = arg;
    journal_flush_soon(j);
}

int journal_number(const struct journal *j)
{
    return j->dir.number;
}

int journal_set_number(struct journal *j, int number)
{
    return journal_dir_set_number(&j->dir, number);
}

int64_t journal_first(const struct journal *j)
{
    return j->first;
}

int64_t journal_end(const struct journal *j)
{
    return j->end;
}

const struct clock *journal_clock(const struct journal *j)
{
    return j->clock;
}

void journal_on_durable(struct journal *j, void (*fn)(void *arg), void *arg)
{
    j->on_durable = fn;
    j->on_durable_arg = arg;
}

int journal_read(const struct journal *j, int64_t from, int64_t until,
                 size_t max_bytes, uint32_t max_records,
                 struct journal_chunk *chunk)
{
    return reader_read(j->dir.fd, j->dir.segment_size, from, until, max_bytes,
                       max_records, chunk);
}

void journal_stats(const struct journal *j, struct journal_stats *ret)
{
    *ret = j->stats;
    ret->bytes_on_disk = j->files * j->dir.segment_size;
    ret->waiting = waiting(j);
}
