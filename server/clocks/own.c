/*
 * own.c - see own.h. Every poll: each source is asked once; replies come when
 * they come, told apart by the time that was sent with the question. A sample
 * counts for eight polls. Sources are looked up anew every hundredth poll.
 */
#include "server/clocks/own.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/timex.h>

enum { LOOKUP_POLLS = 100, AGE_POLLS = 8, NAME_MAX_BYTES = 255, PACKET = 128 };

struct source {
    struct own_watch *w;
    char host[NAME_MAX_BYTES + 1], port[8];
    struct sockaddr_storage address;
    bool known, looking;
    int64_t sent_us; /* 0: nothing asked */
    struct sntp_source filter;
    uv_getaddrinfo_t lookup;
};

struct own_watch {
    uv_loop_t *loop;
    int64_t poll_ms;
    const struct clock *clock;
    struct source sources[SNTP_SOURCES];
    uint32_t n;
    bool kernel, freed;
    int polls;
    struct ticker *poll;
    uv_udp_t v4, v6, server;
    int open, lookups; /* handles, name lookups */
    bool serves;
    struct own_verdict verdict;
    int64_t served;
    char room[PACKET];
};

static int64_t now_us(const struct own_watch *w)
{
    return clock_utc(w->clock);
}

/* ---- the verdict ---- */

static void judge(struct own_watch *w)
{
    struct sntp_source filters[SNTP_SOURCES];
    enum own_clock before = w->verdict.state;
    bool early = w->polls <= 1; /* replies of the first poll may be under way */

    for (uint32_t i = 0; i < w->n; i++)
        filters[i] = w->sources[i].filter;
    w->verdict =
        sntp_verdict(filters, w->n, now_us(w), AGE_POLLS * w->poll_ms * 1000);
    if (early && 2 * w->verdict.agree <= w->n)
        w->verdict.state = before;
    if (w->verdict.state == before)
        return;
    log_line(w->verdict.state == OWN_OK ? LOG_INFO : LOG_ERROR, "own clock",
             "state=%s was=%s off_ms=%.3f error_ms=%.3f sources=%u heard=%u "
             "agree=%u",
             own_clock_name(w->verdict.state), own_clock_name(before),
             (double)w->verdict.offset_us / 1e3,
             (double)w->verdict.error_us / 1e3, w->n, w->verdict.heard,
             w->verdict.agree);
}

static void ask_kernel(struct own_watch *w)
{
    struct timex t = {0};
    int r = adjtimex(&t);
    int64_t off = t.status & STA_NANO ? t.offset / 1000 : t.offset;

    if (r >= 0 && r != TIME_ERROR && !(t.status & STA_UNSYNC))
        sntp_take(&w->sources[0].filter,
                  &(struct sntp_sample){now_us(w), off, t.maxerror});
}

/* ---- asking ---- */

static uv_buf_t *packet(uint8_t bytes[SNTP_SIZE], uv_buf_t *b)
{
    *b = uv_buf_init((char *)bytes, SNTP_SIZE);
    return b;
}

static void ask(struct own_watch *w, struct source *s)
{
    const struct sockaddr *to = (const struct sockaddr *)&s->address;
    uint8_t bytes[SNTP_SIZE];
    uv_buf_t b;
    int64_t now = now_us(w);

    for (uint32_t i = 0; i < w->n; i++) /* told apart by it */
        now += w->sources[i].sent_us == now;
    sntp_request(bytes, now);
    if (uv_udp_try_send(to->sa_family == AF_INET6 ? &w->v6 : &w->v4,
                        packet(bytes, &b), 1, to) >= 0)
        s->sent_us = now;
}

static void finish(struct own_watch *w)
{
    if (w->freed && w->open == 0 && w->lookups == 0)
        free(w);
}

static void on_address(uv_getaddrinfo_t *req, int status,
                       struct addrinfo *found)
{
    struct source *s = req->data;

