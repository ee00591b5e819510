/*
 * contact.h - one contact with a meter, as the time service wants it: what its
 * clock showed, what it asked, and how it can be answered.
 */
#pragma once

#include "codecs/codec.h"
#include "schema/frame.h"

struct clock_contact {
    int32_t tenant_id, meter_id;
    int32_t integration_id;
    enum frame_source source;
    struct str topic; /* of the uplink; empty for TCP */
    uint64_t dev_eui;
    int port; /* LoRaWAN */
    struct str payload;
    const struct codec *codec;
    int64_t heard_us;
    bool network_time; /* heard_us is the network's, not our reception */
    int64_t clock_us;  /* TIME_NONE: it showed none */
    bool distrusted;   /* by the meter itself: not among the samples */
};

/* From what the clock showed to its being heard: how long is expected, give or
 * take. */
struct contact_delay {
    int64_t delay_us, spread_us;
};
struct contact_delay contact_delay(const struct codec *c, bool network_time,
                                   int64_t clock_us);
