/*
 * journal.c - appending and releasing (reading is reader.c, start-up is
 * journal_dir.c, bytes on disk are segment.c).
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
#include "ingest/journal.h"
#include "ingest/journal_dir.h"
#include "ingest/reader.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    WAITING_MAX = 64 * 1024 * 1024, /* bytes appended and not yet durable */
    BATCH_KEPT = 4 * 1024 * 1024,   /* a larger buffer is not kept */
    AHEAD_PART = 4, /* the next segment is made when 1/4 is used ... */
    AHEAD_PAUSE_US = 1000000, /* ... and tried again so long after a failure */
};

struct pending {
    journal_done_fn *done;
    void *arg;
    uint32_t space; /* its bytes in batch.data */
};

struct batch {
    struct buf data; /* records back to back */
    struct pending *list;
    uint32_t n, cap;
    uint32_t at; /* records already reported... */
    size_t sent; /* ...and their bytes */
};

struct round { /* the pool thread's while journal.busy */
    struct segment segment;
    int64_t offset;
    uint8_t *p;
    size_t n;
    uint32_t records;
    bool leave; /* the segment ends behind these records */
    bool sync;
    int64_t sync_us; /* how long that took */
};

struct preparation { /* the pool thread's while journal.preparing */
    bool use_spare;
    int64_t number;
    struct segment segment;
};

struct release {  /* the pool thread's while journal.releasing */
    int64_t upto; /* segment numbers below go */
    uint32_t spares, gone;
};

struct journal {
    uv_loop_t *loop;
    struct journal_dir dir;
    const struct clock *clock;
    int64_t quota;
    uint64_t sync_interval_ms;
    uv_idle_t turn; /* active: a flush starts when the loop comes round */
    struct ticker *sync_ticker;
    bool sync_due, unsynced; /* interval mode */

    struct batch filling, flushing;
    struct segment current, next; /* fd -1: none */
    int64_t offset;               /* next record's, in current */
    int64_t last_number;          /* of current or next */
    int64_t first, end;
    uint32_t files, spares; /* on disk; files counts all of them */
    int64_t ahead_us;       /* when the next segment may be tried again */

    /* Where the last waiting record will lie: what journal_append decides on.
     * `tail_ahead` segments behind the current one are spoken for. */
    int64_t tail_room;
    uint32_t tail_ahead;

    bool busy, preparing, releasing;
    struct round round;
    struct preparation preparation;
    struct release release;
    int64_t released; /* segment numbers below are to go */

    void (*on_durable)(void *);
    void *on_durable_arg;
    void (*closed)(void *); /* set: closing */
    void *closed_arg;
    struct journal_stats stats;
    struct log_limit complaint;
};

static void flush_start(struct journal *j);

/* -- batches --------------------------------------------------------------- */

static uint32_t batch_left(const struct batch *b)
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

/* Reports the next `count` records of `flushing`. The callbacks may append:
 * that goes to `filling`. */
static void report(struct journal *j, uint32_t count, int err)
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
    flush_start(turn->data);
}

/* Starts a flush when the loop comes round: all appends of one turn, from
 * whatever callback, go together. */
static void turn_wait(struct journal *j)
{
    uv_idle_start(&j->turn, on_turn);
}

/* -- room ------------------------------------------------------------------ */

/* Segments that can still be had: the next, spare ones, new ones. */
static int64_t segments_to_be_had(const struct journal *j)
{
    int64_t more = j->quota / j->dir.segment_size - j->files;
    bool next = j->next.fd >= 0 || j->preparing;

    return next + (int64_t)j->spares + (more > 0 ? more : 0);
}

/* Takes room behind the last waiting record, exactly as the rounds will. */
static bool tail_take(struct journal *j, int64_t space)
{
    if (space > j->tail_room) {
        if (j->tail_ahead >= segments_to_be_had(j))
            return false;
        j->tail_ahead++;
        j->tail_room = segment_limit(j->dir.segment_size) - SEGMENT_HEAD;
    }
    j->tail_room -= space;
    return true;
}

/* Places what waits anew, after waiting records or a segment fell away. What
 * finds no room fails when its turn comes. */
static void tail_reset(struct journal *j)
{
    const struct batch *batches[] = {&j->flushing, &j->filling};

    j->tail_ahead = 0;
    j->tail_room =
        j->current.fd < 0 ? 0 : segment_limit(j->current.size) - j->offset;
    for (int b = 0; b < 2; b++)
        for (uint32_t i = batches[b]->at; i < batches[b]->n; i++)
            tail_take(j, batches[b]->list[i].space);
}

/* Said once each way, however many appends meet it: full is over when another
 * segment can be had, not when a record small enough for the last corner comes
 * along. */
static void full_set(struct journal *j, bool full)
{
    if (full == j->stats.full)
        return;
    j->stats.full = full;
    if (full)
        log_error("journal full, nothing is acknowledged",
                  "bytes=%lld quota=%lld pending_from=%lld end=%lld",
                  (long long)(j->files * j->dir.segment_size),
                  (long long)j->quota, (long long)j->first, (long long)j->end);
    else
        log_info("journal has room again", "bytes=%lld quota=%lld",
                 (long long)(j->files * j->dir.segment_size),
                 (long long)j->quota);
}

static void full_maybe_over(struct journal *j)
{
    if (j->stats.full && segments_to_be_had(j) > j->tail_ahead)
        full_set(j, false);
}

