/*
 * tcp.c - see tcp.h. Listeners, one per integration; conn.c does the rest.
 *
 * A listener lives until its last connection is gone: add -> (certificate
 * read) -> bind (both tried again every few seconds while they fail) -> leave
 * -> gone.
 */
#include "ingest/tcp.h"
#include "ingest/admit.h"
#include "ingest/conn.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/tls/certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    BACKLOG = 1024,
    ARENA_MAX = 32 * 1024 * 1024,
    REBIND_MS = 3000,
    STOP_MS = 2000,
};

struct listener {
    struct tcp *t;
    struct listener *prev, *next;
    uv_tcp_t handle;
    bool has_handle; /* in the hands of libuv, bound or closing */
    bool bound, leaving;
    bool reported; /* that it cannot be bound */
    bool waiting;  /* a connection is there that there was no room for */
    int32_t id;    /* of the integration; 0, INGEST_SHARED_TLS */
    struct certificate *certificate; /* NULL: without TLS */
    char *url;
    int64_t revision;
    int64_t conns;
    struct door *door;
    struct heo_host host;
};

struct tcp {
    uv_loop_t *loop;
    struct journal *journal;
    struct directory *directory;
    struct ingest_options o;
    struct arena *arena;
    struct heo_counts counts;
    struct conns *conns; /* NULL once stopped */
    struct ticker *rebind, *deadline;
    struct listener *listeners; /* also those that are leaving */
    bool stopping;
    void (*done)(void *arg);
    void *done_arg;
};

static void listeners_bind(void *arg);
static void on_room(void *arg);

struct tcp *tcp_new(uv_loop_t *loop, struct journal *j, struct directory *d,
                    const struct ingest_options *o)
{
    struct tcp *t = mem_alloc(sizeof *t);

    t->loop = loop;
    t->journal = j;
    t->directory = d;
    t->o = *o;
    if (t->o.tcp_line_max > FRAME_PAYLOAD_MAX)
        t->o.tcp_line_max = FRAME_PAYLOAD_MAX;
    t->arena = arena_new(ARENA_MAX);
    t->conns = conns_new(loop, &t->o, on_room, t);
    t->rebind = ticker_new(loop, listeners_bind, t);
    return t;
}

void tcp_free(struct tcp *t)
{
    if (!t)
        return;
    arena_free(t->arena);
    free(t);
}

/* ---- what sessions ask for ---- */

static int journal_frame(void *arg, const struct frame *f,
                         journal_done_fn *done, void *done_arg)
{
    struct listener *l = arg;

    return admit_frame(l->t->journal, f, done, done_arg);
}

static void reject_frame(void *arg, const struct frame *f)
{
    struct listener *l = arg;

    admit_reject(l->door, f, NULL, NULL);
}

/* ---- listeners ---- */

static bool is_secure(const char *url)
{
    return strncmp(url, "tls://", 6) == 0;
}

/* "tcp://address:port", "tls://..." or "address:port"; [..] around IPv6; no
 * address: all. */
static int parse_url(const char *url, struct sockaddr_storage *ret)
{
    bool scheme = strncmp(url, "tcp://", 6) == 0 || is_secure(url);
    const char *rest = scheme ? url + 6 : url;
    const char *colon = strrchr(rest, ':');
    char host[INET6_ADDRSTRLEN] = "", *end;
    size_t n = colon ? (size_t)(colon - rest) : 0;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;

    if (port < 0 || port > 65535 || end == colon + 1 || *end)
        return ERR_FORMAT;
    if (n >= 2 && rest[0] == '[' && rest[n - 1] == ']')
        rest++, n -= 2;
    if (n >= sizeof host)
        return ERR_FORMAT;
    memcpy(host, rest, n);
    if (strchr(host, ':'))
        return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret);
    return uv_ip4_addr(n ? host : "0.0.0.0", (int)port,
                       (struct sockaddr_in *)ret);
}

static void stop_check(struct tcp *t)
{
    if (!t->stopping || t->listeners || !t->conns)
        return;
    conns_free(t->conns, t->done, t->done_arg);
    t->conns = NULL;
    ticker_free(t->rebind);
    ticker_free(t->deadline);
}

/* Frees a listener that leaves, once nothing of it is left. */
static void listener_check(struct listener *l)
{
    struct tcp *t = l->t;

    if (!l->leaving || l->has_handle || l->conns > 0)
        return;
    DL_DELETE(t->listeners, l);
    door_free(l->door);
    certificate_free(l->certificate);
    free(l->url);
    free(l);
    stop_check(t);
}

