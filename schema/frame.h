/*
 * frame.h - a frame: what arrived from outside, as it arrived. This is what
 * the journal keeps; all to the right of the journal can be run again from it.
 */
#pragma once

#include "server/base/buf.h"
#include "server/base/bytes.h"
#include "server/base/clock.h"

enum { TENANT_PLATFORM = 0 }; /* owns frames that no tenant can be named for */
enum { FRAME_PAYLOAD_MAX = 256 * 1024, FRAME_SAMPLE_MAX = 256 };

/* How the payload is to be understood. Stored in the journal: never reused. */
enum frame_source {
    SOURCE_CHIRPSTACK = 1, /* MQTT event of ChirpStack, v3 or v4, JSON */
    SOURCE_TTS = 2,        /* MQTT message of The Things Stack v3, JSON */
    SOURCE_HEO = 3,        /* one HEO-JSON object from a TCP session */
    SOURCE_TCP = 4,        /* bytes of a TCP session that were no frame */
    SOURCE_JOURNAL = 5,    /* a damaged stretch of the journal itself */
};
const char *source_name(enum frame_source s); /* "chirpstack", ... */

/* What becomes of a frame. Stored: never reused. */
enum fate {
    FATE_STORED = 1,
    FATE_DUPLICATE = 2,
    FATE_QUARANTINED = 3, /* kept whole with the reason, replayable */
    FATE_REJECTED = 4,    /* not a frame at all: counted and sampled */
};
const char *fate_name(enum fate f); /* "stored", ... */

/* A frame's id names the very bytes: the journal's number (1..32767) and the
 * position in it, which is a multiple of 8. */
static inline int64_t frame_id(int journal, int64_t position)
{
    return (int64_t)journal << 48 | position >> 3;
}
static inline int frame_journal(int64_t id)
{
    return (int)(id >> 48);
}
static inline int64_t frame_position(int64_t id)
{
    return (id & 0xffffffffffffLL) << 3;
}

struct frame {
    int64_t id; /* frame_id(); set on read */
    enum frame_source source;
    int32_t tenant_id;      /* TENANT_PLATFORM when none is known */
    int32_t integration_id; /* 0 when none */
    int64_t received_us;    /* when headend received it */
    const char *rejected;   /* NULL, or why this was refused at the door */
    uint32_t count;         /* how many this record stands for (sampling); 1 */
    uint32_t size;       /* bytes as they arrived (payload may be a sample) */
    struct str peer;     /* "192.0.2.7:40112", or the broker's URL */
    struct str topic;    /* MQTT topic; empty for TCP */
    struct str identity; /* serial that the session gave; empty if none */
    struct str payload;
};

/* The journal's form of a frame, version 1, little-endian. frame_decode's
 * slices point into `in`; ERR_SHORT, ERR_FORMAT. `rejected` of a decoded frame
 * points into the record too (NUL-terminated there). */
void frame_encode(const struct frame *f, struct buf *out);
int frame_decode(struct str in, struct frame *ret);
