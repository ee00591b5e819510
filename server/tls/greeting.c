/*
 * greeting.c - see greeting.h.
 *
 *   feed -> look: PROXY header off -> first byte of TLS seen -> queued ->
 *   step on the pool -> stepped -> (more is needed) look ...  | done, failed
 *
 * While a step is on the pool, its TLS and its bytes are the pool's alone.
 */
#include "server/tls/greeting.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/tls/proxy.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    IN_MAX = 32 * 1024,  /* bytes waiting for the next step */
    TLS_HANDSHAKE = 0x16 /* RFC 8446 5.1: how a ClientHello begins */
};

struct greeting {
    struct greeter *all;
    struct greeting *prev, *next; /* of all, oldest first */
    struct greeting *next_queued;
    void (*moved)(void *arg); /* NULL: freed while on the pool */
    void *arg;
    enum greeting_state state;
    const char *why;
    bool proxied; /* a PROXY header is still expected */
    bool secure, spoke;
    bool queued, busy;
    struct tls_context *context;
    struct tls *tls;
    struct buf in, stepping;
    size_t used; /* of stepping */
    struct buf out;
    char peer[PROXY_PEER];
};

struct greeter {
    uv_loop_t *loop;
    struct greeting *list, *queue, **queue_end;
    int64_t open;
    unsigned busy, most_busy;
    bool freed;
};

struct greeter *greeter_new(uv_loop_t *loop)
{
    struct greeter *g = mem_alloc(sizeof *g);
    unsigned cores = uv_available_parallelism();

    g->loop = loop;
    g->queue_end = &g->queue;
    /* The pool also syncs the journal: leave it threads and cores. */
    g->most_busy = cores > 3 ? cores / 2 : 1;
    if (g->most_busy > 8)
        g->most_busy = 8;
    return g;
}

void greeter_free(struct greeter *g)
{
    g->freed = true;
    if (g->busy == 0)
        free(g);
}

int64_t greeter_open(const struct greeter *g)
{
    return g->open;
}

void *greeter_idlest(const struct greeter *g)
{
    for (const struct greeting *h = g->list; h; h = h->next)
        if (!h->busy && !h->queued)
            return h->arg;
    return NULL;
}

static void greeting_end(struct greeting *h)
{
    tls_free(h->tls);
    tls_context_free(h->context);
    buf_done(&h->in);
    buf_done(&h->stepping);
    buf_done(&h->out);
    free(h);
}

static void fail(struct greeting *h, const char *why)
{
    h->state = GREETING_FAILED;
    h->why = why;
}

/* ---- on the pool ---- */

static void queue_run(struct greeter *g);

static int step(void *arg)
{
    struct greeting *h = arg;
    struct str in = buf_view(&h->stepping);
    int r;

    if (!h->tls)
        h->tls = tls_new(h->context);
    r = tls_handshake(h->tls, &in);
    h->used = h->stepping.n - in.n;
    return r;
}

static void look(struct greeting *h);

/* What the step has used up goes; what came meanwhile stays behind it. */
static void take_back(struct greeting *h)
{
    struct buf rest = {0};

    buf_put(&rest, h->stepping.p + h->used, h->stepping.n - h->used);
    buf_str(&rest, buf_view(&h->in));
    buf_done(&h->stepping);
    buf_done(&h->in);
    h->in = rest;
}

static void stepped(void *arg, int result)
{
    struct greeting *h = arg;
    struct greeter *g = h->all;

    h->busy = false;
    g->busy--;
    if (h->moved) {
        take_back(h);
        buf_str(&h->out, buf_view(tls_out(h->tls)));
        buf_done(tls_out(h->tls));
        if (result == 1)
            h->state = GREETING_DONE;
        else if (result < 0)
            fail(h,
                 result == ERR_AWAY ? "the client gave up" : tls_why(h->tls));
        else if (h->in.n > 0)
            look(h);
        h->moved(h->arg);
    } else {
        greeting_end(h);
    }
    queue_run(g);
    if (g->freed && g->busy == 0)
        free(g);
}

