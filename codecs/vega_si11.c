/*
 * vega_si11.c - Vega SI-11: LoRaWAN pulse counter with four inputs.
 *
 * Source: Vega SI-11 user manual, communication protocol. Little-endian.
 * FPort 2, periodic packet:
 *   0  u8   01         1  u8  battery %      2  u8  settings
 *   3  u32  UTC, s     7  i8  temperature    8  4 x u32 pulses of input 1..4
 * FPort 2, alarm of a guarded input:
 *   0  u8   02         1  u8  battery %      2  u8  settings
 *   3  u8   input      4  u32 UTC, s         8  4 x u32 pulses
 * FPort 4, request of the time: 0 u8 FF, 1 u32 UTC of the meter; the answer is
 * FF and an i64 correction in seconds.
 * FPort 3, settings: 0 u8 00, then {u16 id, u8 size, value}.
 * Settings byte: bit 0 ABP, 1..3 period (5 min to 24 h), 4..7 guarded inputs.
 *
 * The counters are pulses: what one pulse is worth belongs to the meter behind
 * the input. A temperature is that of the device.
 */
#include "codecs/cosem.h"
#include "schema/reading.h"
#include "server/base/bytes.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include <stdio.h>

enum { PORT_DATA = 2, PORT_SETTINGS = 3, PORT_TIME = 4, INPUTS = 4 };
enum { PERIODIC = 1, ALARM = 2, TIME_REQUEST = 0xFF };

static int fail_short(struct decoded *d, size_t n)
{
    return decoded_fail(d, ERR_SHORT, "Vega SI-11: packet cut off", n);
}

static int add(struct decoded *d, struct measurement m, int64_t value)
{
    m.value.mantissa = value;
    m.obis = OBIS_NONE;
    return decoded_add(d, &m);
}

static struct meter_time device_time(uint32_t seconds)
{
    return (struct meter_time){METER_TIME_UTC, seconds * US_PER_S, seconds == 0,
                               -1};
}

static void set_clock(struct decoded *d, uint32_t seconds)
{
    d->clock = device_time(seconds);
    d->rows[0].time = d->clock;
}

static int add_state(struct decoded *d, uint8_t battery, uint8_t settings)
{
    static const char *const periods[] = {"5 min", "15 min", "30 min", "1 h",
                                          "6 h",   "12 h",   "24 h",   "?"};
    int r = add(d,
                (struct measurement){.quantity = Q_BATTERY_PERCENT,
                                     .unit = UNIT_PERCENT,
                                     .offset = 1},
                battery);

    if (r < 0)
        return r;
    return cosem_add_text(d, 0, 2, "settings",
                          arena_printf(d->arena, "%s, %s, guarded inputs %X",
                                       settings & 1 ? "ABP" : "OTAA",
                                       periods[settings >> 1 & 7],
                                       settings >> 4));
}

static int add_inputs(struct decoded *d, struct bytes *in)
{
    int r = 0;

    for (uint32_t i = 1; i <= INPUTS && r >= 0; i++) {
        struct measurement m = {.quantity = Q_COUNT,
                                .unit = UNIT_PULSE,
                                .subunit = i,
                                .offset = (uint32_t)bytes_offset(in)};
        r = add(d, m, bytes_u32(in));
    }
    return r;
}

static int periodic(struct decoded *d, struct bytes *in)
{
    uint8_t battery = bytes_u8(in), settings = bytes_u8(in);
    uint32_t seconds = bytes_u32(in);
    int8_t temperature = (int8_t)bytes_u8(in);
    int r;

    if (bytes_left(in) < INPUTS * 4)
        return fail_short(d, bytes_offset(in));
    set_clock(d, seconds);
    if ((r = add_state(d, battery, settings)) < 0)
        return r;
    r = add(d,
            (struct measurement){.quantity = Q_EXTERNAL_TEMPERATURE,
                                 .unit = UNIT_CEL,
                                 .offset = 7},
            temperature);
    return r < 0 ? r : add_inputs(d, in);
}

static int alarm(struct decoded *d, struct bytes *in)
{
    uint8_t battery = bytes_u8(in), settings = bytes_u8(in);
    uint8_t input = bytes_u8(in);
    uint32_t seconds = bytes_u32(in);
    int r;

    if (bytes_left(in) < INPUTS * 4)
        return fail_short(d, bytes_offset(in));
    if (input == 0 || input > INPUTS)
        return decoded_fail(d, ERR_FORMAT, "Vega SI-11: inputs are 1 to 4", 3);
    set_clock(d, seconds);
    struct decoded_event e = {.code = STR("device.alarm"),
                              .time = d->clock,
                              .detail =
                                  arena_printf(d->arena, "input %u", input)};
    if ((r = decoded_add_event(d, &e)) < 0 ||
        (r = add_state(d, battery, settings)) < 0)
        return r;
    return add_inputs(d, in);
}

/* The clock alone; who answers is the time service. */
static int time_request(struct decoded *d, struct bytes *in)
{
    uint32_t seconds = bytes_u32(in);

    if (in->ran_out)
        return fail_short(d, bytes_offset(in));
    set_clock(d, seconds);
    return 0;
}