    s->looking = false;
    s->w->lookups--;
    if (status == 0 && found->ai_addrlen <= sizeof s->address) {
        memcpy(&s->address, found->ai_addr, found->ai_addrlen);
        if (!s->known && !s->w->freed)
            ask(s->w, s);
        s->known = true;
    }
    uv_freeaddrinfo(found);
    finish(s->w);
}

static void look_up(struct own_watch *w, struct source *s)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};

    if (s->looking)
        return;
    s->lookup.data = s;
    if (uv_getaddrinfo(w->loop, &s->lookup, on_address, s->host, s->port,
                       &hints) == 0) {
        s->looking = true;
        w->lookups++;
    }
}

static void on_poll(void *arg)
{
    struct own_watch *w = arg;

    if (w->kernel)
        ask_kernel(w);
    for (uint32_t i = 0; i < w->n && !w->kernel; i++) {
        struct source *s = &w->sources[i];
        if (!s->known || w->polls % LOOKUP_POLLS == 0)
            look_up(w, s);
        if (s->known)
            ask(w, s);
    }
    w->polls++;
    judge(w);
}

/* ---- packets ---- */

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct own_watch *w = h->data;

    (void)suggested;
    *ret = uv_buf_init(w->room, sizeof w->room);
}

static void on_reply(uv_udp_t *h, ssize_t n, const uv_buf_t *b,
                     const struct sockaddr *from, unsigned flags)
{
    static struct log_limit told;
    struct own_watch *w = h->data;
    int64_t come = now_us(w);
    struct sntp_sample sample;

    (void)flags;
    if (n <= 0 || !from)
        return;
    for (uint32_t i = 0; i < w->n; i++) {
        struct source *s = &w->sources[i];
        int r = s->sent_us ? sntp_reply((struct str){b->base, (size_t)n},
                                        s->sent_us, come, &sample)
                           : ERR_FORMAT;
        if (r == ERR_FORMAT || r == ERR_SHORT)
            continue;
        s->sent_us = 0;
        if (r == 0)
            sntp_take(&s->filter, &sample);
        else if (log_allowed(&told))
            log_warning("time source gives no time", "source=%s err=%s",
                        s->host, err_name(r));
        judge(w);
        return;
    }
}

static void on_request(uv_udp_t *h, ssize_t n, const uv_buf_t *b,
                       const struct sockaddr *from, unsigned flags)
{
    struct own_watch *w = h->data;
    bool good = w->verdict.state == OWN_OK || w->verdict.state == OWN_ALARM;
    uint8_t bytes[SNTP_SIZE];
    uv_buf_t out;
    int64_t now = now_us(w);

    (void)flags;
    if (n <= 0 || !from ||
        sntp_answer((struct str){b->base, (size_t)n}, now, now,
                    w->verdict.error_us, good ? 3 : 0, bytes) < 0)
        return;
    w->served += uv_udp_try_send(h, packet(bytes, &out), 1, from) >= 0;
}

/* ---- setting up ---- */

/* host, host:port, [v6]:port. */
static int read_source(struct str text, struct source *s)
{
    bool bracket = text.n && text.p[0] == '[';
    const char *end = bracket ? memchr(text.p, ']', text.n) : NULL;
    const char *colon = memrchr(text.p, ':', text.n);
    struct str host = text, port = STR("123");

    if (bracket && !end)
        return ERR_FORMAT;
    if (colon && (!bracket || colon > end)) {
        host.n = (size_t)(colon - text.p);
        port = (struct str){colon + 1, text.n - host.n - 1};
    }
    if (bracket)
        host = (struct str){text.p + 1, (size_t)(end - text.p) - 1};
    if (host.n == 0 || host.n > NAME_MAX_BYTES || port.n == 0 ||
        port.n >= sizeof s->port || strspn(port.p, "0123456789") < port.n)
        return ERR_FORMAT;
    memcpy(s->host, host.p, host.n);
    memcpy(s->port, port.p, port.n);
    return 0;
}

