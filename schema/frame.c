/*
 * frame.c - the journal's form of a frame.
 *
 * Version 1, little-endian:
 *   u8 version, u8 source, i32 tenant, i32 integration, i64 received_us,
 *   u32 count, u32 size, u16 peer, u16 topic, u16 identity, u16 rejected,
 *   u32 payload (five lengths), then those five byte strings in that order.
 * `rejected` has length 0 when the frame was not refused, else it is a text
 * with its NUL. Nothing follows the payload.
 */
#include "schema/frame.h"
#include "server/base/err.h"

enum { VERSION = 1, TEXT_MAX = 1024 };

static const char *const sources[] = {
    [SOURCE_CHIRPSTACK] = "chirpstack",
    [SOURCE_TTS] = "tts",
    [SOURCE_HEO] = "heo",
    [SOURCE_TCP] = "tcp",
    [SOURCE_JOURNAL] = "journal",
};

static const char *const fates[] = {
    [FATE_STORED] = "stored",
    [FATE_DUPLICATE] = "duplicate",
    [FATE_QUARANTINED] = "quarantined",
    [FATE_REJECTED] = "rejected",
};

const char *source_name(enum frame_source s)
{
    return s >= SOURCE_CHIRPSTACK && s <= SOURCE_JOURNAL ? sources[s] : "?";
}

const char *fate_name(enum fate f)
{
    return f >= FATE_STORED && f <= FATE_REJECTED ? fates[f] : "?";
}

static struct str cut(struct str s, size_t max)
{
    return (struct str){s.p, s.n < max ? s.n : max};
}

/* Admission keeps frames within the limits; what is longer all the same is
 * cut here, so that every record that was written can be read. */
void frame_encode(const struct frame *f, struct buf *out)
{
    struct str texts[] = {cut(f->peer, TEXT_MAX), cut(f->topic, TEXT_MAX),
                          cut(f->identity, TEXT_MAX)};
    struct str why = cut(str_of(f->rejected), TEXT_MAX - 1);
    struct str payload = cut(f->payload, FRAME_PAYLOAD_MAX);

    buf_u8(out, VERSION);
    buf_u8(out, (uint8_t)f->source);
    buf_u32(out, (uint32_t)f->tenant_id);
    buf_u32(out, (uint32_t)f->integration_id);
    buf_u64(out, (uint64_t)f->received_us);
    buf_u32(out, f->count);
    buf_u32(out, f->size);
    for (int i = 0; i < 3; i++)
        buf_u16(out, (uint16_t)texts[i].n);
    buf_u16(out, (uint16_t)(f->rejected ? why.n + 1 : 0));
    buf_u32(out, (uint32_t)payload.n);
    for (int i = 0; i < 3; i++)
        buf_str(out, texts[i]);
    if (f->rejected) {
        buf_str(out, why);
        buf_u8(out, 0);
    }
    buf_str(out, payload);
}

static struct str take(struct bytes *in, size_t n)
{
    const uint8_t *p = bytes_take(in, n);
    return (struct str){(const char *)p, p ? n : 0};
}

int frame_decode(struct str in, struct frame *ret)
{
    struct bytes b = bytes_of(in.p, in.n);
    uint8_t version = bytes_u8(&b);
    struct frame f = {.source = (enum frame_source)bytes_u8(&b)};

    if (b.ran_out)
        return ERR_SHORT;
    if (version != VERSION || f.source < SOURCE_CHIRPSTACK ||
        f.source > SOURCE_JOURNAL)
        return ERR_FORMAT;
    f.tenant_id = (int32_t)bytes_u32(&b);
    f.integration_id = (int32_t)bytes_u32(&b);
    f.received_us = (int64_t)bytes_u64(&b);
    f.count = bytes_u32(&b);
    f.size = bytes_u32(&b);

    uint16_t peer = bytes_u16(&b), topic = bytes_u16(&b);
    uint16_t identity = bytes_u16(&b), rejected = bytes_u16(&b);
    uint32_t payload = bytes_u32(&b);
    if (peer > TEXT_MAX || topic > TEXT_MAX || identity > TEXT_MAX ||
        rejected > TEXT_MAX || payload > FRAME_PAYLOAD_MAX)
        return ERR_FORMAT;
    f.peer = take(&b, peer);
    f.topic = take(&b, topic);
    f.identity = take(&b, identity);
    struct str why = take(&b, rejected);
    f.payload = take(&b, payload);
    if (b.ran_out)
        return ERR_SHORT;
    if (bytes_left(&b) > 0)
        return ERR_FORMAT;
    if (why.n > 0) {
        if (memchr(why.p, 0, why.n) != why.p + why.n - 1)
            return ERR_FORMAT;
        f.rejected = why.p;
    }
    *ret = f;
    return 0;
}
