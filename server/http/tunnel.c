/*
 * tunnel.c - see tunnel.h: one connection.
 *   greets -> moved ... -> opens -> (client_read -> server | server_read ->
 *   client) ... -> says the end -> leaves -> closed
 * Neither side is read while the other has not taken what came before, so that
 * a slow one costs one block of memory and not more.
 */
#include "server/http/tunnel.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

static void set_state(struct tunnel *t, enum tunnel_state next)
{
    t->all->unserved += (next == LEAVING || next == GREETING) -
                        (t->state == LEAVING || t->state == GREETING);
    t->state = next;
    t->since_us = clock_mono(&clock_system);
}

static void closed(uv_handle_t *handle)
{
    struct tunnel *t = handle->data;

    if (--t->handles == 0)
        tunnel_gone(t);
}

static void forget_fd(struct tunnel *t)
{
    if (t->fd >= 0)
        HASH_DEL(t->all->by_fd, t);
    t->fd = -1;
}

static void let_go(struct tunnel *t)
{
    set_state(t, CLOSED);
    forget_fd(t);
    greeting_free(t->greeting);
    t->greeting = NULL;
    tls_free(t->tls);
    t->tls = NULL;
    if (t->handles == 2 && !uv_is_closing((uv_handle_t *)&t->server))
        uv_close((uv_handle_t *)&t->server, closed);
}

void tunnel_close(struct tunnel *t)
{
    if (t->state == CLOSED)
        return;
    let_go(t);
    uv_close((uv_handle_t *)&t->client, closed);
}

void tunnel_break(struct tunnel *t)
{
    if (t->state == CLOSED)
        return;
    let_go(t);
    if (uv_tcp_close_reset(&t->client, closed) < 0)
        uv_close((uv_handle_t *)&t->client, closed);
}

/* ---- sending ---- */

struct block {
    uv_write_t req;
    struct tunnel *t;
    struct buf data;
};

static void read_on(struct tunnel *t);

static void written(uv_write_t *req, int status)
{
    struct block *b = (struct block *)req;
    struct tunnel *t = b->t;
    bool client = req->handle == (uv_stream_t *)&t->client;

    buf_done(&b->data);
    free(b);
    if (status < 0 && client)
        tunnel_close(t);
    else if (status < 0)
        t->deaf = true;
    else
        read_on(t);
}

/* Takes what is in `out`; what the system does not, waits. */
static int put(struct tunnel *t, uv_stream_t *to, struct buf *out)
{
    uv_buf_t all = uv_buf_init((char *)out->p, (unsigned)out->n), rest;
    int r = out->n ? uv_try_write(to, &all, 1) : 0;
    struct block *b;

    if (r < 0 && r != UV_EAGAIN)
        return r;
    if (r == (int)out->n) {
        buf_done(out);
        return 0;
    }
    b = mem_alloc(sizeof *b);
    b->t = t;
    b->data = *out;
    *out = (struct buf){0};
    r = r > 0 ? r : 0;
    rest =
        uv_buf_init((char *)b->data.p + r, (unsigned)b->data.n - (unsigned)r);
    r = uv_write(&b->req, to, &rest, 1, written);
    if (r < 0) {
        buf_done(&b->data);
        free(b);
    }
    return r;
}

static bool is_taken(const void *stream)
{
    return uv_stream_get_write_queue_size(stream) == 0;
}

/* ---- the end ---- */

static void drop(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0)
        tunnel_close(s->data);
}

static void alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    struct tunnel *t = handle->data;

    (void)size;
    *ret = uv_buf_init(t->all->scratch, sizeof t->all->scratch);
}

static void shut(uv_shutdown_t *req, int status)
{
    struct tunnel *t = req->handle->data;
    bool client = req->handle == (uv_stream_t *)&t->client;

    free(req);
    if (!client || t->state != LEAVING)
        return;
    if (status < 0 || t->all->stopping ||
        uv_read_start((uv_stream_t *)&t->client, alloc, drop) < 0)
        tunnel_close(t);
}

static void half_close(struct tunnel *t, void *stream)
{
    uv_shutdown_t *req = mem_alloc(sizeof *req);

    if (uv_shutdown(req, stream, shut) == 0)
        return;
    free(req);
    tunnel_close(t);
}

/* libmicrohttpd has closed, and all that it said is read. Closing at once over
 * bytes that nobody reads would reset the line, and the end would be lost. */
static void leave(struct tunnel *t)
{
    tls_say_end(t->tls);
    if (put(t, (uv_stream_t *)&t->client, tls_out(t->tls)) < 0) {
        tunnel_close(t);
        return;
    }
    set_state(t, LEAVING);
    forget_fd(t);
    uv_read_stop((uv_stream_t *)&t->client);
    uv_close((uv_handle_t *)&t->server, closed);
    half_close(t, &t->client);
}

/* ---- carrying ---- */

/* From here on the client is not heard: it has ended, or libmicrohttpd has, who
 * may still have something to say. */
static void hear_no_more(struct tunnel *t)
{
    t->deaf = true;
    uv_read_stop((uv_stream_t *)&t->client);
}

