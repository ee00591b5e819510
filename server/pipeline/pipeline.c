/*
 * pipeline.c - the story of a batch:
 *   job_start -> (pool) job_read -> job_resolve -> (pool) job_decode ->
 *   job_ready -> commit_start -> commit_done
 * Two jobs: one commits while the other is prepared. When a commit fails the
 * prepared work is thrown away and the cursor in PostgreSQL decides where to
 * go on; a batch that was committed although nobody said so is then booked as
 * what the database says of it. Rows that PostgreSQL refuses are isolated by
 * halving the batch; the one frame that is left goes to quarantine, whole.
 */
#include "server/pipeline/pipeline.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/pipeline/backlog.h"
#include "server/pipeline/stage.h"
#include <stdlib.h>

enum job_state {
    JOB_IDLE,
    JOB_PREPARING,
    JOB_READY,
    JOB_COMMITTING,
    JOB_UNSURE, /* no answer to its commit: the cursor will tell */
};

/* A frame of 256 KiB may decode to some MiB; a batch keeps captures only. */
enum { SCRATCH_MAX = 64 << 20, KEEP_MAX = 512 << 20, RETRY_MS = 500 };

struct job {
    struct pipeline *pipeline;
    enum job_state state;
    int64_t from, until, to;
    uint32_t most;
    bool isolate; /* one frame that the store refused */
    bool stale;   /* prepared from a position that no longer holds */
    int64_t now_us;
    struct journal_chunk chunk;
    struct stage_item *items;
    uint32_t cap_items;
    struct arena *keep, *scratch;
    struct store_batch *batch;
};

struct pipeline {
    uv_loop_t *loop;
    struct journal *journal;
    struct directory *directory;
    struct pipeline_options o;
    struct store_writer *writer;
    struct ticker *retry;
    struct job jobs[2];
    int64_t stored;   /* cursor as committed; -1 unknown */
    int64_t booked;   /* the ledger knows what became of all before */
    int64_t prepared; /* where the next job begins */
    uint32_t most;    /* frames of the next job; shrinks to isolate a refusal */
    bool isolate, started, stopping, asking;
    char refused[PG_ERROR]; /* why the store refused what is being isolated */
    int64_t commit_began;
    struct pipeline_stats stats;
    void (*stopped)(void *);
    void *stopped_arg;
};

static void pump(struct pipeline *p);

/* ---- preparing ---- */

static int job_read(void *arg)
{
    struct job *job = arg;
    struct pipeline *p = job->pipeline;
    int journal = journal_number(p->journal);
    int r = journal_read(p->journal, job->from, job->until, p->o.batch_bytes,
                         job->most, &job->chunk);
    if (r < 0)
        return r;
    if (job->chunk.n > job->cap_items) {
        job->cap_items = job->chunk.n;
        job->items = mem_grow(job->items, job->cap_items, sizeof *job->items);
    }
    for (uint32_t i = 0; i < job->chunk.n; i++) {
        const struct journal_record *rec = &job->chunk.records[i];
        stage_parse(&job->items[i], job->keep, rec->bytes, rec->damaged,
                    frame_id(journal, rec->position), job->now_us);
    }
    return 0;
}

static void job_reset(struct job *job)
{
    arena_reset(job->keep);
    store_batch_reset(job->batch);
    job->state = JOB_IDLE;
    job->stale = false;
}

static void job_ready(void *arg, int err)
{
    struct job *job = arg;
    (void)err;
    if (job->stale)
        job_reset(job);
    else
        job->state = JOB_READY;
    pump(job->pipeline);
}

static int job_decode(void *arg)
{
    struct job *job = arg;
    for (uint32_t i = 0; i < job->chunk.n; i++) {
        struct stage_item *it = &job->items[i];
        if (job->isolate && !it->fate) {
            it->fate = FATE_QUARANTINED;
            it->reason = "store_refused";
            it->detail = str_of(job->pipeline->refused);
        }
        stage_decode(it, job->keep, job->scratch, job->batch);
    }
    store_batch_seal(job->batch);
    return 0;
}

