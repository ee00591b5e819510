/*
 * gate.c - gate_run -> (line) -> start -> (pool) work -> finished -> done.
 */
#include "server/api/gate.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

enum { AT_ONCE = 2, LINE = 64, ADDRESSES = 1024, WRONG_MOST = 20 };
static const int64_t window_us = 300 * US_PER_S;

/* Guesses of the addresses that fall into one slot. */
struct guesser {
    int64_t since_us;
    int wrong;
};

struct login_gate {
    int running, waiting;
    struct password_job *first, **last;
    struct guesser guessers[ADDRESSES];
};

struct login_gate *login_gate_new(void)
{
    struct login_gate *g = mem_alloc(sizeof *g);

    g->last = &g->first;
    return g;
}

void login_gate_free(struct login_gate *g)
{
    free(g);
}

static struct guesser *guesser_of(struct call *c)
{
    struct guesser *w =
        &c->api->gate
             ->guessers[crc32c(0, c->address, strlen(c->address)) % ADDRESSES];
    int64_t now = clock_mono(c->api->deps.clock);

    if (now - w->since_us > window_us)
        *w = (struct guesser){.since_us = now};
    return w;
}

void gate_wrong(struct call *c)
{
    guesser_of(c)->wrong++;
}

static void too_many(struct call *c, int seconds, const char *why)
{
    char text[16];

    snprintf(text, sizeof text, "%d", seconds);
    http_set_header(c->r, "Retry-After", text);
    http_problem(c->r, 429, NULL, "%s", why);
}

static int work(void *arg)
{
    struct password_job *j = arg;

    j->good = j->given.n == 0 || password_verify(j->stored, j->given);
    if (j->good && j->fresh.n)
        j->err = password_hash(j->fresh, j->hash);
    return 0;
}

static void start(struct login_gate *g);

static void finished(void *arg, int result)
{
    struct password_job *j = arg;
    struct login_gate *g = j->call->api->gate;

    (void)result;
    g->running--;
    j->done(j);
    start(g);
}

static void start(struct login_gate *g)
{
    while (g->first && g->running < AT_ONCE) {
        struct password_job *j = g->first;
        g->first = j->next;
        if (!g->first)
            g->last = &g->first;
        g->waiting--;
        g->running++;
        offload(j->call->api->deps.loop, work, finished, j);
    }
}

bool gate_allows(struct call *c)
{
    if (guesser_of(c)->wrong < WRONG_MOST)
        return true;
    too_many(c, 300, "Too many wrong passwords came from this address.");
    return false;
}

void gate_run(struct password_job *j)
{
    struct login_gate *g = j->call->api->gate;

    if (j->given.n && !gate_allows(j->call))
        return;
    if (g->waiting >= LINE) {
        too_many(j->call, 5, "Too many people sign in at this moment.");
        return;
    }
    j->next = NULL;
    *g->last = j;
    g->last = &j->next;
    g->waiting++;
    start(g);
}