static void from_client(struct tunnel *t, struct str in)
{
    struct secure *all = t->all;
    struct buf plain = {0};
    int r;

    while ((r = tls_read(t->tls, &in, all->plain, sizeof all->plain)) > 0)
        buf_put(&plain, all->plain, (size_t)r);
    if ((r < 0 && r != ERR_AWAY) ||
        put(t, (uv_stream_t *)&t->client, tls_out(t->tls)) < 0) {
        tunnel_close(t);
    } else if (put(t, (uv_stream_t *)&t->server, &plain) < 0) {
        hear_no_more(t);
    } else if (r == ERR_AWAY) {
        hear_no_more(t);
        half_close(t, &t->server);
    } else if (!is_taken(&t->server)) {
        uv_read_stop((uv_stream_t *)&t->client);
    }
    buf_done(&plain);
}

static void client_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct tunnel *t = s->data;

    if (t->state == GREETING && n > 0) {
        greeting_feed(t->greeting, (struct str){buf->base, (size_t)n});
        if (!greeting_wants_bytes(t->greeting))
            uv_read_stop(s);
    } else if (t->state == OPEN && n > 0) {
        from_client(t, (struct str){buf->base, (size_t)n});
    } else if (t->state == OPEN && n == UV_EOF) {
        hear_no_more(t);
        half_close(t, &t->server);
    } else if (n < 0) {
        tunnel_close(t);
    }
}

static void server_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct tunnel *t = s->data;

    if (n < 0)
        leave(t);
    else if (n > 0 &&
             (tls_write(t->tls, (struct str){buf->base, (size_t)n}) < 0 ||
              put(t, (uv_stream_t *)&t->client, tls_out(t->tls)) < 0))
        tunnel_close(t);
    else if (!is_taken(&t->client))
        uv_read_stop(s);
}

/* Whichever side may be read again. */
static void read_on(struct tunnel *t)
{
    if (t->state != OPEN)
        return;
    if (is_taken(&t->client))
        uv_read_start((uv_stream_t *)&t->server, alloc, server_read);
    if (is_taken(&t->server) && !t->deaf)
        uv_read_start((uv_stream_t *)&t->client, alloc, client_read);
}

/* ---- the beginning ---- */

static void fail(struct tunnel *t)
{
    static struct log_limit limit;
    int n = greeting_silent(t->greeting) ? 0 : log_allowed(&limit);
    struct buf *out = greeting_out(t->greeting);
    uv_buf_t alert = uv_buf_init((char *)out->p, (unsigned)out->n);

    if (n)
        log_warning("https connection refused", "reason=\"%s\" more=%d",
                    greeting_why(t->greeting), n - 1);
    if (alert.len)
        uv_try_write((uv_stream_t *)&t->client, &alert, 1);
    tunnel_close(t);
}

static int pair(struct tunnel *t, int *fd)
{
    int two[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   two) < 0)
        return uv_translate_sys_error(errno);
    r = uv_pipe_open(&t->server, two[0]);
    if (r < 0) {
        close(two[0]);
        close(two[1]);
        return r;
    }
    *fd = two[1];
    return 0;
}

static void remember_fd(struct tunnel *t, int fd)
{
    struct tunnel *stale;

    HASH_FIND_INT(t->all->by_fd, &fd, stale);
    if (stale) /* its end is not yet read; the number is another's now */
        forget_fd(stale);
    t->fd = fd;
    HASH_ADD_INT(t->all->by_fd, fd, t);
}

static void open_up(struct tunnel *t)
{
    struct secure *all = t->all;
    struct sockaddr_storage from = {0};
    int n = sizeof from, fd;
    struct buf rest = {0};

    if (uv_tcp_getpeername(&t->client, (struct sockaddr *)&from, &n) < 0 ||
        pair(t, &fd) < 0) {
        tunnel_close(t);
        return;
    }
    t->tls = greeting_tls(t->greeting);
    tls_client(t->tls, &t->who);
    buf_str(&rest, greeting_rest(t->greeting));
    greeting_free(t->greeting);
    t->greeting = NULL;
    set_state(t, OPEN);
    remember_fd(t, fd);
    all->o.ready(all->o.arg, fd, (struct sockaddr *)&from);
    read_on(t);
    if (rest.n)
        from_client(t, buf_view(&rest));
    buf_done(&rest);
}

static void moved(void *arg)
{
    struct tunnel *t = arg;
    struct greeting *h = t->greeting;

    if (greeting_state(h) == GREETING_FAILED) {
        fail(t);
        return;
    }
    if (put(t, (uv_stream_t *)&t->client, greeting_out(h)) < 0)
        tunnel_close(t);
    else if (greeting_state(h) == GREETING_DONE)
        open_up(t);
    else if (greeting_wants_bytes(h))
        uv_read_start((uv_stream_t *)&t->client, alloc, client_read);
}

void tunnel_start(struct tunnel *t, struct tls_context *tls)
{
    t->greeting = greeting_new(t->all->greeter, tls, false, moved, t);
    uv_tcp_nodelay(&t->client, 1);
    if (uv_read_start((uv_stream_t *)&t->client, alloc, client_read) < 0)
        tunnel_close(t);
}
