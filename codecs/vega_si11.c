/*
 * vega_si11.c - Vega SI-11: LoRaWAN pulse counter with four inputs.
 *
 * Source: Vega SI-11 user manual, revision 26, communication protocol.
 * Little-endian.
 * FPort 2, periodic packet:
 *   0  u8   01         1  u8  battery %      2  u8  settings
 *   3  u32  UTC, s     7  i8  temperature    8  4 x u32 of input 1..4
 * FPort 2, alarm of a guarded input:
 *   0  u8   02         1  u8  battery %      2  u8  settings
 *   3  u8   input      4  u32 UTC, s         8  4 x u32
 * FPort 4, request of the time: 0 u8 FF, 1 u32 UTC of the meter; the answer is
 * FF and an i64 correction in seconds.
 * FPort 3, settings, both ways: 0 u8 00, then {u16 id, u8 size, value}; 01 down
 * asks for them.
 * Settings byte: bit 0 ABP, 1..3 period (5 min to 24 h), 4..7 guarded inputs.
 *
 * The counters are pulses: what one pulse is worth belongs to the meter behind
 * the input. A guarded input is 0 open, 1 closed. A temperature is that of the
 * device. Packets wait in the device's memory, the earliest goes first: their
 * time is that of the reading, and no word about the clock.
 */
#include "codecs/cosem.h"
#include "codecs/vega.h"
#include "schema/reading.h"
#include "server/base/bytes.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include <stdio.h>

enum { PORT_DATA = 2, PORT_SETTINGS = 3, INPUTS = 4 };
enum { PERIODIC = 1, ALARM = 2, SETTINGS = 0 };
enum { SETTING_PERIOD = 16, SETTING_ZONE = 55 };

static int fail_short(struct decoded *d, size_t n)
{
    return decoded_fail(d, ERR_SHORT, "Vega: packet cut off", n);
}

/* All values of a packet are of its last row. */
static int add(struct decoded *d, struct measurement m, int64_t value)
{
    m.value.mantissa = value;
    m.obis = OBIS_NONE;
    m.row = d->n_rows - 1;
    return decoded_add(d, &m);
}

struct meter_time vega_time(uint32_t seconds)
{
    return (struct meter_time){METER_TIME_UTC, seconds * US_PER_S, seconds == 0,
                               -1};
}

void vega_correction(int64_t seconds, uint8_t out[VEGA_CORRECTION])
{
    out[0] = VEGA_TIME;
    for (int i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)((uint64_t)seconds >> (8 * i));
}

/* A row for a packet; without a clock the readings are of now. */
static int begin(struct decoded *d, uint32_t seconds)
{
    uint32_t row;
    return seconds ? decoded_add_row(d, vega_time(seconds), &row) : 0;
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
    return cosem_add_text(d, d->n_rows - 1, 2, "settings",
                          arena_printf(d->arena, "%s, %s, guarded inputs %X",
                                       settings & 1 ? "ABP" : "OTAA",
                                       periods[settings >> 1 & 7],
                                       settings >> 4));
}

