/*
 * uplink.c - from a network server's document to one uplink: what the topic
 * says it is, bounded JSON, then the reader of that network server. Pure.
 * What identifies the frame must be right or it is refused with a reason;
 * radio figures and times that make no sense are left unknown.
 */
#include "ingest/document.h"
#include "server/base/decimal.h"
#include "server/base/err.h"
#include "server/base/hash.h"
#include "server/base/hex.h"

#include <stdarg.h>
#include <stdio.h>

enum { DEPTH_MAX = 32, NODES_MAX = 20000 };

/* Events without meter data, by the last segment of their topic. */
static const char *const chirpstack_other[] = {
    "status", "ack", "txack", "log", "location", "error", "integration", NULL,
};
static const char *const tts_other[] = {
    "normalized", "queued",      "sent",   "ack",  "nack",
    "failed",     "invalidated", "solved", "data", NULL,
};

static const struct network {
    enum frame_source source;
    int (*read)(struct document *d);
    const char *const *other;
} networks[] = {
    {SOURCE_CHIRPSTACK, chirpstack_read, chirpstack_other},
    {SOURCE_TTS, tts_read, tts_other},
};

int refuse(struct document *d, const char *reason, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->error->reason = reason;
    d->error->detail = arena_str(d->arena, str_of(text));
    return ERR_FORMAT;
}

struct str topic_segment(struct str topic, unsigned from_end)
{
    struct str s = topic;

    for (;; from_end--) {
        size_t slash = s.n;

        while (slash && s.p[slash - 1] != '/')
            slash--;
        if (from_end == 0)
            return (struct str){s.p + slash, s.n - slash};
        if (slash == 0)
            return (struct str){0};
        s.n = slash - 1;
    }
}

const struct json *field(const struct json *object, const char *name)
{
    const struct json *v = json_get(object, name);
    char snake[48];
    size_t n = 0;

    if (v)
        return v;
    for (; *name && n + 2 < sizeof snake; name++) {
        bool upper = *name >= 'A' && *name <= 'Z';

        if (upper)
            snake[n++] = '_';
        snake[n++] = (char)(upper ? *name + ('a' - 'A') : *name);
    }
    snake[n] = 0;
    return json_get(object, snake);
}

int field_uint(struct document *d, const struct json *v, uint32_t max,
               const char *reason, uint32_t *ret)
{
    int64_t i = 0;

    if (v && !json_int(v, &i))
        return refuse(d, reason, "not a whole number");
    if (i < 0 || i > max)
        return refuse(d, reason, "%lld is not within 0..%u", (long long)i, max);
    *ret = (uint32_t)i;
    return 0;
}

int identifier(struct document *d, struct str text, size_t n, uint64_t *ret)
{
    struct str raw = {0};
    uint8_t hex[8];
    uint64_t v = 0;

    if (text.n == (n + 2) / 3 * 4 && text.p[text.n - 1] == '=') {
        if (base64_decode(d->arena, text, &raw) < 0)
            return ERR_FORMAT;
    } else if (text.n == 2 * n) {
        int r = hex_decode(text, hex, n);
        raw = (struct str){(char *)hex, r < 0 ? 0 : (size_t)r};
    }
    if (raw.n != n)
        return ERR_FORMAT;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (uint8_t)raw.p[i];
    *ret = v;
    return 0;
}

int take_dev_eui(struct document *d, struct str text)
{
    if (text.n == 0)
        return refuse(d, "no_dev_eui", "the document names no DevEUI");
    if (identifier(d, text, 8, &d->up->dev_eui) < 0 || d->up->dev_eui == 0)
        return refuse(d, "bad_dev_eui", "not eight bytes, or all zero");
    return 0;
}

int take_dev_addr(struct document *d, struct str text)
{
    uint64_t v;

    if (text.n == 0)
        return 0;
    if (identifier(d, text, 4, &v) < 0)
        return refuse(d, "bad_dev_addr", "not four bytes");
    d->up->has_dev_addr = true;
    d->up->dev_addr = (uint32_t)v;
    return 0;
}

int take_payload(struct document *d, const struct json *base64)
{
    if (!base64)
        return 0;
    if (base64->type != JSON_STRING ||
        base64_decode(d->arena, base64->text, &d->up->payload) < 0)
        return refuse(d, "bad_base64", "the payload is not base64");
    return 0;
}

void take_spreading_factor(struct document *d, const struct json *v)
{
    int64_t i;

    if (json_int(v, &i) && i >= 5 && i <= 12)
        d->up->spreading_factor = (int)i;
}

/* Exact tenths of a JSON number, rounded half away from zero; 0 when it is
 * none or beyond what a radio reports (+-999.9). A float printed as a double
 * has more digits than matter: the fraction is cut after six. */
