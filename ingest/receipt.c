/* receipt.c - see receipt.h. */
#include "ingest/receipt.h"
#include "server/base/err.h"
#include "server/base/hash.h"
#include "server/base/hex.h"
#include "server/base/json.h"

#include <stdio.h>

enum { DEPTH_MAX = 32, NODES_MAX = 5000 };

/* ---- the id ----
 * 0 attempt u32 | 4 hash 2 | 6 0x80 | correction | 7 hash | 8 0x80 | hash 6 bit
 * | 9 id, 56 bit; all big-endian. */

static void fill(int32_t tenant, const struct downlink_ref *ref, uint8_t b[16])
{
    char text[80];
    struct hash128 h;

    snprintf(text, sizeof text, "headend downlink %d|%d|%lld|%u", tenant,
             ref->correction, (long long)ref->id, ref->attempt);
    h = hash128(text, strlen(text));
    for (int i = 0; i < 4; i++)
        b[i] = (uint8_t)(ref->attempt >> (24 - 8 * i));
    memcpy(b + 4, h.b, 2);
    b[6] = (uint8_t)(0x80 | ref->correction);
    b[7] = h.b[2];
    b[8] = (uint8_t)(0x80 | (h.b[3] & 0x3f));
    for (int i = 0; i < 7; i++)
        b[9 + i] = (uint8_t)((uint64_t)ref->id >> (48 - 8 * i));
}

const char *downlink_id(int32_t tenant, const struct downlink_ref *ref,
                        char ret[DOWNLINK_ID])
{
    uint8_t b[16];
    char hex[33];

    fill(tenant, ref, b);
    hex_encode(b, sizeof b, hex);
    snprintf(ret, DOWNLINK_ID, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
             hex + 12, hex + 16, hex + 20);
    return ret;
}

int downlink_ref(int32_t tenant, struct str id, struct downlink_ref *ret)
{
    struct downlink_ref r = {0};
    uint8_t b[16], right[16];
    uint64_t n = 0;

    if (id.n != DOWNLINK_ID - 1 || hex_decode(id, b, sizeof b) != sizeof b)
        return ERR_UNKNOWN;
    for (int i = 0; i < 4; i++)
        r.attempt = r.attempt << 8 | b[i];
    for (int i = 9; i < 16; i++)
        n = n << 8 | b[i];
    r.correction = b[6] & 1;
    r.id = (int64_t)n;
    fill(tenant, &r, right);
    if (r.id == 0 || memcmp(b, right, sizeof b) != 0)
        return ERR_UNKNOWN;
    *ret = r;
    return 0;
}

/* ---- documents ---- */

struct reading {
    const struct json *root;
    int32_t tenant;
    struct receipt *out;
};

static void say(struct receipt *r, const char *event, const char *detail)
{
    r->event = event;
    snprintf(r->detail, sizeof r->detail, "%s", detail);
}

static int of_chirpstack(struct reading *r)
{
    return downlink_ref(r->tenant, json_str(json_get(r->root, "queueItemId")),
                        &r->out->ref);
}

static void chirpstack_sent(struct reading *r)
{
    struct str gateway = json_str(json_get(r->root, "gatewayId"));

    say(r->out, "radiated", "");
    snprintf(r->out->detail, sizeof r->out->detail, "sent by gateway %.*s",
             gateway.n < 32 ? (int)gateway.n : 32, gateway.p ? gateway.p : "");
}

static void chirpstack_ack(struct reading *r)
{
    bool yes = json_bool(json_get(r->root, "acknowledged"), false);

    say(r->out, yes ? "done" : "lost",
        yes ? "the device has confirmed it by radio"
            : "the device has not confirmed it by radio");
}

/* Ours is one of several that go along. */
static int of_tts(struct reading *r)
{
    static const char *const members[] = {"downlink_sent", "downlink_ack",
                                          "downlink_nack", "downlink_failed"};
    const struct json *list = json_get(r->root, "correlation_ids");

    for (int i = 0; i < 5; i++) {
        json_each (item, list)
            if (downlink_ref(r->tenant, json_str(item), &r->out->ref) == 0)
                return 0;
        if (i == 4)
            break;
        const struct json *m = json_get(r->root, members[i]);
        list = json_get(m, "correlation_ids");
        if (!list)
            list = json_get(json_get(m, "downlink"), "correlation_ids");
    }
    return ERR_UNKNOWN;
}

static void tts_sent(struct reading *r)
{
    say(r->out, "radiated", "sent by the network server");
}

static void tts_ack(struct reading *r)
{
    say(r->out, "done", "the device has confirmed it by radio");
}

static void tts_nack(struct reading *r)
{
    say(r->out, "note",
        "the device has not confirmed it; the network server tries again");
}

static void tts_failed(struct reading *r)
{
    const struct json *e =
        json_get(json_get(r->root, "downlink_failed"), "error");
    struct str why = json_str(json_get(e, "message_format"));

    say(r->out, "lost", "");
    snprintf(r->out->detail, sizeof r->out->detail,
             "the network server failed: %.*s", why.n < 120 ? (int)why.n : 120,
             why.p ? why.p : "no reason given");
}

static const struct kind {
    enum frame_source source;
    struct str ends; /* of the topic */
    int (*whose)(struct reading *r);
    void (*read)(struct reading *r);
} kinds[] = {
    {SOURCE_CHIRPSTACK, {"/event/txack", 12}, of_chirpstack, chirpstack_sent},
    {SOURCE_CHIRPSTACK, {"/event/ack", 10}, of_chirpstack, chirpstack_ack},
    {SOURCE_TTS, {"/down/sent", 10}, of_tts, tts_sent},
    {SOURCE_TTS, {"/down/ack", 9}, of_tts, tts_ack},
    {SOURCE_TTS, {"/down/nack", 10}, of_tts, tts_nack},
    {SOURCE_TTS, {"/down/failed", 12}, of_tts, tts_failed},
};

static const struct kind *kind_of(enum frame_source source, struct str topic)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct str e = kinds[i].ends;
        if (kinds[i].source == source && topic.n > e.n &&
            memcmp(topic.p + topic.n - e.n, e.p, e.n) == 0)
            return &kinds[i];
    }
    return NULL;
}

bool receipt_topic(enum frame_source source, struct str topic)
{
    return kind_of(source, topic) != NULL;
}

int receipt_read(enum frame_source source, int32_t tenant, struct str topic,
                 struct str document, struct receipt *ret)
{
    const struct kind *k = kind_of(source, topic);
    struct arena *a;
    struct json *root;
    struct json_error why;
    struct receipt out;
    int r;

    if (!k)
        return ERR_FORMAT;
    a = arena_new(0);
    r = json_parse(a, document, (struct json_limits){DEPTH_MAX, NODES_MAX},
                   &root, &why);
    if (r == 0 && root->type != JSON_OBJECT)
        r = ERR_FORMAT;
    struct reading reading = {root, tenant, &out};
    if (r == 0)
        r = k->whose(&reading);
    if (r == 0) {
        k->read(&reading);
        *ret = out;
    }
    arena_free(a);
    return r;
}