static void listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    l->has_handle = false;
    listener_check(l);
}

static void conn_gone(void *arg)
{
    struct listener *l = arg;

    l->conns--;
    listener_check(l);
}

static void on_connection(uv_stream_t *server, int status)
{
    static struct log_limit limit;
    struct listener *l = server->data;
    int n;

    if (status == 0 && (l->certificate || l->t->o.tcp_proxies.n > 0) &&
        !conns_have_room(l->t->conns)) {
        l->waiting = true; /* libuv asks no more before it is accepted */
        return;
    }
    if (status == 0) {
        l->conns++;
        conns_accept(l->t->conns, server, &l->host,
                     l->certificate ? certificate_context(l->certificate)
                                    : NULL,
                     conn_gone, l);
        return;
    }
    n = log_allowed(&limit);
    if (n)
        log_warning("cannot accept", "integration=%d err=%s more=%d",
                    l->host.integration_id, err_name(status), n - 1);
}

static void on_room(void *arg)
{
    struct tcp *t = arg;
    struct listener *l;

    for (l = t->listeners; l; l = l->next)
        if (l->waiting && l->bound) {
            l->waiting = false;
            on_connection((uv_stream_t *)&l->handle, 0);
        }
}

static int listener_try(struct listener *l)
{
    struct sockaddr_storage a = {0};
    int r = parse_url(l->url, &a);

    if (r < 0)
        return r;
    r = uv_tcp_init(l->t->loop, &l->handle);
    if (r < 0)
        return r;
    l->handle.data = l;
    l->has_handle = true;
    r = uv_tcp_bind(&l->handle, (struct sockaddr *)&a, 0);
    if (r == 0)
        r = uv_listen((uv_stream_t *)&l->handle, BACKLOG, on_connection);
    l->bound = r == 0;
    if (r < 0)
        uv_close((uv_handle_t *)&l->handle, listener_closed);
    return r;
}

static void listener_bind(struct listener *l)
{
    int r;

    if (l->certificate && !certificate_context(l->certificate)) {
        certificate_load(l->certificate); /* and then here again */
        return;
    }
    r = listener_try(l);
    if (r == 0)
        log_info("listening", "url=%s port=%d tenant=%d integration=%d", l->url,
                 tcp_port(l->t, l->id), l->host.tenant_id,
                 l->host.integration_id);
    else if (!l->reported)
        log_error("cannot listen, will keep trying",
                  "url=%s tenant=%d integration=%d err=%s", l->url,
                  l->host.tenant_id, l->host.integration_id, err_name(r));
    l->reported = r < 0;
}

static void listeners_bind(void *arg)
{
    struct tcp *t = arg;
    struct listener *l;

    for (l = t->listeners; l; l = l->next)
        if (!l->leaving && !l->has_handle)
            listener_bind(l);
}

/* Bound only with a certificate to show. */
static void on_certificate(void *arg)
{
    struct listener *l = arg;

    if (!l->leaving && !l->has_handle && certificate_context(l->certificate))
        listener_bind(l);
}

static void listener_add(struct tcp *t, const struct integration *i)
{
    struct listener *l = mem_alloc(sizeof *l);

    l->t = t;
    l->url = mem_strdup(i->url);
    l->revision = i->revision;
    l->door = door_new(t->loop, t->journal, t->o.clock);
    l->id = i->integration_id;
    if (is_secure(l->url))
        l->certificate = certificate_new(
            t->loop,
            &(struct tls_files){
                .cert = i->cert_file ? i->cert_file : t->o.tcp_tls_cert,
                .key = i->key_file ? i->key_file : t->o.tcp_tls_key,
                .ca = i->ca_file ? i->ca_file : t->o.tcp_tls_ca},
            on_certificate, l);
    l->host = (struct heo_host){
        .o = &t->o,
        .directory = t->directory,
        .arena = t->arena,
        .counts = &t->counts,
        .tenant_id = i->tenant_id,
        .integration_id = l->id > 0 ? l->id : 0,
        .arg = l,
        .journal = journal_frame,
        .reject = reject_frame,
        .quotas = directory_quotas(t->directory),
        .changed = conn_mark,
        .rtt_us = conn_rtt_us,
    };
    DL_APPEND(t->listeners, l);
}

/* Stops listening and ends the sessions. */
static void listener_leave(struct listener *l)
{
    l->leaving = true;
    if (l->bound)
        uv_close((uv_handle_t *)&l->handle, listener_closed);
    l->bound = false;
    conns_end(l->t->conns, &l->host);
    listener_check(l);
}

static struct listener *listener_find(const struct tcp *t, int32_t id)
{
    struct listener *l;

