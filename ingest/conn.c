/*
 * conn.c - see conn.h: one connection.
 *
 * A connection is settled once per loop turn, just before the loop waits:
 * whatever happened to its session in that turn (bytes, answers of the
 * journal, timers) only marks it; conn_settle then sends, pauses or resumes
 * reading, sets the timer, hangs up. So one write carries all replies of a
 * turn, and no callback of a session ever frees it.
 *
 * The end: replies are out -> half-close -> read and drop until the meter
 * closes or the linger is over -> close. (Closing over unread bytes would
 * reset the connection, and the last reply could be lost.)
 */
#include "ingest/line.h"
#include "ingest/socket.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

void conn_mark(void *arg)
{
    struct conn *c = arg;
    struct conns *all = c->all;

    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = all->dirty;
    all->dirty = c;
}

static void conn_unmark(struct conn *c)
{
    struct conn **p = &c->all->dirty;

    for (; c->dirty && *p; p = &(*p)->next_dirty)
        if (*p == c) {
            *p = c->next_dirty;
            c->dirty = false;
            return;
        }
}

int64_t conn_rtt_us(void *arg)
{
    const struct conn *c = arg;

    return socket_rtt_us(&c->handle);
}

static void conn_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    void (*gone)(void *arg) = c->gone;
    void *arg = c->gone_arg;

    DL_DELETE(c->all->list, c);
    free(c);
    gone(arg);
}

static void conn_unclaim(struct conn *c)
{
    if (c->claimed)
        HASH_DEL(c->all->by_meter, c);
    c->claimed = false;
}

static void conn_greeted(struct conn *c)
{
    c->all->has_room = c->greeting != NULL || c->all->has_room;
    greeting_free(c->greeting);
    c->greeting = NULL;
}

void conn_close(struct conn *c)
{
    if (c->state == CLOSING)
        return;
    c->state = CLOSING;
    conn_unclaim(c);
    conn_unmark(c);
    conn_greeted(c);
    tls_free(c->tls);
    c->tls = NULL;
    heo_session_free(c->session);
    c->session = NULL;
    ticker_free(c->ticker);
    c->all->open--;
    uv_close((uv_handle_t *)&c->handle, conn_closed);
}

/* One live session per meter: behind a NAT the older one may be dead without
 * anybody having been told. */