static int tenths(const struct json *v)
{
    struct decimal d;
    struct str s;
    const char *dot;
    int64_t unit = 1, half;

    if (!v || v->type != JSON_NUMBER)
        return 0;
    s = v->text;
    dot = memchr(s.p, '.', s.n);
    if (dot && !memchr(s.p, 'e', s.n) && !memchr(s.p, 'E', s.n) &&
        s.n - (size_t)(dot - s.p) > 7)
        s.n = (size_t)(dot - s.p) + 7;
    if (decimal_parse(s, &d) < 0)
        return 0;
    if (d.exp10 >= -1)
        return decimal_rescale(d, -1, &d) == 0 && d.mantissa < 10000 &&
                       d.mantissa > -10000
                   ? (int)d.mantissa
                   : 0;
    for (int e = d.exp10; e < -1; e++)
        unit *= 10;
    half = d.mantissa % unit / (unit / 2);
    d.mantissa = d.mantissa / unit + half;
    return d.mantissa < 10000 && d.mantissa > -10000 ? (int)d.mantissa : 0;
}

bool take_reception(struct document *d, struct str gateway,
                    const struct json *rssi, const struct json *snr)
{
    struct uplink *up = d->up;
    int t = tenths(rssi);
    int dbm = (t + (t < 0 ? -5 : 5)) / 10;
    bool first = up->receptions++ == 0;
    uint64_t id = 0;

    if (!first && (dbm == 0 || (up->rssi_dbm && dbm <= up->rssi_dbm)))
        return false;
    up->gateway = identifier(d, gateway, 8, &id) == 0 ? id : 0;
    up->rssi_dbm = dbm;
    up->snr_tenths = tenths(snr);
    return true;
}

int64_t network_time(const struct json *v)
{
    struct stamp t;

    if (stamp_parse(json_str(v), &t) < 0 || !t.has_zone || t.us <= 0)
        return TIME_NONE;
    return t.us;
}

static int refuse_json(struct document *d, int err, const struct json_error *e)
{
    const char *reason = "not_json";

    if (err == ERR_FULL)
        reason = strstr(e->text, "deeper") ? "too_deep" : "too_complex";
    else if (strstr(e->text, "UTF-8"))
        reason = "invalid_utf8";
    return refuse(d, reason, "byte %zu: %s", e->offset, e->text);
}

/* What the topic's last segment makes of the document. */
static int topic_kind(struct document *d, const struct network *n)
{
    struct str event = topic_segment(d->topic, 0);

    if (str_is(event, "up") || str_is(event, "join")) {
        d->up->kind = str_is(event, "up") ? UPLINK_DATA : UPLINK_JOIN;
        return 0;
    }
    for (const char *const *o = n->other; *o; o++) {
        if (!str_is(event, *o))
            continue;
        refuse(d, "no_meter_data", "event %s", *o);
        return ERR_UNSUPPORTED;
    }
    return refuse(d, "unknown_event", "the topic ends in neither up nor join");
}

static int read_document(struct document *d, const struct network *n,
                         struct str text)
{
    const struct json_limits limits = {DEPTH_MAX, NODES_MAX};
    struct json_error e = {0, ""};
    struct json *root;
    int r = topic_kind(d, n);

    if (r < 0)
        return r;
    r = json_parse(d->arena, text, limits, &root, &e);
    if (r < 0)
        return refuse_json(d, r, &e);
    if (root->type != JSON_OBJECT)
        return refuse(d, "not_object", "the document is no JSON object");
    d->root = root;
    return n->read(d);
}

int uplink_parse(const struct frame *f, struct arena *a, struct uplink *ret,
                 struct uplink_error *error)
{
    struct uplink up = {.network_us = TIME_NONE};
    struct document d = {
        .topic = f->topic, .arena = a, .up = &up, .error = error};

    *error = (struct uplink_error){"", {0}};
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        int r;

        if (networks[i].source != f->source)
            continue;
        r = read_document(&d, &networks[i], f->payload);
        if (r == 0)
            *ret = up;
        return r;
    }
    refuse(&d, "unknown_source", "no network server writes this source");
    return ERR_UNSUPPORTED;
}

void uplink_key(const struct uplink *u, struct hash128 *ret)
{
    struct buf b = {0};

    buf_u8(&b, (uint8_t)u->kind);
    buf_u64(&b, u->dev_eui);
    if (!u->has_counter && u->dedup_id.n) {
        buf_u8(&b, 'd');
        buf_str(&b, u->dedup_id);
    } else {
        buf_u8(&b, u->has_counter ? 'c' : 't');
        buf_u32(&b, u->has_dev_addr ? u->dev_addr : 0);
        buf_u64(&b, u->has_counter ? u->counter : (uint64_t)u->network_us);
        buf_u8(&b, (uint8_t)u->port);
        buf_str(&b, u->payload);
    }
    *ret = hash128(b.p, b.n);
    buf_done(&b);
}
