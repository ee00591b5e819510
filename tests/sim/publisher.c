/*
 * publisher.c - see publisher.h. connect -> CONNECT -> CONNACK -> PUBLISH ...
 * Any trouble: `lost` closes the handle, a pause, and connect again.
 */
#include "publisher.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>

enum { KEEPALIVE_S = 30, WINDOW_MAX = 65535, READ_SIZE = 16384 };
enum { MQTT_CONNACK = 0x20, MQTT_PUBACK = 0x40 };

struct message {
    struct buf packet; /* as sent; n = 0: the id is free */
};

struct publisher {
    uv_loop_t *loop;
    struct publisher_options options;
    char *client_id, *user, *password;
    struct sockaddr_storage address;
    uv_tcp_t tcp;
    uv_connect_t connect_req;
    uv_write_t write_req;
    struct ticker *retry, *ping;
    struct backoff pause;
    bool open; /* tcp is initialised and not closed */
    bool up;   /* CONNACK was good */
    bool writing, ending;
    bool told;                  /* once per outage */
    struct buf filling, flying; /* being gathered, being written */
    struct buf in;
    char read_buf[READ_SIZE];
    struct message *messages; /* packet id - 1 */
    uint16_t *free_ids;
    uint32_t n_free;
    struct publisher_stats stats;
};

static void flush(struct publisher *p);
static void dial(void *arg);

static void finish(struct publisher *p)
{
    for (uint32_t i = 0; i < p->options.window; i++)
        buf_done(&p->messages[i].packet);
    buf_done(&p->filling);
    buf_done(&p->flying);
    buf_done(&p->in);
    free(p->messages);
    free(p->free_ids);
    free(p->client_id);
    free(p->user);
    free(p->password);
    free(p);
}

static void on_closed(uv_handle_t *handle)
{
    struct publisher *p = handle->data;

    p->open = false;
    if (p->ending)
        finish(p);
    else
        ticker_start(p->retry, backoff_pause_ms(&p->pause), 0);
}

static void lost(struct publisher *p, int err)
{
    if (!p->open || uv_is_closing((uv_handle_t *)&p->tcp))
        return;
    if (!p->ending && !p->told)
        log_warning("no broker, trying again", "err=%s", err_name(err));
    p->told = true;
    p->up = false;
    ticker_stop(p->ping);
    uv_close((uv_handle_t *)&p->tcp, on_closed);
}

static void on_written(uv_write_t *req, int status)
{
    struct publisher *p = req->data;

    p->writing = false;
    if (status < 0)
        lost(p, status);
    else
        flush(p);
}

static void flush(struct publisher *p)
{
    struct buf swap = p->flying;
    uv_buf_t out;

    if (p->writing || !p->filling.n || uv_is_closing((uv_handle_t *)&p->tcp))
        return;
    p->flying = p->filling;
    p->filling = swap;
    buf_clear(&p->filling);
    p->writing = true;
    p->write_req.data = p;
    out = uv_buf_init((char *)p->flying.p, (unsigned)p->flying.n);
    int r =
        uv_write(&p->write_req, (uv_stream_t *)&p->tcp, &out, 1, on_written);
    if (r < 0) {
        p->writing = false;
        lost(p, r);
    }
}

static void put_text(struct buf *out, struct str s)
{
    buf_be16(out, (uint16_t)s.n);
    buf_str(out, s);
}

/* Fixed header: type, then the length of the rest (MQTT 3.1.1, 2.2.3). */
static void put_header(struct buf *out, uint8_t type, size_t rest)
{
    buf_u8(out, type);
    do {
        buf_u8(out, (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0)));
        rest >>= 7;
    } while (rest);
}

static void put_connect(struct publisher *p)
{
    struct buf body = {0};
    uint8_t flags = 0x02; /* clean session: what is unacknowledged we resend */

    flags |= p->user ? 0x80 : 0;
    flags |= p->password ? 0x40 : 0;
    put_text(&body, STR("MQTT"));
    buf_u8(&body, 4);
    buf_u8(&body, flags);
    buf_be16(&body, KEEPALIVE_S);
    put_text(&body, str_of(p->client_id));
    if (p->user)
        put_text(&body, str_of(p->user));
    if (p->password)
        put_text(&body, str_of(p->password));
    put_header(&p->filling, 0x10, body.n);
    buf_str(&p->filling, buf_view(&body));
    buf_done(&body);
}

static void on_ping(void *arg)
{
    struct publisher *p = arg;

    buf_put(&p->filling, "\xc0\x00", 2);
    flush(p);
}

static int on_connack(struct publisher *p, uint8_t code)
{
    if (code != 0) {
        log_error("broker refused the connection", "code=%d", code);
        return UV_ECONNREFUSED;
    }
    p->up = true;
    p->told = false;
    p->stats.connects++;
    backoff_reset(&p->pause);
    ticker_start(p->ping, KEEPALIVE_S * 500, KEEPALIVE_S * 500);
    for (uint32_t i = 0; i < p->options.window; i++) {
        if (!p->messages[i].packet.n)
            continue;
        buf_str(&p->filling, buf_view(&p->messages[i].packet));
        p->stats.resent++;
    }
    flush(p);
    return 0;
}

static void on_puback(struct publisher *p, uint32_t id)
{
    if (id == 0 || id > p->options.window || !p->messages[id - 1].packet.n)
        return;
    buf_clear(&p->messages[id - 1].packet);
    p->free_ids[p->n_free++] = (uint16_t)id;
    p->stats.acked++;
}

