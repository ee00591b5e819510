/*
 * ts003.h - LoRa Alliance TS003 application-layer clock synchronization: its
 * messages in both directions, for the time service and the codec "ts003".
 * Times of the device are GPS seconds modulo 2^32.
 */
#pragma once

#include "server/base/bytes.h"

enum { TS003_PORT = 202, TS003_PACKAGE = 1, TS003_SIZE_MAX = 6 };

enum ts003_cid {
    TS003_VERSION = 0,
    TS003_TIME = 1,
    TS003_PERIOD = 2,
    TS003_RESYNC = 3, /* down only */
};

enum ts003_direction { TS003_UP, TS003_DOWN };

/* Which members count depends on cid and direction. */
struct ts003_message {
    enum ts003_cid cid;
    uint8_t package, version; /* VERSION up */
    uint32_t device_time;     /* TIME up, PERIOD up */
    bool answer_required;     /* TIME up */
    uint8_t token;            /* TIME; 0..15; an answer repeats it */
    int32_t correction_s;     /* TIME down: added to the device's clock */
    uint8_t period;           /* PERIOD down; 0..15: 128 * 2^period s */
    bool not_supported;       /* PERIOD up */
    uint8_t transmissions;    /* RESYNC; 1..7 */
};

/* 1 and the next of the messages in one frame, 0 at the end; ERR_SHORT;
 * ERR_FORMAT: an unknown command, behind which nothing can be read. */
int ts003_next(struct bytes *in, enum ts003_direction dir,
               struct ts003_message *ret);
/* Bytes written to out, at most TS003_SIZE_MAX; ERR_RANGE for a member out of
 * its bounds, ERR_UNSUPPORTED where the direction has no such message. */
int ts003_encode(const struct ts003_message *m, enum ts003_direction dir,
                 uint8_t *out);

/* What AppTimeAns tells a device whose AppTimeReq was heard at `heard_us`;
 * saturated to int32 (then the device must ask again, TS003-2.0.0). */
int32_t ts003_correction(int64_t heard_us, uint32_t device_time);
/* UTC of a GPS second, since 2017-01-01 (18 leap seconds), and back. */
int64_t ts003_utc_us(uint32_t gps_s);
int64_t ts003_gps_s(int64_t utc_us);
