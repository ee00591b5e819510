/*
 * receipt.h - what a network server says about a downlink of ours: sent by
 * radio, confirmed by the device, not confirmed, refused (pure). Sources:
 * ChirpStack v4 events txack and ack (integration.proto; v3 knows no id, so its
 * are nobody's), The Things Stack v3 down/sent, down/ack, down/nack,
 * down/failed.
 */
#pragma once

#include "schema/frame.h"

/* Names the command, and which attempt at it; what sends a correction has the
 * number of that instead. */
struct downlink_ref {
    bool correction;
    int64_t id; /* 1 to 2^56 - 1 */
    uint32_t
        attempt; /* of a correction: anything that tells its answers apart */
};
enum { DOWNLINK_ID = 37 };
/* A UUID (version 8, RFC 9562) that says it all, for this tenant alone. */
const char *downlink_id(int32_t tenant, const struct downlink_ref *ref,
                        char ret[DOWNLINK_ID]);
/* ERR_UNKNOWN: not made by the function above for this tenant. */
int downlink_ref(int32_t tenant, struct str id, struct downlink_ref *ret);

struct receipt {
    struct downlink_ref ref;
    const char *event; /* of command_after() in migrations/: "radiated", "done",
                          "lost", "note" */
    char detail[200];
};

/* Is that message a receipt? */
bool receipt_topic(enum frame_source source, struct str topic);
/* ERR_FORMAT, ERR_FULL: no such document; ERR_UNKNOWN: not of our downlinks. */
int receipt_read(enum frame_source source, int32_t tenant, struct str topic,
                 struct str document, struct receipt *ret);
