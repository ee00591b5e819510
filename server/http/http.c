/*
 * http.c - the server: one libmicrohttpd daemon without threads, run by the
 * libuv loop. Its epoll descriptor is polled, its timeouts are a timer, and
 * whoever resumes a connection wakes it. Limits: connections and their waiting
 * (lines.c), silence, 32 KiB for the headers of a request; over the latter
 * libmicrohttpd itself answers 414 or 431.
 */
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/http/lines.h"
#include "server/http/request.h"
#include "server/http/secure.h"
#include "server/loop/loop.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const size_t header_pool = 32 * 1024; /* bytes per connection */
/* Connections that libmicrohttpd accepts before those that were cut are gone.
 */
enum { SPARE = 64, FLUSH_MS = 1000 };

struct http {
    struct MHD_Daemon *daemon; /* NULL once stopped */
    uv_loop_t *loop;
    uv_poll_t poll;
    struct ticker *timer; /* libmicrohttpd's next timeout, or a wake-up */
    struct ticker *grace, *expire;
    struct lines *lines;
    struct nets proxies;
    char *client_header;
    struct secure *secure; /* NULL: plain HTTP */
    struct route *routes, **routes_end;
    struct http_request *requests; /* that a connection still holds */
    int64_t body_max;
    int port;
    unsigned connections;
    int handled; /* requests whose handler was called, not yet over */
    bool woken, stopping, running;
    void (*stopped)(void *);
    void *stopped_arg;
};

static void finish(struct http *h);

/* A connection that ends makes room, but libmicrohttpd (0.9.75) listens again
 * only when it is run the next time. */
static void notice_room(struct http *h)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    if (info->num_connections < h->connections)
        h->woken = true;
    h->connections = info->num_connections;
}

/* Lets libmicrohttpd do what there is, then sleeps until its next timeout. */
static void turn(void *arg)
{
    struct http *h = arg;
    MHD_UNSIGNED_LONG_LONG ms = 0;

    h->woken = false;
    h->running = true;
    MHD_run(h->daemon);
    h->running = false;
    notice_room(h);
    if (h->stopping && h->handled == 0)
        finish(h);
    else if (h->woken || MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        ticker_start(h->timer, h->woken ? 0 : ms, 0);
    else
        ticker_stop(h->timer);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    turn(poll->data);
}

void http_wake(struct http *h)
{
    h->woken = true;
    if (!h->running)
        ticker_start(h->timer, 0, 0);
}

bool http_stopping(const struct http *h)
{
    return h->stopping;
}

int64_t http_body_max(const struct http *h)
{
    return h->body_max;
}

const struct route *http_routes(const struct http *h)
{
    return h->routes;
}

void http_count_handled(struct http_request *r, int change)
{
    r->http->handled += change;
    lines_answering(r->connection, change);
}

const struct nets *http_proxies(const struct http *h)
{
    return &h->proxies;
}

bool http_is_tls(const struct http *h)
{
    return h->secure != NULL;
}

const char *http_client_header(const struct http *h)
{
    return h->client_header;
}

static int fd_of(struct MHD_Connection *c)
{
    return MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)
        ->connect_fd;
}

const struct tls_client *http_tls_client(const struct http *h,
                                         struct MHD_Connection *c)
{
    static const struct tls_client nobody;

    return h->secure ? secure_client(h->secure, fd_of(c)) : &nobody;
}

void http_reset(struct http *h, struct MHD_Connection *c)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

    if (h->secure)
        secure_break(h->secure, fd_of(c));
    else if (connect(fd_of(c), &nowhere, sizeof nowhere) < 0)
        log_debug("reset failed", "err=%s", uv_err_name(-errno));
}

void http_reload(struct http *h)
{
    if (h->secure)
        secure_reload(h->secure);
}

static void on_expire(void *arg)
{
    struct http *h = arg;

    ticker_start(h->expire, (uint64_t)lines_expire(h->lines) / 1000 + 1, 0);
}