static int add_inputs(struct decoded *d, struct bytes *in, uint8_t settings)
{
    int r = 0;

    for (uint32_t i = 1; i <= INPUTS && r >= 0; i++) {
        bool guarded = settings >> (3 + i) & 1;
        struct measurement m = {.quantity = guarded ? Q_DIGITAL_INPUT : Q_COUNT,
                                .unit = guarded ? UNIT_NONE : UNIT_PULSE,
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
    if ((r = begin(d, seconds)) < 0 ||
        (r = add_state(d, battery, settings)) < 0)
        return r;
    r = add(d,
            (struct measurement){.quantity = Q_EXTERNAL_TEMPERATURE,
                                 .unit = UNIT_CEL,
                                 .offset = 7},
            temperature);
    return r < 0 ? r : add_inputs(d, in, settings);
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
    struct decoded_event e = {.code = STR("device.alarm"),
                              .time = vega_time(seconds),
                              .detail =
                                  arena_printf(d->arena, "input %u", input)};
    if ((r = begin(d, seconds)) < 0 || (r = decoded_add_event(d, &e)) < 0 ||
        (r = add_state(d, battery, settings)) < 0)
        return r;
    return add_inputs(d, in, settings);
}

/* The clock alone; who answers is the time service. */
int vega_time_request(struct decoded *d, struct bytes *in)
{
    uint32_t seconds = bytes_u32(in);

    if (in->ran_out)
        return fail_short(d, bytes_offset(in));
    d->clock = vega_time(seconds);
    d->rows[0].time = d->clock;
    return 0;
}

static const struct setting {
    uint16_t id;
    const char *name;
} setting_names[] = {
    {4, "confirmed-uplinks"},
    {8, "transmissions"},
    {12, "input-1-mode"},
    {13, "input-2-mode"},
    {14, "input-3-mode"},
    {15, "input-4-mode"},
    {SETTING_PERIOD, "period"},
    {49, "collection-period"},
    {SETTING_ZONE, "time-zone-minutes"},
};

/* A known setting as a number, another in hex. */
static int add_setting(struct decoded *d, uint16_t id, const uint8_t *p,
                       uint8_t n, size_t at)
{
    int64_t value = 0;
    char name[48];

    snprintf(name, sizeof(name), "setting %u", id);
    for (size_t i = 0; i < sizeof(setting_names) / sizeof(*setting_names);
         i++) {
        if (setting_names[i].id != id || n == 0 || n > 4)
            continue;
        for (uint8_t k = 0; k < n; k++)
            value |= (int64_t)p[k] << (8 * k);
        if (id == SETTING_ZONE && n == 2)
            value = (int16_t)value;
        snprintf(name, sizeof(name), "setting %u %s", id,
                 setting_names[i].name);
        return cosem_add_text(d, 0, at, name,
                              arena_printf(d->arena, "%lld", (long long)value));
    }
    return cosem_add_text(
        d, 0, at, name, cosem_hex(d->arena, (struct str){(const char *)p, n}));
}

static int settings(struct decoded *d, struct bytes *in)
{
    int r = 0;

    while (bytes_left(in) && r >= 0) {
        size_t at = bytes_offset(in);
        uint16_t id = bytes_u16(in);
        uint8_t n = bytes_u8(in);
        const uint8_t *p = bytes_take(in, n);
        if (!p)
            return fail_short(d, bytes_offset(in));
        r = add_setting(d, id, p, n, at);
    }
    return r;
}

/* Later firmware may append fields. */
static int add_rest(struct decoded *d, struct bytes *in)
{
    size_t at = bytes_offset(in), n = bytes_left(in);
    const uint8_t *p = bytes_take(in, n);

    return n ? cosem_add_text(
                   d, d->n_rows - 1, at, "rest",
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
    {VEGA_PORT_TIME, VEGA_TIME, vega_time_request},
    {PORT_SETTINGS, SETTINGS, settings},
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

/* The schedule is setting 16; the clock is corrected by an answer to its
 * request alone, which is the time service's. */
static int encode(const struct command *c, struct encoded *out)
{
    static const uint8_t hours[] = {0, 1, 6, 12, 24};
    uint8_t packet[] = {SETTINGS, SETTING_PERIOD, 0, 1, 0};

    if (c->op != OP_SET_SCHEDULE)
        return ERR_UNSUPPORTED;
    for (size_t i = 1; i < sizeof(hours); i++) {
        if (hours[i] == c->period_h)
            packet[4] = (uint8_t)i;
    }
    if (packet[4] == 0)
        return ERR_RANGE;
    out->payload = arena_str(
        out->arena, (struct str){(const char *)packet, sizeof(packet)});
    out->port = PORT_SETTINGS;
    return out->payload.p ? 0 : ERR_FULL;
}

static const struct codec_vector vectors[] = {
    {.name = "periodic",
     .hex = "01 5F 46 40D66869 F6 01000000 FFFFFFFF 00000000 39300000",
     .port = PORT_DATA,
     .expect = "other; @2026-01-15T11:57:52Z; battery-percent 95 %; text set"
               "tings=OTAA, 1 h, guarded inputs 4; external-temperature -10 "
               "Cel; count [subunit 1] 1 pulse; count [subunit 2] 4294967295"
               " pulse; digital-input [subunit 3] 0; count [subunit 4] 12345"
               " pulse"},
    {.name = "alarm of input 2",
     .hex = "02 64 31 02 40D66869 01000000 02000000 03000000 04000000",
     .port = PORT_DATA,
     .expect = "other; @2026-01-15T11:57:52Z; battery-percent 100 %; text se"
               "ttings=ABP, 5 min, guarded inputs 3; digital-input [subunit "
               "1] 1; digital-input [subunit 2] 2; count [subunit 3] 3 pulse"
               "; count [subunit 4] 4 pulse; event device.alarm pulse @2026-"
               "01-15T11:57:52Z input 2"},
    {.name = "request of the time",
     .hex = "FF 40D66869",
     .port = VEGA_PORT_TIME,
     .expect = "other; clock 2026-01-15T11:57:52Z"},
    {.name = "settings",
     .hex = "00 0400 01 02 3100 01 05 3700 02 4CFF 2A00 02 E803",
     .port = PORT_SETTINGS,
     .expect = "other; text setting 4 confirmed-uplinks=2; text setting 49 c"
               "ollection-period=5; text setting 55 time-zone-minutes=-180; "
               "text setting 42=E803"},
    {.name = "clock never set",
     .hex = "FF 00000000",
     .port = VEGA_PORT_TIME,
     .expect = "other; clock 1970-01-01T00:00:00Z invalid"},
    {.name = "a byte that the manual does not know",
     .hex = "01 5F 46 40D66869 F6 01000000 FFFFFFFF 00000000 39300000 07",
     .port = PORT_DATA,
     .expect = "other; @2026-01-15T11:57:52Z; battery-percent 95 %; text set"
               "tings=OTAA, 1 h, guarded inputs 4; external-temperature -10 "
               "Cel; count [subunit 1] 1 pulse; count [subunit 2] 4294967295"
               " pulse; digital-input [subunit 3] 0; count [subunit 4] 12345"
               " pulse; text rest=07"},
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
     .port = VEGA_PORT_TIME,
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
    .version = 2,
    .title = "Vega SI-11 pulse counter, LoRaWAN",
    .source = "Vega SI-11 user manual, communication protocol",
    .medium = MEDIUM_OTHER,
    .decode = decode,
    .encode = encode,
    .vectors = vectors,
};
