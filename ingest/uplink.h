/*
 * uplink.h - what a LoRaWAN network server's document says, in one form.
 * One file per network server (chirpstack.c, tts.c), pure, fuzzed.
 * Source: ChirpStack v3/v4 and The Things Stack v3 integration documents.
 */
#pragma once

#include "schema/frame.h"
#include "server/base/arena.h"

enum uplink_kind { UPLINK_DATA, UPLINK_JOIN };

struct uplink {
    enum uplink_kind kind;
    uint64_t dev_eui;
    bool has_dev_addr;
    uint32_t dev_addr;
    bool has_counter;
    uint32_t counter; /* fCnt */
    int port;         /* fPort; 0: MAC only */
    bool confirmed;
    struct str payload;   /* decrypted application payload */
    bool encrypted;       /* still under AppSKey (end-to-end mode) */
    struct str dedup_id;  /* ChirpStack v4 deduplicationId, else empty */
    int64_t network_us;   /* when the network heard it; TIME_NONE */
    uint32_t receptions;  /* gateways that heard it */
    uint64_t gateway;     /* strongest; 0 unknown */
    int rssi_dbm;         /* strongest; 0 unknown */
    int snr_tenths;       /* dB * 10 */
    int spreading_factor; /* 0 unknown */
};

struct uplink_error {
    const char *reason; /* lower_snake: "not_json", "no_dev_eui", ... */
    struct str detail;  /* text with offset or field, in the arena */
};

/* Reads the document in f->payload by f->source and the topic's event type.
 * 0; ERR_FORMAT: no frame (fate rejected); ERR_UNSUPPORTED: an event kind that
 * carries no meter data. Slices live in the arena or the payload. */
int uplink_parse(const struct frame *f, struct arena *a, struct uplink *ret,
                 struct uplink_error *error);

/* Identity of the uplink for duplicate detection (device, session, counter,
 * port, payload; without counters the dedup id; else the content), to be
 * combined with the tenant. */
struct hash128;
void uplink_key(const struct uplink *u, struct hash128 *ret);