/* The first word of a request: its target, before anything is decoded. */
static void *on_target(void *arg, const char *raw, struct MHD_Connection *c)
{
    struct http *h = arg;
    struct http_request *r = request_new(h, c, raw);

    r->next = h->requests;
    if (r->next)
        r->next->prev = r;
    h->requests = r;
    return r;
}

static enum MHD_Result on_step(void *arg, struct MHD_Connection *c,
                               const char *url, const char *method,
                               const char *version, const char *data,
                               size_t *size, void **request)
{
    (void)arg;
    (void)c;
    (void)url;
    (void)version;
    return request_step(*request, method, data, size);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct http *h = arg;
    struct http_request *r = *request;

    (void)c;
    (void)how;
    if (!r)
        return;
    *request = NULL;
    if (r->prev)
        r->prev->next = r->next;
    else
        h->requests = r->next;
    if (r->next)
        r->next->prev = r->prev;
    request_gone(r);
}

static void on_log(void *arg, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
static void on_log(void *arg, const char *fmt, va_list args)
{
    char text[256];

    (void)arg;
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("libmicrohttpd", "text=\"%s\"", text);
}

/* "127.0.0.1:8080", "[::1]:0". */
static int parse_address(const char *listen, struct sockaddr_storage *ret)
{
    const char *colon = strrchr(listen, ':');
    char host[64], *end;
    size_t n = colon ? (size_t)(colon - listen) : 0;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;

    if (n == 0 || n >= sizeof host || port < 0 || port > 65535 ||
        colon[1] < '0' || colon[1] > '9' || *end)
        return ERR_FORMAT;
    memcpy(host, listen, n);
    host[n] = '\0';
    if (host[0] != '[')
        return uv_ip4_addr(host, (int)port, (void *)ret) ? ERR_FORMAT : 0;
    if (host[n - 1] != ']')
        return ERR_FORMAT;
    host[n - 1] = '\0';
    return uv_ip6_addr(host + 1, (int)port, (void *)ret) ? ERR_FORMAT : 0;
}

static int open_listener(const char *listen_at, int *ret, int *port)
{
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    const int on = 1;
    int fd, r = parse_address(listen_at, &at);

    if (r < 0)
        return r;
    fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (void *)&at, sizeof at) < 0 || listen(fd, 511) < 0 ||
        getsockname(fd, (void *)&at, &len) < 0) {
        r = uv_translate_sys_error(errno);
        close(fd);
        return r;
    }
    *port =
        ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                       : ((struct sockaddr_in *)&at)->sin_port);
    *ret = fd;
    return 0;
}

/* libmicrohttpd accepts by itself on `fd`; -1: it is given what secure.c has
 * made ready. */
static int start_daemon(struct http *h, const struct http_options *o, int fd)
{
    unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem listen[] = {{MHD_OPTION_LISTEN_SOCKET, fd, NULL},
                                      {MHD_OPTION_END, 0, NULL}};

    if (fd < 0) {
        flags |= MHD_USE_NO_LISTEN_SOCKET;
        listen[0] = listen[1];
    }
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_step, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h,
        MHD_OPTION_ARRAY, listen, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)o->connections + SPARE, MHD_OPTION_NOTIFY_CONNECTION,
        lines_notify, h->lines, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)o->idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, header_pool,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_target,
        h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_END);
    return h->daemon ? 0 : UV_ENOMEM;
}

static void on_ready(void *arg, int fd, const struct sockaddr *from)
{
    struct http *h = arg;
    socklen_t n = from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                              : sizeof(struct sockaddr_in);

    if (!h->daemon)
        close(fd);
    else if (MHD_add_connection(h->daemon, fd, from, n) == MHD_YES)
        http_wake(h);
}