/* The broker's packets are all short: CONNACK, PUBACK, PINGRESP. */
static int take_packets(struct publisher *p)
{
    size_t at = 0;
    int r = 0;

    while (r == 0 && p->in.n - at >= 2) {
        const uint8_t *b = p->in.p + at;

        if (b[1] > 0x7f)
            return UV_EPROTO;
        if (p->in.n - at < 2u + b[1])
            break;
        if (b[0] == MQTT_CONNACK && b[1] == 2)
            r = on_connack(p, b[3]);
        else if (b[0] == MQTT_PUBACK && b[1] == 2)
            on_puback(p, (uint32_t)b[2] << 8 | b[3]);
        at += 2u + b[1];
    }
    memmove(p->in.p, p->in.p + at, p->in.n - at);
    p->in.n -= at;
    return r;
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct publisher *p = handle->data;

    (void)size;
    *buf = uv_buf_init(p->read_buf, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct publisher *p = stream->data;
    int r = (int)n;

    if (n > 0) {
        buf_put(&p->in, buf->base, (size_t)n);
        r = take_packets(p);
    }
    if (r < 0)
        lost(p, r);
    else if (p->up && p->options.on_room)
        p->options.on_room(p->options.arg);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct publisher *p = req->data;

    if (status == 0)
        status = uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
    if (status < 0) {
        lost(p, status);
        return;
    }
    put_connect(p);
    flush(p);
}

static void dial(void *arg)
{
    struct publisher *p = arg;
    int r;

    buf_clear(&p->filling);
    buf_clear(&p->in);
    uv_tcp_init(p->loop, &p->tcp);
    p->tcp.data = p;
    p->open = true;
    uv_tcp_nodelay(&p->tcp, 1);
    p->connect_req.data = p;
    r = uv_tcp_connect(&p->connect_req, &p->tcp,
                       (const struct sockaddr *)&p->address, on_connected);
    if (r < 0)
        lost(p, r);
}

/* "[user[:password]@]host[:port]" in place. */
static int resolve(struct publisher *p, char *rest)
{
    char *at = strrchr(rest, '@'), *host = at ? at + 1 : rest;
    char *colon = strrchr(host, ':');
    const char *port = "1883";
    uv_getaddrinfo_t req;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

    if (at) {
        char *password;

        *at = 0;
        password = strchr(rest, ':');
        if (password)
            *password++ = 0;
        p->user = mem_strdup(rest);
        p->password = mem_strdup(password);
    }
    if (colon) {
        *colon = 0;
        port = colon + 1;
    }
    if (uv_getaddrinfo(p->loop, &req, NULL, host, port, &hints) < 0)
        return ERR_UNKNOWN;
    memcpy(&p->address, req.addrinfo->ai_addr, req.addrinfo->ai_addrlen);
    uv_freeaddrinfo(req.addrinfo);
    return 0;
}

int publisher_new(uv_loop_t *loop, const struct publisher_options *o,
                  struct publisher **ret)
{
    struct publisher *p;
    char *url;
    int r;

    if (strncmp(o->url, "mqtt://", 7) != 0 || !o->window ||
        o->window > WINDOW_MAX)
        return ERR_FORMAT;
    p = mem_alloc(sizeof(*p));
    *p = (struct publisher){.loop = loop, .options = *o};
    p->client_id = mem_strdup(o->client_id);
    p->pause = (struct backoff){.first_ms = 100, .most_ms = 5000};
    p->messages = mem_alloc(o->window * sizeof(*p->messages));
    p->free_ids = mem_alloc(o->window * sizeof(*p->free_ids));
    for (uint32_t i = o->window; i > 0; i--)
        p->free_ids[p->n_free++] = (uint16_t)i;
    url = mem_strdup(o->url + 7);
    r = resolve(p, url);
    free(url);
    if (r < 0) {
        finish(p);
        return r;
    }
    p->retry = ticker_new(loop, dial, p);
    p->ping = ticker_new(loop, on_ping, p);
    dial(p);
    *ret = p;
    return 0;
}

uint32_t publisher_room(const struct publisher *p)
{
    return p->up ? p->n_free : 0;
}

int publisher_send(struct publisher *p, struct str topic, struct str payload)
{
    struct buf *packet;
    uint16_t id;

    if (publisher_room(p) == 0)
        return ERR_FULL;
    id = p->free_ids[--p->n_free];
    packet = &p->messages[id - 1].packet;
    put_header(packet, 0x32, 2 + topic.n + 2 + payload.n); /* QoS 1 */
    put_text(packet, topic);
    buf_be16(packet, id);
    buf_str(packet, payload);
    buf_str(&p->filling, buf_view(packet));
    p->stats.published++;
    flush(p);
    return 0;
}

uint32_t publisher_waiting(const struct publisher *p)
{
    return p->options.window - p->n_free;
}

struct publisher_stats publisher_stats(const struct publisher *p)
{
    return p->stats;
}

void publisher_free(struct publisher *p)
{
    static const char goodbye[] = "\xe0"; /* DISCONNECT, length 0 */
    uv_buf_t out = uv_buf_init((char *)(uintptr_t)goodbye, 2);

    if (!p)
        return;
    p->ending = true;
    ticker_free(p->retry);
    ticker_free(p->ping);
    p->retry = p->ping = NULL;
    if (!p->open) {
        finish(p);
        return;
    }
    if (p->up && !p->writing)
        uv_try_write((uv_stream_t *)&p->tcp, &out, 1);
    if (!uv_is_closing((uv_handle_t *)&p->tcp)) {
        p->up = false;
        uv_close((uv_handle_t *)&p->tcp, on_closed);
    }
}
