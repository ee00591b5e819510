/*
 * acme_wm1.c - a codec outside of headend's own tree: the invented water meter
 * ACME WM1. Build: cc -shared -fPIC -I HEADEND_SOURCE -o acme-wm1.so acme_wm1.c
 *
 * Source: our own. FPort 9, little-endian: u32 serial | u32 litres | u8 alarms,
 * bit 0 leak.
 */
#include "codecs/codec.h"
#include "server/base/bytes.h"
#include "server/base/err.h"

#ifndef ACME_ABI
#define ACME_ABI CODEC_ABI
#endif
#ifndef ACME_NAME
#define ACME_NAME "acme-wm1"
#endif
#ifndef ACME_EXPECT
#define ACME_EXPECT "water; serial 4711; volume 12345 l"
#endif

#ifdef ACME_CALLS
int a_function_that_headend_does_not_export(void);
#endif

enum { LEAK = 1 };

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct bytes b = bytes_of(in->payload.p, in->payload.n);
    uint32_t serial = bytes_u32(&b), litres = bytes_u32(&b);
    uint8_t alarms = bytes_u8(&b);
    struct measurement m = {.quantity = Q_VOLUME,
                            .unit = UNIT_L,
                            .value = {litres, 0},
                            .obis = OBIS_NONE,
                            .offset = 4};
    struct decoded_event leak = {
        .code = STR("water.leak"), .state = EVENT_START, .time = {.dst = -1}};

    if (b.ran_out)
        return decoded_fail(d, ERR_SHORT, "ACME WM1: packet cut off",
                            bytes_offset(&b));
#ifdef ACME_CALLS
    serial += (uint32_t)a_function_that_headend_does_not_export();
#endif
    d->serial = arena_printf(d->arena, "%u", serial);
    int r = decoded_add(d, &m);
    return r < 0 || !(alarms & LEAK) ? r : decoded_add_event(d, &leak);
}

static const struct codec_vector vectors[] = {
    {.name = "a reading", .hex = "67120000 39300000 00", .expect = ACME_EXPECT},
    {.name = "cut off", .hex = "67120000 3930", .err = ERR_SHORT},
    {0},
};

#ifndef ACME_SYMBOL
#define ACME_SYMBOL headend_codec
#endif
extern const struct codec ACME_SYMBOL;
const struct codec ACME_SYMBOL = {
    .abi = ACME_ABI,
    .name = ACME_NAME,
    .version = 3,
    .title = "ACME WM1 water meter",
    .source = "our own, to show how",
    .medium = MEDIUM_WATER,
    .decode = decode,
    .vectors = vectors,
};