/* `fd` is taken over, whatever comes of it. */
static int start_secure(struct http *h, const struct http_options *o, int fd)
{
    const struct secure_options so = {.loop = h->loop,
                                      .cert = o->tls_cert,
                                      .key = o->tls_key,
                                      .ca = o->tls_ca,
                                      .most = o->connections,
                                      .idle_us = o->idle_s * US_PER_S,
                                      .ready = on_ready,
                                      .arg = h};

    return secure_new(&so, fd, &h->secure);
}

static void free_parts(struct http *h)
{
    secure_free(h->secure);
    lines_free(h->lines);
    free(h->client_header);
    free(h);
}

int http_listen(uv_loop_t *loop, const struct http_options *o,
                struct http **ret)
{
    struct http *h = mem_alloc(sizeof *h);
    bool tls = o->tls_cert && *o->tls_cert;
    int fd = -1, r;

    h->loop = loop;
    h->body_max = o->body_max;
    h->routes_end = &h->routes;
    h->proxies = o->proxies;
    h->client_header = mem_strdup(o->client_header ? o->client_header : "");
    h->lines = lines_new(&clock_system, o->connections, o->idle_s * US_PER_S);
    r = open_listener(o->listen, &fd, &h->port);
    if (r == 0 && tls)
        r = start_secure(h, o, fd);
    if (r == 0)
        r = start_daemon(h, o, tls ? -1 : fd);
    if (r < 0) {
        free_parts(h);
        return r;
    }
    r = uv_poll_init(
        loop, &h->poll,
        MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    assert(r == 0); /* a new descriptor */
    h->poll.data = h;
    uv_poll_start(&h->poll, UV_READABLE, on_poll);
    h->timer = ticker_new(loop, turn, h);
    h->expire = ticker_new(loop, on_expire, h);
    on_expire(h);
    *ret = h;
    return 0;
}

int http_port(const struct http *h)
{
    return h->port;
}

void http_route(struct http *h, const char *method, const char *pattern,
                http_handler_fn *fn, void *arg)
{
    struct route *route = mem_alloc(sizeof *route);

    *route = (struct route){NULL, method, pattern, fn, arg};
    *h->routes_end = route;
    h->routes_end = &route->next;
}

static void on_secure_stopped(void *arg)
{
    struct http *h = arg;

    h->stopped(h->stopped_arg);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct http *h = handle->data;

    if (h->secure)
        secure_stop(h->secure, FLUSH_MS, on_secure_stopped, h);
    else
        h->stopped(h->stopped_arg);
}

/* Ends every connection. libmicrohttpd must not be stopped while one sleeps,
 * so those are woken first; their handlers' answers then go nowhere. */
static void finish(struct http *h)
{
    struct MHD_Daemon *daemon = h->daemon;

    h->running = true; /* nothing is to start the timer again */
    for (struct http_request *r = h->requests; r; r = r->next)
        request_abandon(r);
    ticker_free(h->timer);
    ticker_free(h->expire);
    ticker_free(h->grace);
    h->timer = h->grace = NULL;
    uv_poll_stop(&h->poll);
    h->daemon = NULL;
    MHD_stop_daemon(daemon);
    uv_close((uv_handle_t *)&h->poll, on_poll_closed);
}

static void on_grace_over(void *arg)
{
    struct http *h = arg;

    log_warning("http requests cut off", "requests=%d", h->handled);
    finish(h);
}

void http_stop(struct http *h, uint64_t grace_ms, void (*done)(void *),
               void *arg)
{
    int fd = h->secure ? -1 : MHD_quiesce_daemon(h->daemon);

    if (h->secure)
        secure_quiet(h->secure);
    if (fd >= 0)
        close(fd);
    h->stopping = true;
    h->stopped = done;
    h->stopped_arg = arg;
    h->grace = ticker_new(h->loop, on_grace_over, h);
    ticker_start(h->grace, grace_ms, 0);
    http_wake(h);
}

void http_free(struct http *h)
{
    if (!h)
        return;
    while (h->routes) {
        struct route *next = h->routes->next;

        free(h->routes);
        h->routes = next;
    }
    free_parts(h);
}