static void queue_run(struct greeter *g)
{
    struct greeting *h;

    while (g->busy < g->most_busy && (h = g->queue)) {
        g->queue = h->next_queued;
        if (!g->queue)
            g->queue_end = &g->queue;
        h->queued = false;
        h->busy = true;
        g->busy++;
        h->stepping = h->in;
        h->in = (struct buf){0};
        offload(g->loop, step, stepped, h);
    }
}

static void queue_add(struct greeting *h)
{
    struct greeter *g = h->all;

    if (h->queued || h->busy)
        return;
    h->queued = true;
    h->next_queued = NULL;
    *g->queue_end = h;
    g->queue_end = &h->next_queued;
    queue_run(g);
}

static void queue_drop(struct greeting *h)
{
    struct greeter *g = h->all;
    struct greeting **p = &g->queue;

    if (!h->queued)
        return;
    h->queued = false;
    while (*p != h)
        p = &(*p)->next_queued;
    *p = h->next_queued;
    while (*p)
        p = &(*p)->next_queued;
    g->queue_end = p;
}

/* ---- on the loop ---- */

static bool take_proxy(struct greeting *h)
{
    struct proxy found;
    int n = proxy_parse(buf_view(&h->in), &found);

    if (n < 0)
        fail(h, "no PROXY header of version 2");
    if (n <= 0)
        return false;
    memcpy(h->peer, found.peer, sizeof h->peer);
    h->in.n -= (size_t)n;
    memmove(h->in.p, h->in.p + n, h->in.n);
    h->proxied = false;
    return true;
}

static void look(struct greeting *h)
{
    if (h->proxied && !take_proxy(h))
        return;
    if (!h->secure)
        h->state = GREETING_DONE;
    else if (h->in.n == 0)
        return;
    else if (!h->tls && !h->busy && h->in.p[0] != TLS_HANDSHAKE)
        fail(h, "not TLS: plain text or another protocol");
    else
        queue_add(h);
}

struct greeting *greeting_new(struct greeter *g, struct tls_context *tls,
                              bool proxied, void (*moved)(void *arg), void *arg)
{
    struct greeting *h = mem_alloc(sizeof *h);

    h->all = g;
    h->moved = moved;
    h->arg = arg;
    h->proxied = proxied;
    h->secure = tls != NULL;
    h->context = tls_context_ref(tls);
    DL_APPEND(g->list, h);
    g->open++;
    return h;
}

void greeting_free(struct greeting *h)
{
    if (!h)
        return;
    DL_DELETE(h->all->list, h);
    h->all->open--;
    queue_drop(h);
    h->moved = NULL;
    if (!h->busy)
        greeting_end(h);
}

void greeting_feed(struct greeting *h, struct str bytes)
{
    h->spoke = true;
    if (h->state == GREETING_FAILED)
        return;
    buf_str(&h->in, bytes);
    if (h->state == GREETING_GOES_ON)
        look(h);
}

bool greeting_wants_bytes(const struct greeting *h)
{
    return h->state == GREETING_GOES_ON && h->in.n < IN_MAX;
}

struct buf *greeting_out(struct greeting *h)
{
    return &h->out;
}

enum greeting_state greeting_state(const struct greeting *h)
{
    return h->state;
}

const char *greeting_why(const struct greeting *h)
{
    return h->why;
}

struct tls *greeting_tls(struct greeting *h)
{
    struct tls *t = h->tls;

    h->tls = NULL;
    return t;
}

struct str greeting_rest(const struct greeting *h)
{
    return buf_view(&h->in);
}

const char *greeting_peer(const struct greeting *h)
{
    return h->peer;
}

bool greeting_silent(const struct greeting *h)
{
    return !h->spoke;
}