static int read_sources(struct own_watch *w, struct str text)
{
    w->kernel = str_is(text, "kernel");
    if (w->kernel) {
        w->n = 1;
        return 0;
    }
    while (text.n) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        struct str one = str_trim((struct str){text.p, n});

        if (w->n == SNTP_SOURCES)
            return ERR_FULL;
        struct source *s = &w->sources[w->n++];
        s->w = w;
        int r = read_source(one, s);
        if (r < 0)
            return r;
        text = (struct str){text.p + n + (comma != NULL),
                            text.n - n - (comma != NULL)};
    }
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct own_watch *w = h->data;

    w->open--;
    finish(w);
}

static int open_udp(struct own_watch *w, uv_udp_t *h, const struct sockaddr *at,
                    uv_udp_recv_cb got)
{
    int r = uv_udp_init(w->loop, h);

    if (r < 0)
        return r;
    h->data = w;
    w->open++;
    r = uv_udp_bind(h, at, 0);
    return r < 0 ? r : uv_udp_recv_start(h, on_room, got);
}

static int listen_at(struct own_watch *w, const char *text)
{
    struct source at = {0};
    struct sockaddr_storage address;
    int port, r = read_source(str_of(text), &at);

    if (r < 0)
        return r;
    port = atoi(at.port);
    if (uv_ip4_addr(at.host, port, (struct sockaddr_in *)&address) < 0 &&
        uv_ip6_addr(at.host, port, (struct sockaddr_in6 *)&address) < 0)
        return ERR_FORMAT;
    w->serves = true;
    return open_udp(w, &w->server, (struct sockaddr *)&address, on_request);
}

int own_new(uv_loop_t *loop, const struct own_options *o,
            struct own_watch **ret)
{
    struct own_watch *w = mem_alloc(sizeof *w);
    struct sockaddr_in any4;
    struct sockaddr_in6 any6;
    int r;

    *w = (struct own_watch){
        .loop = loop, .poll_ms = o->poll_ms, .clock = o->clock};
    w->poll = ticker_new(loop, on_poll, w);
    r = read_sources(w, str_trim(str_of(o->sources)));
    uv_ip4_addr("0.0.0.0", 0, &any4);
    uv_ip6_addr("::", 0, &any6);
    if (r == 0 && w->n && !w->kernel) {
        r = open_udp(w, &w->v4, (struct sockaddr *)&any4, on_reply);
        if (r == 0) /* a machine without IPv6 is fine */
            open_udp(w, &w->v6, (struct sockaddr *)&any6, on_reply);
    }
    if (r == 0 && *o->listen)
        r = listen_at(w, o->listen);
    if (r < 0) {
        own_free(w);
        return r;
    }
    if (w->n)
        ticker_start(w->poll, 0, (uint64_t)w->poll_ms);
    *ret = w;
    return 0;
}

void own_free(struct own_watch *w)
{
    uv_udp_t *all[3];

    if (!w)
        return;
    all[0] = &w->v4, all[1] = &w->v6, all[2] = &w->server;
    ticker_free(w->poll);
    w->freed = true;
    for (int i = 0; i < 3; i++)
        if (all[i]->data)
            uv_close((uv_handle_t *)all[i], on_closed);
    finish(w);
}

struct own_verdict own_verdict(const struct own_watch *w)
{
    return w->verdict;
}

bool own_unsure(const struct own_watch *w)
{
    return w->verdict.state == OWN_UNSURE;
}

int64_t own_served(const struct own_watch *w)
{
    return w->served;
}

int own_port(const struct own_watch *w)
{
    struct sockaddr_storage at;
    int n = sizeof at;

    if (!w->serves ||
        uv_udp_getsockname(&w->server, (struct sockaddr *)&at, &n) < 0)
        return 0;
    return ntohs(((struct sockaddr_in *)&at)->sin_port);
}
