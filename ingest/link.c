/*
 * link.c - records between the server and a bridge, little-endian. The length
 * counts the type and the body. Both ends check: the bridge faces a broker
 * that may be hostile, so the server believes no length it is told.
 */
#include "ingest/link.h"
#include "server/base/err.h"

enum { LINK_HEAD = 4 }; /* the length itself */

static size_t record_begin(struct buf *out, enum link_type type)
{
    size_t at = out->n;

    buf_u32(out, 0);
    buf_u8(out, (uint8_t)type);
    return at;
}

static void record_end(struct buf *out, size_t at)
{
    uint32_t n = (uint32_t)(out->n - at - LINK_HEAD);

    for (size_t i = 0; i < LINK_HEAD; i++)
        out->p[at + i] = (uint8_t)(n >> (8 * i));
}

static void put_str(struct buf *out, struct str s)
{
    buf_u32(out, (uint32_t)s.n);
    buf_put(out, s.p, s.n);
}

static struct str get_str(struct bytes *in)
{
    uint32_t n = bytes_u32(in);
    const uint8_t *p = bytes_take(in, n);

    return (struct str){(const char *)p, p ? n : 0};
}

/* A body ends where its record ends. */
static int body_end(const struct bytes *body)
{
    if (body->ran_out)
        return ERR_SHORT;
    return bytes_left(body) ? ERR_FORMAT : 0;
}

void link_put_config(struct buf *out, const struct link_config *c)
{
    size_t at = record_begin(out, LINK_CONFIG);

    put_str(out, c->url);
    put_str(out, c->client_id);
    put_str(out, c->username);
    put_str(out, c->password);
    put_str(out, c->ca_file);
    put_str(out, c->cert_file);
    put_str(out, c->key_file);
    buf_u32(out, c->payload_max);
    buf_u32(out, c->n_topics);
    for (uint32_t i = 0; i < c->n_topics; i++)
        put_str(out, c->topics[i]);
    record_end(out, at);
}

void link_put_frame(struct buf *out, uint64_t id, uint32_t size,
                    struct str topic, struct str payload)
{
    size_t at = record_begin(out, LINK_FRAME);

    buf_u64(out, id);
    buf_u32(out, size);
    put_str(out, topic);
    put_str(out, payload);
    record_end(out, at);
}

void link_put_ack(struct buf *out, uint64_t id)
{
    size_t at = record_begin(out, LINK_ACK);

    buf_u64(out, id);
    record_end(out, at);
}

void link_put_state(struct buf *out, enum link_state state, struct str text)
{
    size_t at = record_begin(out, LINK_STATE);

    buf_u8(out, (uint8_t)state);
    put_str(out, text);
    record_end(out, at);
}

void link_put_publish(struct buf *out, struct str topic, struct str payload)
{
    size_t at = record_begin(out, LINK_PUBLISH);

    put_str(out, topic);
    put_str(out, payload);
    record_end(out, at);
}

int link_record(struct str in, enum link_type *type, struct bytes *body)
{
    struct bytes b = bytes_of(in.p, in.n);
    uint32_t n = bytes_u32(&b);
    uint8_t t;

    if (b.ran_out)
        return 0;
    if (n == 0 || n > LINK_RECORD_MAX)
        return ERR_FORMAT;
    if (bytes_left(&b) < n)
        return 0;
    t = bytes_u8(&b);
    if (t < LINK_CONFIG || t > LINK_PUBLISH)
        return ERR_FORMAT;
    *type = t;
    *body = bytes_of(b.p, n - 1);
    return (int)(LINK_HEAD + n);
}

int link_get_config(struct bytes *body, struct link_config *ret)
{
    struct link_config c = {0};
    int r;

    c.url = get_str(body);
    c.client_id = get_str(body);
    c.username = get_str(body);
    c.password = get_str(body);
    c.ca_file = get_str(body);
    c.cert_file = get_str(body);
    c.key_file = get_str(body);
    c.payload_max = bytes_u32(body);
    c.n_topics = bytes_u32(body);
    if (c.n_topics > LINK_TOPICS)
        return ERR_FORMAT;
    for (uint32_t i = 0; i < c.n_topics; i++)
        c.topics[i] = get_str(body);
    r = body_end(body);
    if (r == 0)
        *ret = c;
    return r;
}

int link_get_frame(struct bytes *body, uint64_t *id, uint32_t *size,
                   struct str *topic, struct str *payload)
{
    uint64_t i = bytes_u64(body);
    uint32_t n = bytes_u32(body);
    struct str t = get_str(body);
    struct str p = get_str(body);
    int r = body_end(body);

    if (r == 0 && p.n > n)
        r = ERR_FORMAT; /* more payload than the message had */
    if (r < 0)
        return r;
    *id = i;
    *size = n;
    *topic = t;
    *payload = p;
    return 0;
}

int link_get_ack(struct bytes *body, uint64_t *id)
{
    uint64_t i = bytes_u64(body);
    int r = body_end(body);

    if (r == 0)
        *id = i;
    return r;
}

int link_get_state(struct bytes *body, enum link_state *state, struct str *text)
{
    uint8_t s = bytes_u8(body);
    struct str t = get_str(body);
    int r = body_end(body);

    if (r == 0 && s > LINK_LOST)
        r = ERR_FORMAT;
    if (r < 0)
        return r;
    *state = s;
    *text = t;
    return 0;
}

int link_get_publish(struct bytes *body, struct str *topic, struct str *payload)
{
    struct str t = get_str(body);
    struct str p = get_str(body);
    int r = body_end(body);

    if (r == 0 && t.n == 0)
        r = ERR_FORMAT;
    if (r < 0)
        return r;
    *topic = t;
    *payload = p;
    return 0;
}
