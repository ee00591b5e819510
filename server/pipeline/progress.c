/*
 * progress.c - looks every few seconds. A backlog is more than BACKLOG bytes at
 * two looks in a row; it is over when little more than a batch is left.
 */
#include "server/pipeline/progress.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>

enum { LOOK_MS = 3000, BACKLOG = 16 << 20, REST = 2 << 20 };

struct progress {
    const struct journal *journal;
    const struct pipeline *pipeline;
    const struct ledger *books;
    struct ticker *look;
    int64_t at_us, cursor, end; /* at the last look; cursor -1: not known */
    int64_t began_us, from, to; /* the backlog that is being drained, at first:
                                   cursor and end */
    bool above, draining;
    struct progress_stats stats;
};

/* From the mean since it began: batches are large beside one look. */
static int64_t seconds_left(const struct progress *g, int64_t now)
{
    int64_t s = (now - g->began_us) / US_PER_S, left = g->end - g->cursor;
    int64_t net = (g->cursor - g->from) - (g->end - g->to);

    return s > 0 && net > 0 ? (int64_t)((double)left * (double)s / (double)net)
                            : -1;
}

static void tell(struct progress *g, int64_t now, int64_t left)
{
    const struct progress_stats *s = &g->stats;
    int64_t done = g->cursor - g->from;

    if (left < REST) {
        g->draining = g->above = false;
        log_info("caught up", "bytes=%lld seconds=%lld", (long long)done,
                 (long long)((now - g->began_us) / US_PER_S));
        return;
    }
    log_info("catching up",
             "stored=%lld of=%lld frames_left=%lld bytes_per_s=%lld"
             " arriving_per_s=%lld seconds_left=%lld",
             (long long)done, (long long)(done + left),
             (long long)ledger_pending(g->books), (long long)s->bytes_s,
             (long long)s->arriving_s, (long long)s->left_s);
}

/* One look at how far it has come since the last. */
static void take(struct progress *g, int64_t now, int64_t cursor, int64_t end)
{
    int64_t us = now - g->at_us, left = end - cursor;
    bool known = g->cursor >= 0 && cursor >= g->cursor && us > 0;

    g->stats = (struct progress_stats){0};
    if (known) {
        g->stats.bytes_s = (cursor - g->cursor) * US_PER_S / us;
        g->stats.arriving_s = (end - g->end) * US_PER_S / us;
    }
    g->at_us = now;
    g->cursor = cursor;
    g->end = end;
    if (!g->draining && !g->above) {
        g->began_us = now;
        g->from = cursor;
        g->to = end;
    }
    g->draining |= g->above && left >= BACKLOG;
    g->above = left >= BACKLOG;
    if (!g->draining)
        return;
    g->stats.left_s = seconds_left(g, now);
    tell(g, now, left);
}

void progress_look(struct progress *g)
{
    struct pipeline_stats p;

    pipeline_stats(g->pipeline, &p);
    if (p.cursor < 0) { /* no database: nothing moves */
        g->cursor = -1;
        g->draining = g->above = false;
        g->stats = (struct progress_stats){.left_s = -1};
        return;
    }
    take(g, clock_mono(journal_clock(g->journal)), p.cursor,
         journal_end(g->journal));
}

static void on_look(void *arg)
{
    progress_look(arg);
}

struct progress *progress_new(uv_loop_t *loop, const struct journal *j,
                              const struct pipeline *p,
                              const struct ledger *books)
{
    struct progress *g = mem_alloc(sizeof *g);

    *g = (struct progress){
        .journal = j, .pipeline = p, .books = books, .cursor = -1};
    g->look = ticker_new(loop, on_look, g);
    ticker_start(g->look, LOOK_MS, LOOK_MS);
    return g;
}

void progress_free(struct progress *g)
{
    if (!g)
        return;
    ticker_free(g->look);
    free(g);
}

void progress_stats(const struct progress *g, struct progress_stats *ret)
{
    *ret = g->stats;
}