/* Refusals of the door were told there; these were found by the stages. */
static void tell_rejected(const struct stage_item *it)
{
    static struct log_limit limit;
    int more;
    if (it->fate == FATE_REJECTED && !it->frame.rejected &&
        (more = log_allowed(&limit)) > 0)
        log_warning("frame rejected",
                    "tenant=%d integration=%d peer=%.*s topic=%.*s reason=%s"
                    " detail=%.*s frame=%lld count=%d",
                    it->frame.tenant_id, it->frame.integration_id,
                    STR_ARGS(it->frame.peer), STR_ARGS(it->frame.topic),
                    it->reason, STR_ARGS(it->detail), (long long)it->frame.id,
                    more);
}

static void job_resolve(void *arg, int err)
{
    struct job *job = arg;
    struct pipeline *p = job->pipeline;

    if (err < 0) {
        log_error("journal not readable", "position=%lld err=%s",
                  (long long)job->from, err_name(err));
        p->stats.errors++;
        p->prepared = job->from;
        job_reset(job);
        ticker_start(p->retry, RETRY_MS, 0);
        return;
    }
    if (job->stale) {
        job_ready(job, 0);
        return;
    }
    bool unsure = p->o.ours_unsure(p->o.arg);
    job->to = job->chunk.next;
    p->prepared = job->to;
    for (uint32_t i = 0; i < job->chunk.n; i++) {
        if (job->chunk.records[i].damaged)
            log_error("journal damaged", "position=%lld bytes=%lld",
                      (long long)job->chunk.records[i].position,
                      (long long)job->chunk.records[i].skipped);
        job->items[i].ours_unsure = unsure;
        stage_resolve(&job->items[i], job->keep, p->directory, p->o.clocks,
                      p->o.codec_ids);
        tell_rejected(&job->items[i]);
    }
    offload(p->loop, job_decode, job_ready, job);
}

static void job_start(struct pipeline *p, struct job *job)
{
    job->state = JOB_PREPARING;
    job->from = p->prepared;
    job->until = journal_end(p->journal);
    job->most = p->most;
    job->isolate = p->isolate;
    job->now_us = clock_utc(p->o.clock);
    offload(p->loop, job_read, job_resolve, job);
}

/* ---- committing ---- */

static void book(struct pipeline *p, const struct job *job,
                 const struct store_result *r)
{
    struct ledger *l = p->o.books;

    for (uint32_t i = 0; i < job->chunk.n; i++)
        ledger_taken(l, job->items[i].journaled_by,
                     job->items[i].frame.tenant_id, job->items[i].frame.count);
    for (uint32_t i = 0; i < r->n; i++)
        ledger_fate(l, r->counts[i].tenant_id, r->counts[i].fate,
                    r->counts[i].frames, r->counts[i].readings);
    for (uint32_t i = 0; i < r->n_gaps; i++)
        ledger_gaps(l, r->gaps[i].tenant_id, r->gaps[i].missing,
                    r->gaps[i].late);
    p->booked = job->to;
    int64_t lost = job->to == journal_end(p->journal) ? ledger_drained(l) : 0;
    if (lost)
        log_error("frames lost to damage of the journal", "frames=%lld",
                  (long long)lost);
}

/* Prepared work no longer fits; the cursor decides where to go on. */
static void start_over(struct pipeline *p)
{
    for (int i = 0; i < 2; i++) {
        struct job *job = &p->jobs[i];
        if (job->state == JOB_PREPARING)
            job->stale = true;
        else if (job->state == JOB_READY)
            job_reset(job);
    }
    p->stored = -1;
}

static void tell_contacts(struct pipeline *p, const struct job *job)
{
    for (uint32_t i = 0; i < job->chunk.n; i++) {
        const struct stage_item *it = &job->items[i];
        if (it->fate || !it->meter.meter_id)
            continue;
        struct clock_contact c = stage_contact(it);
        if (it->is_uplink)
            p->o.heard(p->o.arg, &c, it->uplink.kind == UPLINK_JOIN);
        p->o.contact(p->o.arg, &c);
    }
}

static void commit_good(struct pipeline *p, struct job *job,
                        const struct store_result *r)
{
    book(p, job, r);
    tell_contacts(p, job);
    p->stored = job->to;
    p->stats.batches++;
    p->stats.commit_us = clock_mono(p->o.clock) - p->commit_began;
    if (p->isolate && job->isolate)
        p->isolate = false;
    else if (p->most < p->o.batch_frames)
        p->most =
            2 * p->most < p->o.batch_frames ? 2 * p->most : p->o.batch_frames;
    journal_release(p->journal, job->to);
    p->o.stored(p->o.arg);
}

