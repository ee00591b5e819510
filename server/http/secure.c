/*
 * secure.c - see secure.h: the listener, and how long and how many may greet
 * and leave. Those in between are libmicrohttpd's (lines.h).
 */
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/http/tunnel.h"
#include "server/loop/loop.h"

#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum { BACKLOG = 511, SWEEP_MS = 500 };

static void settled(void *arg)
{
    (void)arg; /* the next connection has it */
}

/* ---- accepting ---- */

/* Where too many greet or leave, the one that keeps us waiting longest goes. */
static bool has_room(struct secure *s)
{
    struct tunnel *oldest = greeter_idlest(s->greeter), *t;

    if (s->unserved < s->o.most)
        return true;
    DL_FOREACH(s->tunnels, t)
    if (t->state == LEAVING) {
        oldest = t;
        break;
    }
    if (oldest)
        tunnel_close(oldest);
    return oldest != NULL;
}

static struct tunnel *tunnel_new(struct secure *s)
{
    struct tunnel *t = mem_alloc(sizeof *t);

    t->all = s;
    t->fd = -1;
    t->handles = 2;
    uv_tcp_init(s->o.loop, &t->client);
    uv_pipe_init(s->o.loop, &t->server, 0);
    t->client.data = t->server.data = t;
    t->since_us = clock_mono(&clock_system);
    s->unserved++;
    DL_APPEND(s->tunnels, t);
    return t;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct secure *s = listener->data;
    struct tunnel *t;

    s->waiting = status == 0 && !has_room(s);
    if (status < 0 || s->waiting || s->quiet)
        return;
    t = tunnel_new(s);
    if (uv_accept(listener, (uv_stream_t *)&t->client) < 0)
        tunnel_close(t);
    else
        tunnel_start(t, certificate_context(s->certificate));
}

/* ---- the slow ones ---- */

static bool is_slow(struct tunnel *t, int64_t now)
{
    size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)&t->client);

    if (t->state == OPEN && (unsent == 0 || unsent != t->unsent))
        t->since_us = now;
    t->unsent = unsent;
    return now - t->since_us > (t->state == LEAVING && unsent == 0
                                    ? LINGER_S * US_PER_S
                                    : t->all->o.idle_us);
}

static void on_sweep(void *arg)
{
    struct secure *s = arg;
    int64_t now = clock_mono(&clock_system);
    struct tunnel *t, *next;

    DL_FOREACH_SAFE(s->tunnels, t, next)
    if (t->state == OPEN && is_slow(t, now))
        tunnel_break(t);
    else if (t->state != CLOSED &&
             (is_slow(t, now) || (s->stopping && now > s->stop_us)))
        tunnel_close(t);
    if (s->waiting)
        on_connection((uv_stream_t *)&s->listener, 0);
}

/* ---- the whole ---- */

int secure_new(const struct secure_options *o, int fd, struct secure **ret)
{
    struct secure *s = mem_alloc(sizeof *s);
    int r;

    s->o = *o;
    s->certificate = certificate_new(
        o->loop, &(struct tls_files){o->cert, o->key, o->ca, true}, settled, s);
    r = certificate_load_now(s->certificate) < 0 ? ERR_UNSUPPORTED : 0;
    if (r < 0) {
        close(fd);
        certificate_free(s->certificate);
        free(s);
        return r;
    }
    s->greeter = greeter_new(o->loop);
    uv_tcp_init(o->loop, &s->listener);
    s->listener.data = s;
    s->listening = true;
    uv_tcp_open(&s->listener, fd);
    uv_listen((uv_stream_t *)&s->listener, BACKLOG, on_connection);
    s->sweep = ticker_new(o->loop, on_sweep, s);
    ticker_start(s->sweep, SWEEP_MS, SWEEP_MS);
    *ret = s;
    return 0;
}

void secure_reload(struct secure *s)
{
    certificate_load(s->certificate);
}

const struct tls_client *secure_client(const struct secure *s, int fd)
{
    static const struct tls_client nobody;
    const struct tunnel *t;

    HASH_FIND_INT(s->by_fd, &fd, t);
    return t ? &t->who : &nobody;
}

void secure_break(struct secure *s, int fd)
{
    struct tunnel *t;

    HASH_FIND_INT(s->by_fd, &fd, t);
    if (t)
        tunnel_break(t);
}

static void check_stop(struct secure *s)
{
    if (!s->stopping || s->tunnels || s->listening || !s->sweep)
        return;
    ticker_free(s->sweep);
    s->sweep = NULL;
    greeter_free(s->greeter);
    s->done(s->done_arg);
}

void tunnel_gone(struct tunnel *t)
{
    struct secure *s = t->all;

    DL_DELETE(s->tunnels, t);
    free(t);
    if (s->waiting)
        on_connection((uv_stream_t *)&s->listener, 0);
    check_stop(s);
}

static void on_quiet(uv_handle_t *handle)
{
    struct secure *s = handle->data;

    s->listening = false;
    check_stop(s);
}

void secure_quiet(struct secure *s)
{
    if (!s->quiet)
        uv_close((uv_handle_t *)&s->listener, on_quiet);
    s->quiet = true;
    s->waiting = false;
}

void secure_stop(struct secure *s, uint64_t ms, void (*done)(void *), void *arg)
{
    struct tunnel *t, *next;

    secure_quiet(s);
    s->stopping = true;
    s->stop_us = clock_mono(&clock_system) + (int64_t)ms * 1000;
    s->done = done;
    s->done_arg = arg;
    DL_FOREACH_SAFE(s->tunnels, t, next)
    if (t->state != OPEN)
        tunnel_close(t);
    check_stop(s);
}

void secure_free(struct secure *s)
{
    if (!s)
        return;
    certificate_free(s->certificate);
    free(s);
}
