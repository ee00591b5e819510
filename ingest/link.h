/*
 * link.h - the records between `headend serve` and a `headend bridge` child
 * (file descriptor 3 of the child, a socketpair): u32 length, u8 type, body.
 */
#pragma once

#include "server/base/buf.h"
#include "server/base/bytes.h"

enum link_type {
    LINK_CONFIG = 1,  /* server -> bridge, first: struct link_config */
    LINK_FRAME = 2,   /* bridge -> server: u64 id (grows), u32 size, topic,
                         payload (u32-counted); size > payload: cut, too large */
    LINK_ACK = 3,     /* server -> bridge: u64 id; that frame and all before it
                         are durable */
    LINK_STATE = 4,   /* bridge -> server: u8 enum link_state, text */
    LINK_PUBLISH = 5, /* server -> bridge: topic, payload (u32-counted) */
};
enum link_state { LINK_CONNECTING, LINK_CONNECTED, LINK_SUBSCRIBED, LINK_LOST };

enum {
    LINK_RECORD_MAX = 1024 * 1024,
    LINK_FRAME_HEAD = 64, /* of a frame's record, beside topic and payload */
    LINK_WINDOW = 1024 * 1024, /* bytes of frames under way (or one frame) */
    LINK_TOPICS = 8,
};

struct link_config {
    struct str url, client_id, username, password, ca_file, cert_file, key_file;
    uint32_t payload_max; /* longer payloads are cut to a sample */
    uint32_t n_topics;
    struct str topics[LINK_TOPICS]; /* subscribed with QoS 1, as they stand */
};

/* Append one whole record to out. */
void link_put_config(struct buf *out, const struct link_config *c);
void link_put_frame(struct buf *out, uint64_t id, uint32_t size,
                    struct str topic, struct str payload);
void link_put_ack(struct buf *out, uint64_t id);
void link_put_state(struct buf *out, enum link_state state, struct str text);
void link_put_publish(struct buf *out, struct str topic, struct str payload);

/* Finds one whole record at the start of `in`: its length, 0 when more bytes
 * are needed, ERR_FORMAT. */
int link_record(struct str in, enum link_type *type, struct bytes *body);
/* Read bodies; slices point into them. ERR_SHORT, ERR_FORMAT. */
int link_get_config(struct bytes *body, struct link_config *ret);
int link_get_frame(struct bytes *body, uint64_t *id, uint32_t *size,
                   struct str *topic, struct str *payload);
int link_get_ack(struct bytes *body, uint64_t *id);
int link_get_state(struct bytes *body, enum link_state *state,
                   struct str *text);
int link_get_publish(struct bytes *body, struct str *topic,
                     struct str *payload);