static void conn_claim(struct conn *c)
{
    struct conns *all = c->all;
    struct conn *older;
    int32_t tenant, meter;

    if (c->meter || !heo_session_meter(c->session, &tenant, &meter))
        return;
    c->meter = (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
    HASH_FIND(hh, all->by_meter, &c->meter, sizeof c->meter, older);
    if (older) {
        log_info("session replaced", "tenant=%d meter=%d", tenant, meter);
        conn_unclaim(older);
        heo_session_end(older->session, "replaced");
        conn_mark(older);
    }
    c->claimed = true;
    HASH_ADD(hh, all->by_meter, meter, sizeof c->meter, c);
}

struct write {
    uv_write_t req;
    struct buf data;
};

static void on_written(uv_write_t *req, int status)
{
    struct write *w = (struct write *)req;
    struct conn *c = req->data;

    buf_done(&w->data);
    free(w);
    if (status < 0)
        conn_close(c);
    else if (c->state == OPEN)
        conn_mark(c); /* may read again */
}

static int conn_send(struct conn *c, struct buf *out)
{
    uv_stream_t *stream = (uv_stream_t *)&c->handle;
    uv_buf_t b = uv_buf_init((char *)out->p, (unsigned)out->n);
    int r = uv_try_write(stream, &b, 1);
    struct write *w;

    if (r < 0 && r != UV_EAGAIN)
        return r;
    if (r == (int)out->n) {
        buf_done(out);
        return 0;
    }
    w = mem_alloc(sizeof *w);
    w->req.data = c;
    w->data = *out;
    *out = (struct buf){0};
    r = r > 0 ? r : 0;
    b = uv_buf_init((char *)w->data.p + r, (unsigned)(w->data.n - (size_t)r));
    r = uv_write(&w->req, stream, &b, 1, on_written);
    if (r < 0) {
        buf_done(&w->data);
        free(w);
    }
    return r;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    struct conn *c = handle->data;

    (void)size;
    *ret = uv_buf_init(c->all->scratch, READ_MAX);
}

static void conn_read(struct conn *c, bool on);

/* The line breaks its protocol: what OpenSSL has to say about it, then closed.
 * Who connected and said nothing is a port scan or a health check. */
void conn_fail(struct conn *c, const char *why)
{
    static struct log_limit limit;
    struct buf *out = c->greeting ? greeting_out(c->greeting) : tls_out(c->tls);
    bool silent = c->greeting && greeting_silent(c->greeting);
    uv_buf_t b = uv_buf_init((char *)out->p, (unsigned)out->n);
    char peer[SOCKET_PEER] = "";
    int n = silent ? 0 : log_allowed(&limit);

    socket_peer(&c->handle, peer, NULL);
    if (n)
        log_warning(c->greeting ? "connection refused" : "connection broken",
                    "tenant=%d integration=%d peer=%s reason=%s more=%d",
                    c->host->tenant_id, c->host->integration_id, peer, why,
                    n - 1);
    c->all->greetings_failed += c->greeting && !silent;
    if (b.len > 0)
        uv_try_write((uv_stream_t *)&c->handle, &b, 1);
    conn_close(c);
}

static void conn_take(struct conn *c, struct str in)
{
    struct conns *all = c->all;
    int r;

    if (!c->tls) {
        heo_session_feed(c->session, in);
        return;
    }
    while ((r = tls_read(c->tls, &in, all->plain, sizeof all->plain)) > 0)
        heo_session_feed(c->session, (struct str){all->plain, (size_t)r});
    if (r == ERR_AWAY)
        heo_session_eof(c->session);
    else if (r < 0)
        conn_fail(c, tls_why(c->tls));
}

static bool conn_wants_bytes(const struct conn *c)
{
    return c->greeting ? greeting_wants_bytes(c->greeting)
                       : heo_session_wants_bytes(c->session);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = stream->data;

    if (c->state == LEAVING && n >= 0)
        return;
    if (n < 0 && (n != UV_EOF || c->state == LEAVING)) {
        conn_close(c);
        return;
    }
    if (c->greeting && n == UV_EOF)
        conn_fail(c, "the client left");
    else if (c->greeting)
        greeting_feed(c->greeting, (struct str){buf->base, (size_t)n});
    else if (n == UV_EOF)
        heo_session_eof(c->session);
    else if (n > 0)
        conn_take(c, (struct str){buf->base, (size_t)n});
    if (c->state != OPEN)
        return;
    if (!conn_wants_bytes(c))
        conn_read(c, false); /* libuv goes on within this turn otherwise */
    conn_mark(c);
}

static void conn_read(struct conn *c, bool on)
{
    if (on == c->reading)
        return;
    c->reading = on;
    if (!on)
        uv_read_stop((uv_stream_t *)&c->handle);
    else if (uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read) < 0)
        conn_close(c);
}

void conn_ticker(void *arg)
{
    struct conn *c = arg;

    if (c->state == LEAVING) {
        conn_close(c);
        return;
    }
    if (c->greeting) {
        conn_fail(c, "it took too long to greet");
        return;
    }
    c->due_us = INT64_MAX;
    heo_session_run(c->session);
    conn_mark(c);
}

static void conn_arm(struct conn *c)
{
    int64_t due = heo_session_due(c->session), left;

    if (due >= c->due_us) /* it rings too early at worst, and asks again */
        return;
    c->due_us = due;
    left = due - clock_mono(c->all->o->clock);
    ticker_start(c->ticker, left > 0 ? (uint64_t)(left + 999) / 1000 : 0, 0);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *c = req->data;

    free(req);
    if (status < 0)
        conn_close(c);
    else if (c->state == LEAVING)
        conn_read(c, true); /* to see it close */
}

