/*
 * vega.h - packets that Vega's LoRaWAN devices share, and that our profile for
 * KARAT modules borrows: FPort 4, request and correction of the time.
 */
#pragma once

#include "codecs/codec.h"
#include "server/base/bytes.h"

enum { VEGA_PORT_TIME = 4, VEGA_TIME = 0xFF, VEGA_CORRECTION = 9 };

/* UTC seconds of the device; 0 stands for a clock that was never set. */
struct meter_time vega_time(uint32_t seconds);
/* FF is passed; u32 UTC: the device's clock. ERR_SHORT. */
int vega_time_request(struct decoded *d, struct bytes *in);
/* The answer: FF, i64 seconds to add to the device's clock. */
void vega_correction(int64_t seconds, uint8_t out[VEGA_CORRECTION]);