/* The next batch is smaller: a refusal is narrowed down, and a database that is
 * too slow for one within the deadline gets on with less. */
static void halve(struct pipeline *p, const struct job *job)
{
    p->most = job->chunk.n > 1 ? job->chunk.n / 2 : 1;
}

static void commit_refused(struct pipeline *p, const struct job *job,
                           const char *error)
{
    if (job->isolate || job->chunk.n > 1) {
        halve(p, job);
        log_warning("batch refused", "frames=%u next=%u error=%s", job->chunk.n,
                    p->most, error);
        return;
    }
    log_error("frame refused by the database", "position=%lld error=%s",
              (long long)job->from, error);
    snprintf(p->refused, sizeof p->refused, "%s", error);
    p->isolate = true;
    p->most = 1;
}

static void commit_done(void *arg, const struct store_result *r)
{
    struct job *job = arg;
    struct pipeline *p = job->pipeline;

    if (r->err == 0) {
        commit_good(p, job, r);
    } else {
        p->stats.errors++;
        if (r->err == ERR_DATABASE) {
            commit_refused(p, job, r->error);
        } else {
            halve(p, job);
            log_warning("batch not stored", "frames=%u next=%u err=%s error=%s",
                        job->chunk.n, p->most, err_name(r->err), r->error);
        }
        start_over(p);
    }
    if (r->err == ERR_AWAY)
        job->state = JOB_UNSURE;
    else
        job_reset(job);
    if (r->err == ERR_AWAY || (r->err == ERR_DATABASE && p->isolate))
        ticker_start(p->retry, RETRY_MS, 0);
    else
        pump(p);
}

static void commit_start(struct pipeline *p, struct job *job)
{
    job->state = JOB_COMMITTING;
    p->commit_began = clock_mono(p->o.clock);
    store_write(p->writer, job->batch, journal_number(p->journal), job->from,
                job->to, commit_done, job);
}

/* ---- the cursor ---- */

static struct job *job_in(struct pipeline *p, enum job_state state)
{
    for (int i = 0; i < 2; i++)
        if (p->jobs[i].state == state)
            return &p->jobs[i];
    return NULL;
}

static void backlog_known(void *arg, int err)
{
    struct pipeline *p = arg;

    p->asking = false;
    if (err < 0) {
        log_error("journal backlog not counted", "err=%s", err_name(err));
        p->stored = -1;
        ticker_start(p->retry, RETRY_MS, 0);
        return;
    }
    p->booked = p->prepared;
    log_info("journal resumes", "stored=%lld end=%lld pending=%lld",
             (long long)p->booked, (long long)journal_end(p->journal),
             (long long)ledger_pending(p->o.books));
    p->o.counted(p->o.arg);
    p->o.stored(p->o.arg);
    pump(p);
}

/* Goes on from there. Where somebody else has moved the cursor, what is
 * pending is counted anew. */
static void cursor_take(struct pipeline *p, int64_t cursor)
{
    p->stored = p->prepared = cursor;
    journal_release(p->journal, cursor);
    if (cursor == p->booked) {
        p->o.stored(p->o.arg);
        pump(p);
        return;
    }
    p->asking = true;
    backlog_count(p->loop, p->journal, p->o.books, cursor,
                  journal_end(p->journal), backlog_known, p);
}

static void on_fates(void *arg, const struct store_result *r)
{
    struct job *job = arg;
    struct pipeline *p = job->pipeline;

    p->asking = false;
    if (r->err) {
        ticker_start(p->retry, RETRY_MS, 0);
        return;
    }
    commit_good(p, job, r);
    job_reset(job);
    cursor_take(p, p->stored);
}

static void ask_fates(struct pipeline *p, struct job *job)
{
    int journal = journal_number(p->journal);
    struct store_range range = {journal,
                                job->to,
                                frame_id(journal, job->from),
                                frame_id(journal, job->to),
                                INT64_MAX,
                                INT64_MIN};

    for (uint32_t i = 0; i < job->chunk.n; i++) {
        int64_t us = job->items[i].frame.received_us;
        range.first_us = us < range.first_us ? us : range.first_us;
        range.last_us = us > range.last_us ? us : range.last_us;
    }
    p->asking = true;
    store_fates(p->writer, &range, on_fates, job);
}

