/*
 * document.h - what the readers of network servers' JSON documents share:
 * fields with bounds, identifiers, radio figures, and the reason of a refusal.
 * Private to the uplink parsers. Absent, null and default are the same thing
 * (proto3's JSON mapping).
 */
#pragma once

#include "ingest/uplink.h"
#include "server/base/json.h"

struct document {
    const struct json *root;
    struct str topic;
    struct arena *arena;
    struct uplink *up; /* being filled; kind is set from the topic */
    struct uplink_error *error;
};

/* Segment of an MQTT topic counted from its end (0: the last). */
struct str topic_segment(struct str topic, unsigned from_end);

/* Says why the document is no uplink; returns ERR_FORMAT. */
int refuse(struct document *d, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "fCnt", or its proto name "f_cnt" where the document uses that. */
const struct json *field(const struct json *object, const char *name);

/* Whole number 0..max, 0 when absent. ERR_FORMAT with `reason`. */
int field_uint(struct document *d, const struct json *v, uint32_t max,
               const char *reason, uint32_t *ret);

/* An identifier of n = 4 or 8 bytes: hexadecimal, or base64 as ChirpStack v3
 * "json" writes it. ERR_FORMAT. */
int identifier(struct document *d, struct str text, size_t n, uint64_t *ret);

/* Fill up->dev_eui, up->dev_addr, up->payload. */
int take_dev_eui(struct document *d, struct str text);
int take_dev_addr(struct document *d, struct str text); /* empty: none */
int take_payload(struct document *d, const struct json *base64);
void take_spreading_factor(struct document *d, const struct json *v);

/* Counts a gateway that heard the frame; true when it is the strongest yet. */
bool take_reception(struct document *d, struct str gateway,
                    const struct json *rssi, const struct json *snr);

/* UTC microseconds, or TIME_NONE for what is no time of a living network. */
int64_t network_time(const struct json *v);

/* One reader per network server. */
int chirpstack_read(struct document *d);
int tts_read(struct document *d);
