/*
 * run.c - which frames of a batch go on where the one before of their meter
 * ended. The row of a meter's last frame tells the length of its run, those
 * before it 0, so that SQL has one row for each meter and counts nothing.
 */
#include "server/base/mem.h"
#include "server/store/batch_rows.h"
#include "server/store/copy.h"
#include <endian.h>
#include <stdlib.h>

/* Larger ones are no counters (migrations/0008_counters). */
static const int64_t counter_limit = 1LL << 48;

static bool counts(const struct staged_frame *r)
{
    return r->meter_id && r->counter >= 0 && r->counter < counter_limit &&
           r->fate != FATE_REJECTED;
}

/* Behind the field's length. */
static void patch(struct buf *o, size_t at, int32_t n)
{
    uint32_t be = htobe32((uint32_t)n);

    memcpy(o->p + at + sizeof be, &be, sizeof be);
}

static void go_on(struct counter_run *run, const struct staged_frame *r)
{
    bool next = run->session == r->session && r->counter == run->last + 1 &&
                r->heard_us >= run->heard_us;

    run->n = run->n > 0 && next ? run->n + 1 : -1;
    run->last = r->counter;
    run->heard_us = r->heard_us;
}

void run_put(struct store_batch *b, const struct staged_frame *r)
{
    struct buf *o = &b->frames;
    int64_t meter = (int64_t)r->frame->tenant_id << 32 | r->meter_id;
    struct counter_run *run;

    if (!counts(r)) {
        copy_null(o);
        copy_null(o);
        return;
    }
    HASH_FIND(hh, b->runs, &meter, sizeof meter, run);
    if (run) {
        patch(o, run->at, 0);
        go_on(run, r);
    } else {
        run = mem_alloc(sizeof *run);
        *run = (struct counter_run){.meter = meter,
                                    .session = r->session,
                                    .last = r->counter,
                                    .since_us = r->heard_us,
                                    .heard_us = r->heard_us,
                                    .n = 1};
        HASH_ADD(hh, b->runs, meter, sizeof run->meter, run);
    }
    run->at = o->n;
    copy_int4(o, run->n);
    copy_time(o, run->since_us);
}

void runs_clear(struct store_batch *b)
{
    struct counter_run *run, *next;

    HASH_ITER (hh, b->runs, run, next) {
        HASH_DEL(b->runs, run);
        free(run);
    }
}