static void conn_leave(struct conn *c)
{
    uv_shutdown_t *req = mem_alloc(sizeof *req);

    c->state = LEAVING;
    conn_unclaim(c);
    req->data = c;
    conn_read(c, false);
    ticker_start(c->ticker, (uint64_t)c->all->o->tcp_linger_ms, 0);
    if (uv_shutdown(req, (uv_stream_t *)&c->handle, on_shutdown) < 0) {
        free(req);
        conn_close(c);
    }
}

/* What the session has to say, as the line wants it. */
static int conn_speak(struct conn *c)
{
    struct buf *out = heo_session_out(c->session);
    int r = 0;

    if (c->tls) {
        r = tls_write(c->tls, buf_view(out));
        buf_done(out);
        if (heo_session_ended(c->session))
            tls_say_end(c->tls);
        out = tls_out(c->tls);
    }
    return r == 0 && out->n > 0 ? conn_send(c, out) : r;
}

/* From here on there is a session; `peer` is who the balancer says it is. */
static void conn_open(struct conn *c, const char *peer)
{
    char own[SOCKET_PEER];

    if (socket_peer(&c->handle, own, NULL) < 0) {
        conn_close(c); /* gone already */
        return;
    }
    c->session = heo_session_new(c->host, str_of(*peer ? peer : own), c);
    conn_mark(c);
}

static void conn_greet(struct conn *c)
{
    struct greeting *h = c->greeting;
    struct buf rest = {0};

    if (greeting_state(h) == GREETING_FAILED) {
        conn_fail(c, greeting_why(h));
        return;
    }
    if (greeting_out(h)->n > 0 && conn_send(c, greeting_out(h)) < 0) {
        conn_close(c);
        return;
    }
    if (greeting_state(h) == GREETING_GOES_ON) {
        c->all->has_room = true; /* it may have to make room, off the pool */
        conn_read(c, greeting_wants_bytes(h));
        return;
    }
    c->tls = greeting_tls(h);
    c->all->secured += c->tls != NULL;
    buf_str(&rest, greeting_rest(h));
    conn_open(c, greeting_peer(h));
    conn_greeted(c);
    if (c->state == OPEN && rest.n > 0)
        conn_take(c, buf_view(&rest));
    buf_done(&rest);
}

void conn_settle(struct conn *c)
{
    size_t queued;

    if (c->state == OPEN && c->greeting)
        conn_greet(c);
    if (c->state != OPEN || c->greeting)
        return;
    conn_claim(c);
    if (conn_speak(c) < 0) {
        conn_close(c);
        return;
    }
    if (heo_session_ended(c->session)) {
        conn_leave(c);
        return;
    }
    queued = uv_stream_get_write_queue_size((uv_stream_t *)&c->handle);
    conn_arm(c);
    conn_read(c, queued < UNSENT_MAX && heo_session_wants_bytes(c->session));
}

void conn_start(struct conn *c, struct tls_context *tls)
{
    struct conns *all = c->all;
    struct sockaddr_storage a = {0};
    char peer[SOCKET_PEER];
    bool proxied;

    if (socket_peer(&c->handle, peer, &a) < 0 || socket_tune(&c->handle) < 0) {
        conn_close(c); /* gone already */
        return;
    }
    proxied = nets_has(&all->o->tcp_proxies, (const struct sockaddr *)&a);
    if (!tls && !proxied) {
        conn_open(c, peer);
        return;
    }
    c->greeting = greeting_new(all->greeter, tls, proxied, conn_mark, c);
    ticker_start(c->ticker, (uint64_t)all->o->tcp_greeting_ms, 0);
    conn_mark(c);
}