static int settings(struct decoded *d, struct bytes *in)
{
    int r = 0;

    while (bytes_left(in) && r >= 0) {
        size_t at = bytes_offset(in);
        uint16_t id = bytes_u16(in);
        uint8_t n = bytes_u8(in);
        const uint8_t *p = bytes_take(in, n);
        char name[24];

        if (!p)
            return fail_short(d, bytes_offset(in));
        snprintf(name, sizeof(name), "setting %u", id);
        r = cosem_add_text(
            d, 0, at, name,
            cosem_hex(d->arena, (struct str){(const char *)p, n}));
    }
    return r;
}

/* Later firmware may append fields. */
static int add_rest(struct decoded *d, struct bytes *in)
{
    size_t at = bytes_offset(in), n = bytes_left(in);
    const uint8_t *p = bytes_take(in, n);

    return n ? cosem_add_text(
                   d, 0, at, "rest",
                   cosem_hex(d->arena, (struct str){(const char *)p, n}))
             : 0;
}

static const struct packet {
    int port;
    uint8_t type;
    int (*decode)(struct decoded *d, struct bytes *in);
} packets[] = {
    {PORT_DATA, PERIODIC, periodic},
    {PORT_DATA, ALARM, alarm},
    {PORT_TIME, TIME_REQUEST, time_request},
    {PORT_SETTINGS, 0, settings},
};

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct bytes b = bytes_of(in->payload.p, in->payload.n);
    uint8_t type = bytes_u8(&b);

    for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
        const struct packet *p = &packets[i];

        if ((in->port != 0 && p->port != in->port) || p->type != type)
            continue;
        int r = p->decode(d, &b);
        return r < 0 ? r : add_rest(d, &b);
    }
    return decoded_fail(d, ERR_UNSUPPORTED,
                        "Vega SI-11: no such packet on this FPort", 0);
}

static const struct codec_vector vectors[] = {
    {.name = "periodic",
     .hex = "01 5F 46 40D66869 F6 01000000 FFFFFFFF 00000000 39300000",
     .port = PORT_DATA,
     .expect = "other; clock 2026-01-15T11:57:52Z; battery-percent 95 %; t"
               "ext settings=OTAA, 1 h, guarded inputs 4; external-tempera"
               "ture -10 Cel; count [subunit 1] 1 pulse; count [subunit 2]"
               " 4294967295 pulse; count [subunit 3] 0 pulse; count [subun"
               "it 4] 12345 pulse"},
    {.name = "alarm of input 2",
     .hex = "02 64 31 02 40D66869 01000000 02000000 03000000 04000000",
     .port = PORT_DATA,
     .expect = "other; clock 2026-01-15T11:57:52Z; battery-percent 100 %; "
               "text settings=ABP, 5 min, guarded inputs 3; count [subunit"
               " 1] 1 pulse; count [subunit 2] 2 pulse; count [subunit 3] "
               "3 pulse; count [subunit 4] 4 pulse; event device.alarm pul"
               "se @2026-01-15T11:57:52Z input 2"},
    {.name = "request of the time",
     .hex = "FF 40D66869",
     .port = PORT_TIME,
     .expect = "other; clock 2026-01-15T11:57:52Z"},
    {.name = "settings",
     .hex = "00 0400 01 02 3100 02 E803",
     .port = PORT_SETTINGS,
     .expect = "other; text setting 4=02; text setting 49=E803"},
    {.name = "clock never set",
     .hex = "FF 00000000",
     .port = PORT_TIME,
     .expect = "other; clock 1970-01-01T00:00:00Z invalid"},
    {.name = "a byte that the manual does not know",
     .hex = "01 5F 46 40D66869 F6 01000000 FFFFFFFF 00000000 39300000 07",
     .port = PORT_DATA,
     .expect = "other; clock 2026-01-15T11:57:52Z; battery-percent 95 %; t"
               "ext settings=OTAA, 1 h, guarded inputs 4; external-tempera"
               "ture -10 Cel; count [subunit 1] 1 pulse; count [subunit 2]"
               " 4294967295 pulse; count [subunit 3] 0 pulse; count [subun"
               "it 4] 12345 pulse; text rest=07"},
    {.name = "one input cut off",
     .hex = "01 5F 46 40D66869 F6 01000000 FFFFFFFF 00000000",
     .port = PORT_DATA,
     .err = ERR_SHORT},
    {.name = "input 5",
     .hex = "02 64 31 05 40D66869 01000000 02000000 03000000 04000000",
     .port = PORT_DATA,
     .err = ERR_FORMAT},
    {.name = "request of the time cut off",
     .hex = "FF 40D668",
     .port = PORT_TIME,
     .err = ERR_SHORT},
    {.name = "setting cut off",
     .hex = "00 0400 05 02",
     .port = PORT_SETTINGS,
     .err = ERR_SHORT},
    {.name = "another port", .hex = "01 5F", .port = 7, .err = ERR_UNSUPPORTED},
    {0},
};

const struct codec codec_vega_si11 = {
    .abi = CODEC_ABI,
    .name = "vega-si11",
    .version = 1,
    .title = "Vega SI-11 pulse counter, LoRaWAN",
    .source = "Vega SI-11 user manual, communication protocol",
    .medium = MEDIUM_OTHER,
    .decode = decode,
    .vectors = vectors,
};