static void on_cursor(void *arg, int err, int64_t cursor)
{
    struct pipeline *p = arg;
    struct job *unsure = job_in(p, JOB_UNSURE);
    int64_t first = journal_first(p->journal);

    p->asking = false;
    if (err < 0) {
        log_error("journal cursor not read", "journal=%d err=%s",
                  journal_number(p->journal), err_name(err));
        ticker_start(p->retry, RETRY_MS, 0);
        return;
    }
    if (unsure && unsure->to == cursor) {
        ask_fates(p, unsure);
        return;
    }
    if (unsure)
        job_reset(unsure);
    if (cursor < first)
        log_error("journal begins behind the cursor",
                  "cursor=%lld first=%lld lost_bytes=%lld", (long long)cursor,
                  (long long)first, (long long)(first - cursor));
    cursor_take(p, cursor);
}

/* ---- what to do next ---- */

static void stop_finish(struct pipeline *p);

static void pump(struct pipeline *p)
{
    if (p->stopping) {
        if (!p->asking && !job_in(p, JOB_PREPARING) &&
            !job_in(p, JOB_COMMITTING))
            stop_finish(p);
        return;
    }
    if (!p->started || p->asking)
        return;
    if (p->stored < 0) {
        if (store_writer_ready(p->writer) && !job_in(p, JOB_PREPARING)) {
            p->asking = true;
            store_cursor(p->writer, journal_number(p->journal), on_cursor, p);
        }
        return;
    }
    struct job *ready = job_in(p, JOB_READY);
    if (ready && store_writer_ready(p->writer))
        commit_start(p, ready);
    struct job *idle = job_in(p, JOB_IDLE);
    if (idle && !job_in(p, JOB_PREPARING) && !job_in(p, JOB_READY) &&
        p->prepared < journal_end(p->journal))
        job_start(p, idle);
}

static void on_durable(void *arg)
{
    pump(arg);
}

static void on_retry(void *arg)
{
    pump(arg);
}

static void on_writer_up(void *arg)
{
    struct pipeline *p = arg;
    start_over(p);
    pump(p);
}

static void on_writer_down(void *arg)
{
    struct pipeline *p = arg;
    start_over(p);
}

struct pipeline *pipeline_new(uv_loop_t *loop, struct journal *j,
                              struct directory *d,
                              const struct pipeline_options *o)
{
    struct pipeline *p = mem_alloc(sizeof *p);
    p->loop = loop;
    p->journal = j;
    p->directory = d;
    p->o = *o;
    p->stored = p->prepared = p->booked = -1;
    p->most = o->batch_frames;
    for (int i = 0; i < 2; i++) {
        struct job *job = &p->jobs[i];
        job->pipeline = p;
        job->keep = arena_new(KEEP_MAX);
        job->scratch = arena_new(SCRATCH_MAX);
        job->batch = store_batch_new();
    }
    p->retry = ticker_new(loop, on_retry, p);
    p->writer = store_writer_new(
        loop, &o->store,
        &(struct store_writer_events){on_writer_up, on_writer_down, p});
    journal_on_durable(j, on_durable, p);
    return p;
}

void pipeline_start(struct pipeline *p)
{
    p->started = true;
    pump(p);
}

static void writer_closed(void *arg)
{
    struct pipeline *p = arg;
    p->stopped(p->stopped_arg);
}

static void stop_finish(struct pipeline *p)
{
    struct store_writer *w = p->writer;
    p->writer = NULL;
    if (w)
        store_writer_close(w, writer_closed, p);
}

void pipeline_stop(struct pipeline *p, void (*done)(void *), void *arg)
{
    p->stopping = true;
    p->stopped = done;
    p->stopped_arg = arg;
    journal_on_durable(p->journal, NULL, NULL);
    ticker_stop(p->retry);
    pump(p);
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    ticker_free(p->retry);
    for (int i = 0; i < 2; i++) {
        struct job *job = &p->jobs[i];
        journal_chunk_done(&job->chunk);
        free(job->items);
        arena_free(job->keep);
        arena_free(job->scratch);
        store_batch_free(job->batch);
    }
    free(p);
}

void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret)
{
    *ret = p->stats;
    ret->cursor = p->stored;
    ret->resolved = p->stored < 0 ? -1 : p->prepared;
}
