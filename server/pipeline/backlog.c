/*
 * backlog.c - backlog_count -> (pool) count_work -> count_done.
 */
#include "server/pipeline/backlog.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>

enum { CHUNK_BYTES = 8 << 20, CHUNK_RECORDS = 100000 };

struct tally {
    int32_t tenant_id;
    int64_t frames;
    UT_hash_handle hh;
};

struct backlog {
    const struct journal *journal;
    struct ledger *books;
    int64_t from, until;
    struct tally *tallies;
    void (*done)(void *arg, int err);
    void *arg;
};

/* What cannot be read becomes one frame of the platform (stage_parse). */
static void count_record(struct backlog *b, const struct journal_record *rec)
{
    struct frame f = {.tenant_id = TENANT_PLATFORM, .count = 1};
    struct tally *t = NULL;

    if (!rec->damaged)
        frame_decode(rec->bytes, &f);
    HASH_FIND(hh, b->tallies, &f.tenant_id, sizeof f.tenant_id, t); /* NOLINT */
    if (!t) {
        t = mem_alloc(sizeof *t);
        t->tenant_id = f.tenant_id;
        HASH_ADD(hh, b->tallies, tenant_id, sizeof t->tenant_id, t);
    }
    t->frames += f.count;
}

static int count_work(void *arg)
{
    struct backlog *b = arg;
    struct journal_chunk chunk = {0};
    int r = 0;

    for (int64_t at = b->from; at < b->until && r >= 0; at = chunk.next) {
        r = journal_read(b->journal, at, b->until, CHUNK_BYTES, CHUNK_RECORDS,
                         &chunk);
        if (r < 0 || chunk.next <= at)
            break;
        for (uint32_t i = 0; i < chunk.n; i++)
            count_record(b, &chunk.records[i]);
    }
    journal_chunk_done(&chunk);
    return r < 0 ? r : 0;
}

static void count_done(void *arg, int err)
{
    struct backlog *b = arg;
    struct tally *t, *next;

    t = b->tallies;
    HASH_CLEAR(hh, b->tallies);
    for (; t; t = next) {
        next = t->hh.next;
        if (err == 0)
            ledger_backlog(b->books, t->tenant_id, t->frames);
        free(t);
    }
    if (err == 0)
        ledger_counted(b->books);
    b->done(b->arg, err);
    free(b);
}

void backlog_count(uv_loop_t *loop, const struct journal *j,
                   struct ledger *books, int64_t from, int64_t until,
                   void (*done)(void *arg, int err), void *arg)
{
    struct backlog *b = mem_alloc(sizeof *b);

    *b = (struct backlog){j, books, from, until, NULL, done, arg};
    ledger_mark(books);
    offload(loop, count_work, count_done, b);
}