    for (l = t->listeners; l; l = l->next)
        if (!l->leaving && l->id == id)
            return l;
    return NULL;
}

static void listener_shared(struct tcp *t, int32_t id, const char *scheme,
                            const char *address)
{
    char url[300];
    struct integration i = {.tenant_id = TENANT_PLATFORM,
                            .integration_id = id,
                            .kind = INTEGRATION_HEO,
                            .enabled = true,
                            .url = url};

    if (!address || !*address || listener_find(t, id))
        return;
    snprintf(url, sizeof url, "%s%s", scheme, address);
    listener_add(t, &i);
}

static bool wanted(const struct integration *i)
{
    return i->kind == INTEGRATION_HEO && i->enabled && i->url;
}

static bool still_wanted(const struct listener *l,
                         const struct integration *list, uint32_t n)
{
    if (l->id <= 0)
        return true;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].integration_id == l->id)
            return wanted(&list[i]) && list[i].revision == l->revision;
    return false;
}

void tcp_apply(struct tcp *t, const struct integration *list, uint32_t n)
{
    struct listener *l, *next;

    if (t->stopping)
        return;
    for (l = t->listeners; l; l = next) {
        next = l->next;
        if (!l->leaving && !still_wanted(l, list, n))
            listener_leave(l);
    }
    listener_shared(t, 0, "tcp://", t->o.tcp_listen);
    listener_shared(t, INGEST_SHARED_TLS, "tls://", t->o.tcp_tls_listen);
    for (uint32_t i = 0; i < n; i++)
        if (wanted(&list[i]) && !listener_find(t, list[i].integration_id))
            listener_add(t, &list[i]);
    listeners_bind(t);
    ticker_start(t->rebind, REBIND_MS, REBIND_MS);
}

void tcp_reload(struct tcp *t)
{
    struct listener *l;

    for (l = t->listeners; l; l = l->next)
        if (!l->leaving && l->certificate)
            certificate_load(l->certificate);
}

static void stop_hard(void *arg)
{
    struct tcp *t = arg;

    conns_close(t->conns);
}

void tcp_stop(struct tcp *t, void (*done)(void *), void *arg)
{
    struct listener *l, *next;

    t->stopping = true;
    t->done = done;
    t->done_arg = arg;
    ticker_stop(t->rebind);
    t->deadline = ticker_new(t->loop, stop_hard, t);
    ticker_start(t->deadline, STOP_MS, 0);
    for (l = t->listeners; l; l = next) {
        next = l->next;
        if (!l->leaving)
            listener_leave(l);
    }
    stop_check(t);
}

void tcp_stats(const struct tcp *t, struct ingest_stats *s)
{
    const struct listener *l;

    s->frames[1] += t->counts.frames;
    s->rejected[1] += t->counts.rejected;
    s->acked[1] += t->counts.acked;
    if (t->conns)
        conns_stats(t->conns, s);
    for (l = t->listeners; l; l = l->next)
        s->listeners_down += !l->leaving && !l->bound;
}

int tcp_port(const struct tcp *t, int32_t integration_id)
{
    const struct listener *l = listener_find(t, integration_id);
    struct sockaddr_storage a = {0};
    int n = sizeof a, r;

    if (!l || !l->bound)
        return ERR_UNKNOWN;
    r = uv_tcp_getsockname(&l->handle, (struct sockaddr *)&a, &n);
    if (r < 0)
        return r;
    return ntohs(((struct sockaddr_in *)&a)->sin_port);
}

int tcp_set_clock(struct tcp *t, int32_t tenant, int32_t meter, const char *id,
                  int64_t shift_us)
{
    return t->conns ? conns_set_clock(t->conns, tenant, meter, id, shift_us)
                    : ERR_AWAY;
}

int tcp_set_slot(struct tcp *t, int32_t tenant, int32_t meter, int32_t at_s,
                 int32_t window_s)
{
    return t->conns ? conns_set_slot(t->conns, tenant, meter, at_s, window_s)
                    : ERR_AWAY;
}

int tcp_command(struct tcp *t, int32_t tenant, int32_t meter, struct str line)
{
    return t->conns ? conns_command(t->conns, tenant, meter, line) : ERR_AWAY;
}

void tcp_no_command(struct tcp *t, int32_t tenant, int32_t meter)
{
    if (t->conns)
        conns_no_command(t->conns, tenant, meter);
}

bool tcp_listens(const struct tcp *t, int32_t tenant, int32_t meter)
{
    return t->conns && conns_listens(t->conns, tenant, meter);
}