static void complain(struct journal *j, const char *what, int err)
{
    int n = log_allowed(&j->complaint);

    j->stats.errors++;
    if (n > 0)
        log_error(what, "err=%s times=%d", err_name(err), n);
}

/* -- the next segment ------------------------------------------------------ */

static int prepare_work(void *arg)
{
    struct journal *j = arg;
    uint64_t salt;

    if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
        return UV_EIO;
    return segment_create(j->dir.fd, j->dir.segment_size, j->preparation.number,
                          salt, j->preparation.use_spare,
                          &j->preparation.segment);
}

static void prepare_finish(void *arg, int r)
{
    struct journal *j = arg;

    j->preparing = false;
    if (r == 0) {
        j->next = j->preparation.segment;
        j->last_number = j->next.number;
    } else {
        complain(j, "journal segment not made", r);
        j->files--; /* a spare one that failed is gone, too */
        j->ahead_us = clock_mono(j->clock) + AHEAD_PAUSE_US;
        if (!j->busy && j->current.fd < 0) {
            report(j, batch_left(&j->flushing), r);
            tail_reset(j);
        }
    }
    flush_start(j);
}

/* False: the quota is used up. */
static bool prepare_start(struct journal *j)
{
    bool use_spare = j->spares > 0;

    if (use_spare)
        j->spares--;
    else if ((j->files + 1) * j->dir.segment_size <= j->quota)
        j->files++;
    else
        return false;
    j->preparation = (struct preparation){
        .use_spare = use_spare,
        .number = j->last_number + 1,
    };
    j->preparing = true;
    offload(j->loop, prepare_work, prepare_finish, j);
    return true;
}

static void prepare_ahead(struct journal *j)
{
    if (j->next.fd < 0 && !j->preparing &&
        j->offset > j->dir.segment_size / AHEAD_PART &&
        clock_mono(j->clock) >= j->ahead_us)
        prepare_start(j);
}

/* True when the next segment became the current one; else it is being made,
 * or there will be none and who waits for it was told. */
static bool next_take(struct journal *j)
{
    if (j->next.fd < 0) {
        if (!j->preparing && !prepare_start(j)) {
            report(j, batch_left(&j->flushing), ERR_FULL);
            tail_reset(j);
            turn_wait(j);
        }
        return false;
    }
    j->current = j->next;
    j->next = SEGMENT_NONE;
    j->offset = SEGMENT_HEAD;
    if (j->tail_ahead > 0)
        j->tail_ahead--;
    return true;
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
    complain(j, "journal write failed", err);
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
    report(j, j->round.records, r);
    if (r < 0)
        tail_reset(j);
    j->busy = false;
    if (j->end != end && j->on_durable)
        j->on_durable(j->on_durable_arg);
    flush_start(j);
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

/* Called whenever something ended that may let a round begin. */
static void flush_start(struct journal *j)
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
    flush_start(j);
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
        turn_wait(j);
    return 0;
}

/* -- releasing ------------------------------------------------------------- */

static int release_work(void *arg)
{
    struct journal *j = arg;
    struct release *rel = &j->release;
    struct segment_numbers list;
    uint32_t spares = rel->spares;
    int r = segment_list(j->dir.fd, "seg", &list);

    if (r < 0)
        return r;
    for (size_t i = 0; i < list.n && list.v[i] < rel->upto; i++) {
        uint32_t before = spares;
        int e =
            segment_retire(j->dir.fd, list.v[i], j->dir.segment_size, &spares);
        if (e < 0)
            r = e;
        else
            rel->gone += spares == before;
    }
    free(list.v);
    rel->spares = spares - rel->spares;
    /* Before a spare gets another header its old name has to be gone. */
    return fsync(j->dir.fd) < 0 ? sys_err(errno) : r;
}

static void release_start(struct journal *j);

static void release_finish(void *arg, int r)
{
    struct journal *j = arg;

    j->releasing = false;
    if (r < 0)
        complain(j, "journal segments not released", r);
    j->spares += j->release.spares;
    j->files -= j->release.gone;
    full_maybe_over(j);
    release_start(j);
    flush_start(j);
}

static void release_start(struct journal *j)
{
    if (j->releasing || j->released <= j->release.upto)
        return;
    j->release = (struct release){.upto = j->released, .spares = j->spares};
    j->releasing = true;
    offload(j->loop, release_work, release_finish, j);
}

/* Positions up to this one are in use elsewhere, though not here any more. */
static void skip_to(struct journal *j, int64_t position)
{
    if (j->busy || j->preparing || j->next.fd >= 0 || waiting(j) > 0)
        return;
    log_warning("journal ends before its cursor", "end=%lld cursor=%lld",
                (long long)j->end, (long long)position);
    segment_close(&j->current);
    j->last_number = position / j->dir.segment_size;
    j->end = (j->last_number + 1) * j->dir.segment_size;
    tail_reset(j);
}

void journal_release(struct journal *j, int64_t position)
{
    if (position > j->end)
        skip_to(j, position);
    if (position > j->end)
        position = j->end;
    int64_t upto = position / j->dir.segment_size;
    if (upto <= j->released)
        return;
    j->released = upto;
    if (j->first < upto * j->dir.segment_size)
        j->first = upto * j->dir.segment_size;
    release_start(j);
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
        turn_wait(j);
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
    turn_wait(j);
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
