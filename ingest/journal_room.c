/*
 * journal_room.c - where records will lie: room that is spoken for, the next
 * segment (made ahead, on the pool), and segments that are released (retired
 * on the pool, kept as spare ones).
 */
#include "ingest/journal_inside.h"
#include "server/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    AHEAD_PART = 4, /* the next segment is made when 1/4 is used ... */
    AHEAD_PAUSE_US = 1000000, /* ... and tried again so long after a failure */
};

/* -- room ------------------------------------------------------------------ */

/* Segments that can still be had: the next, spare ones, new ones. */
static int64_t segments_to_be_had(const struct journal *j)
{
    int64_t more = j->quota / j->dir.segment_size - j->files;
    bool next = j->next.fd >= 0 || j->preparing;

    return next + (int64_t)j->spares + (more > 0 ? more : 0);
}

bool tail_take(struct journal *j, int64_t space)
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

void tail_reset(struct journal *j)
{
    const struct batch *batches[] = {&j->flushing, &j->filling};

    j->tail_ahead = 0;
    j->tail_room =
        j->current.fd < 0 ? 0 : segment_limit(j->current.size) - j->offset;
    for (int b = 0; b < 2; b++)
        for (uint32_t i = batches[b]->at; i < batches[b]->n; i++)
            tail_take(j, batches[b]->list[i].space);
}

void full_set(struct journal *j, bool full)
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

void full_maybe_over(struct journal *j)
{
    if (j->stats.full && segments_to_be_had(j) > j->tail_ahead)
        full_set(j, false);
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
        journal_complain(j, "journal segment not made", r);
        j->files--; /* a spare one that failed is gone, too */
        j->ahead_us = clock_mono(j->clock) + AHEAD_PAUSE_US;
        if (!j->busy && j->current.fd < 0) {
            journal_report(j, batch_left(&j->flushing), r);
            tail_reset(j);
        }
    }
    journal_flush(j);
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

void prepare_ahead(struct journal *j)
{
    if (j->next.fd < 0 && !j->preparing &&
        j->offset > j->dir.segment_size / AHEAD_PART &&
        clock_mono(j->clock) >= j->ahead_us)
        prepare_start(j);
}

bool next_take(struct journal *j)
{
    if (j->next.fd < 0) {
        if (!j->preparing && !prepare_start(j)) {
            journal_report(j, batch_left(&j->flushing), ERR_FULL);
            tail_reset(j);
            journal_flush_soon(j);
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
        journal_complain(j, "journal segments not released", r);
    j->spares += j->release.spares;
    j->files -= j->release.gone;
    full_maybe_over(j);
    release_start(j);
    journal_flush(j);
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
    if (j->busy || j->preparing || j->next.fd >= 0 ||
        batch_left(&j->flushing) + batch_left(&j->filling) > 0)
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
