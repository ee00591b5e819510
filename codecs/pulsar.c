/*
 * pulsar.c - Pulsar meters of Teplovodokhran over a transparent channel: pulse
 * registrators ("pulsar-m") and heat meters ("pulsar-heat").
 *
 * Source: the maker's protocol "Pulsar-M" (public). Frames, little-endian but
 * for the address (BCD, as printed):
 *   0  4  address          4  u8 function       5  u8 length of the whole
 *   6  data                n-4  u16 identifier  n-2  u16 CRC-16/Modbus
 *   00 error: u8 code      01 read: u32 mask -> one value per channel, float32
 *   or float64             04 time -> YY MM DD hh mm ss
 *   06 archive: u32 mask, u16 type (1 hour, 2 day, 3 month), from, to
 *      -> u32 mask, from, float32 values, the older first
 *   07 weights of pulses   0A parameter -> 8 bytes
 * An answer does not say which channels, or which archive, it holds: the
 * payload is the conversation as the channel heard it, requests and answers in
 * pairs of one identifier. Without its request a value is kept under its
 * position.
 *
 * Channels of the heat meter are fixed; those of a registrator are counters in
 * the unit that it was set up with, which is cubic metres where nobody said
 * otherwise: ours to decide.
 */
#include "codecs/cosem.h"
#include "codecs/crc16.h"
#include "schema/reading.h"
#include "server/base/bytes.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include <stdio.h>

enum { HEAD = 6, TAIL = 4, LEAST = HEAD + TAIL, CHANNELS = 32, TIME = 6 };
enum { F_ERROR = 0, F_READ = 1, F_TIME = 4, F_ARCHIVE = 6, F_WEIGHTS = 7 };
enum { F_PARAMETER = 0x0A, DECIMALS = -6 };

struct frame {
    const uint8_t *data;
    size_t n, offset; /* of data */
    uint8_t function;
    uint32_t address; /* BCD */
    uint16_t id;
};

/* What a channel measures; Q_UNKNOWN where it has none. */
struct channel {
    enum quantity quantity;
    enum unit unit;
    struct obis obis;
    enum value_kind kind;
    uint32_t subunit;
};

struct pulsar {
    struct decoded *d;
    struct channel (*channel)(unsigned number); /* from 0 */
    struct frame request;                       /* data NULL: none open */
};

static struct channel registrator_channel(unsigned number)
{
    return (struct channel){Q_VOLUME, UNIT_M3, OBIS_NONE, KIND_CUMULATIVE,
                            number + 1};
}

static struct channel heat_channel(unsigned number)
{
    static const struct {
        enum quantity quantity;
        enum unit unit;
    } channels[] = {
        [2] = {Q_FLOW_TEMPERATURE, UNIT_CEL},
        [3] = {Q_RETURN_TEMPERATURE, UNIT_CEL},
        [4] = {Q_TEMPERATURE_DIFFERENCE, UNIT_K},
        [5] = {Q_POWER, UNIT_GCAL_H},
        [6] = {Q_ENERGY, UNIT_GCAL},
        [7] = {Q_VOLUME, UNIT_M3},
        [8] = {Q_FLOW, UNIT_M3_H},
    };
    struct channel c = {.obis = OBIS_NONE};

    if (number >= 9 && number <= 12) /* its pulse inputs: water meters */
        return (struct channel){Q_VOLUME, UNIT_M3,
                                OBIS(8, (uint8_t)(number - 8), 1, 0, 0),
                                KIND_CUMULATIVE, 0};
    if (number < sizeof(channels) / sizeof(*channels)) {
        c.quantity = channels[number].quantity;
        c.unit = channels[number].unit;
    }
    return c;
}

static int fail(struct pulsar *p, int err, const char *text, size_t at)
{
    return decoded_fail(p->d, err, text, at);
}

static int take_time(struct pulsar *p, struct bytes *in, size_t at,
                     struct meter_time *ret)
{
    const uint8_t *t = bytes_take(in, TIME);

    *ret = (struct meter_time){METER_TIME_LOCAL, 0, false, -1};
    if (!t)
        return fail(p, ERR_SHORT, "Pulsar: time cut off", at);
    if (civil_us(2000 + t[0], t[1], t[2], t[3], t[4], t[5], &ret->us) < 0)
        return fail(p, ERR_FORMAT, "Pulsar: no such time", at);
    return 0;
}

/* A value of a channel; `size` 4 or 8 bytes of IEEE 754. */
static int add_value(struct pulsar *p, struct channel c, uint32_t row,
                     const uint8_t *raw, size_t size, size_t at)
{
    struct measurement m = {.row = row,
                            .quantity = c.quantity,
                            .unit = c.unit,
                            .obis = c.obis,
                            .kind = c.kind,
                            .subunit = c.subunit,
                            .offset = (uint32_t)at};
    double value;
    float single;

    if (size == sizeof(single)) {
        memcpy(&single, raw, sizeof(single));
        m.value = cosem_double((double)single, 9);
    } else {
        memcpy(&value, raw, sizeof(value));
        m.value = cosem_double(value, 17);
    }
    /* the same decimals in every reading, where they are enough */
    if (m.value.mantissa != VALUE_NONE)
        decimal_rescale(m.value, DECIMALS, &m.value);
    return decoded_add(p->d, &m);
}

static uint32_t mask_of(const struct frame *request)
{
    struct bytes in = bytes_of(request->data, request->n);
    return request->data ? bytes_u32(&in) : 0;
}

static int take_values(struct pulsar *p, const struct frame *f)
{
    uint32_t mask = mask_of(&p->request);
    size_t n = 0, size = f->n % 8 || f->n == 8 ? 4 : 8, at = 0;
    int r = 0;

    for (unsigned i = 0; i < CHANNELS; i++)
        n += mask >> i & 1;
    if (n)
        size = f->n / n;
    if ((size != 4 && size != 8) || f->n % size || (n && n * size != f->n))
        return fail(p, ERR_FORMAT, "Pulsar: values for the channels asked",
                    f->offset);
    for (unsigned i = 0; i < CHANNELS && at < f->n && r >= 0; i++) {
        struct channel c = {.obis = OBIS_NONE, .subunit = i + 1};

        if (n && !(mask >> i & 1))
            continue;
        if (n)
            c = p->channel(i);
        r = add_value(p, c, 0, f->data + at, size, f->offset + at);
        at += size;
    }
    return r;
}

/* The next step of an archive: hour, day or month. */
static int64_t next_us(int64_t us, unsigned type)
{
    static const int64_t steps[] = {0, 3600, 86400};
    char text[TIME_TEXT];
    struct stamp st;

    if (type < 3)
        return us + steps[type] * US_PER_S;
    /* 31 days on is in the next month, or a few days into it: its day 1 */
    time_text(us + 31 * 86400 * US_PER_S, text);
    text[8] = '0';
    text[9] = '1';
    return stamp_parse(str_of(text), &st) == 0 ? st.us : us;
}

static int take_archive(struct pulsar *p, const struct frame *f)
{
    struct bytes in = bytes_of(f->data, f->n);
    struct bytes asked = bytes_of(p->request.data, p->request.n);
    uint32_t mask = bytes_u32(&in);
    struct meter_time t;
    unsigned channel = 0;
    int r = take_time(p, &in, f->offset + 4, &t);

    if (!p->request.data)
        return fail(p, ERR_UNKNOWN,
                    "Pulsar: an archive without its request has no interval",
                    f->offset);
    bytes_u32(&asked);
    unsigned type = bytes_u16(&asked);
    while (channel < CHANNELS && !(mask >> channel & 1))
        channel++;
    if (r == 0 && (type < 1 || type > 3 || mask != 1u << (channel & 31)))
        return fail(p, ERR_FORMAT, "Pulsar: type or channel of an archive",
                    f->offset);
    while (r >= 0 && bytes_left(&in) >= 4) {
        size_t at = f->offset + bytes_offset(&in);
        const uint8_t *raw = bytes_take(&in, 4);
        uint32_t row = 0;

        if ((r = decoded_add_row(p->d, t, &row)) >= 0)
            r = add_value(p, p->channel(channel), row, raw, 4, at);
        t.us = next_us(t.us, type);
    }
    return r;
}

static int take_clock(struct pulsar *p, const struct frame *f)
{
    struct bytes in = bytes_of(f->data, f->n);
    int r = take_time(p, &in, f->offset, &p->d->clock);

    if (r == 0)
        p->d->rows[0].time = p->d->clock;
    return r;
}

static int take_error(struct pulsar *p, const struct frame *f)
{
    struct decoded_event e = {.code = STR("device.app_error"),
                              .time = {.dst = -1},
                              .detail = arena_printf(p->d->arena, "error %u",
                                                     f->n ? f->data[0] : 0u)};
    return decoded_add_event(p->d, &e);
}

static int take_text(struct pulsar *p, const struct frame *f)
{
    char name[24];

    snprintf(name, sizeof(name), "function %02X", f->function);
    return cosem_add_text(
        p->d, 0, f->offset, name,
        cosem_hex(p->d->arena, (struct str){(const char *)f->data, f->n}));
}

static const struct answer {
    uint8_t function;
    int (*take)(struct pulsar *p, const struct frame *f);
} answers[] = {
    {F_ERROR, take_error},     {F_READ, take_values},  {F_TIME, take_clock},
    {F_ARCHIVE, take_archive}, {F_WEIGHTS, take_text}, {F_PARAMETER, take_text},
};

static int take_answer(struct pulsar *p, const struct frame *f)
{
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        if (answers[i].function == f->function)
            return answers[i].take(p, f);
    }
    return take_text(p, f);
}

/* One frame at `at`; its length, or an error. */
static int take_frame(struct pulsar *p, struct str s, size_t at,
                      struct frame *f)
{
    const uint8_t *b = (const uint8_t *)s.p + at;
    size_t left = s.n - at, n = left >= HEAD ? b[5] : 0;

    if (left < HEAD || n > left)
        return fail(p, ERR_SHORT, "Pulsar: frame cut off", s.n);
    if (n < LEAST)
        return fail(p, ERR_FORMAT, "Pulsar: length of the frame", at + 5);
    if (crc16_modbus(b, n - 2) != (b[n - 2] | b[n - 1] << 8))
        return fail(p, ERR_DAMAGED, "Pulsar: CRC of the frame", at);
    *f = (struct frame){.data = b + HEAD,
                        .n = n - LEAST,
                        .offset = at + HEAD,
                        .function = b[4],
                        .address = (uint32_t)b[0] << 24 | b[1] << 16 |
                                   b[2] << 8 | b[3],
                        .id = (uint16_t)(b[n - 4] | b[n - 3] << 8)};
    return (int)n;
}

static bool answers_to(const struct frame *request, const struct frame *f)
{
    return request->id == f->id && request->address == f->address &&
           (request->function == f->function || f->function == F_ERROR);
}

/* A frame that a frame of the same identifier follows is a request; one that
 * stands alone is an answer. */
static int decode_as(const struct codec_input *in, struct decoded *d,
                     struct channel (*channel)(unsigned number))
{
    struct pulsar p = {.d = d, .channel = channel};
    struct frame f = {0}, next = {0};
    size_t at = 0;
    int r = take_frame(&p, in->payload, 0, &f);

    if (r >= 0)
        d->serial = arena_printf(d->arena, "%08X", f.address);
    while (r >= 0) {
        at += (size_t)r;
        bool last = at == in->payload.n;
        if (!last && (r = take_frame(&p, in->payload, at, &next)) < 0)
            return r;
        if (next.address != f.address && !last)
            return fail(&p, ERR_FORMAT, "Pulsar: frames of two meters", at);
        if (!last && !p.request.data && answers_to(&f, &next)) {
            p.request = f;
        } else {
            int err = take_answer(&p, &f);
            if (err < 0 || last)
                return err;
            p.request = (struct frame){0};
        }
        f = next;
    }
    return r;
}

static int decode_registrator(const struct codec_input *in, struct decoded *d)
{
    return decode_as(in, d, registrator_channel);
}

static int decode_heat(const struct codec_input *in, struct decoded *d)
{
    return decode_as(in, d, heat_channel);
}

static const struct codec_vector registrator_vectors[] = {
    {.name = "two counters, float64",
     .hex = "12345678010E03000000010078F912345678011A295C8FC2F596854014AE"
            "47E17AE07C400100BABC",
     .expect = "water; serial 12345678; volume [subunit 1] 690.870000 m3; vo"
               "lume [subunit 2] 462.030000 m3"},
    {.name = "two reads, one after the other",
     .hex = "12345678010E010000000100791B123456780112295C8FC2F59685400100"
            "F48512345678010E00020000020001FA1234567801120000000000001440"
            "0200579B",
     .expect = "water; serial 12345678; volume [subunit 1] 690.870000 m3; vo"
               "lume [subunit 10] 5.000000 m3"},
    {.name = "hourly archive of channel 1",
     .hex = "12345678061C0100000001001A011E1700001A011F01000009008CBC1234"
            "5678061C010000001A011E17000000A02C4400B02C4409000A44",
     .expect = "water; serial 12345678; @2026-01-30T23:00:00; volume [subuni"
               "t 1] 690.500000 m3; @2026-01-31T00:00:00; volume [subunit 1]"
               " 690.750000 m3"},
    {.name = "weights of pulses",
     .hex = "12345678070E030000000100F8D31234567807120AD7233C0AD7233C0100"
            "C1AC",
     .expect = "water; serial 12345678; text function 07=0AD7233C0AD7233C"},
    {.name = "length too short", .hex = "1234567801050000", .err = ERR_FORMAT},
    {.name = "a cut second frame",
     .hex = "12345678010E03000000010078F912345678011A295C8FC2F596854014AE",
     .err = ERR_SHORT},
    {0},
};

const struct codec codec_pulsar_m = {
    .abi = CODEC_ABI,
    .name = "pulsar-m",
    .version = 1,
    .title = "Pulsar pulse registrators and water meters",
    .source = "Teplovodokhran, protocol Pulsar-M",
    .medium = MEDIUM_WATER,
    .decode = decode_registrator,
    .vectors = registrator_vectors,
};

static const struct codec_vector heat_vectors[] = {
    {.name = "all channels, request and answer",
     .hex = "12345678010EFC1F00000700FA94123456780136CDCC9C42333323426666"
            "1642CDCC4C3C0000484100A0AC430000803E000028410000A24100000000"
            "0000803F0700284F",
     .expect = "heat; serial 12345678; flow-temperature 78.400000 Cel; retur"
               "n-temperature 40.800000 Cel; temperature-difference 37.60000"
               "0 K; power 0.012500 Gcal/h; energy 12.500000 Gcal; volume 34"
               "5.250000 m3; flow 0.250000 m3/h; volume 8-1:1.0.0 10.500000 "
               "m3; volume 8-2:1.0.0 20.250000 m3; volume 8-3:1.0.0 0.000000"
               " m3; volume 8-4:1.0.0 1.000000 m3"},
    {.name = "one channel, the public example",
     .hex = "00107080010E0400000000007CA700107080010E5AB3C541000018DB",
     .expect = "heat; serial 00107080; flow-temperature 24.712574 Cel"},
    {.name = "an answer alone: positions",
     .hex = "1234567801120000C03F0000204001009A08",
     .expect = "heat; serial 12345678; unknown [subunit 1] 1.500000; unknown"
               " [subunit 2] 2.500000"},
    {.name = "clock of the meter",
     .hex = "1234567804101A010F0C00050300A3A7",
     .expect = "heat; serial 12345678; clock 2026-01-15T12:00:05"},
    {.name = "daily archive of energy",
     .hex = "12345678061C4000000002001A011E0000001A02010000000900BC991234"
            "56780620400000001A011E0000000000C03F0000E03F000000400900FB99",
     .expect = "heat; serial 12345678; @2026-01-30T00:00:00; energy 1.500000"
               " Gcal; @2026-01-31T00:00:00; energy 1.750000 Gcal; @2026-02-"
               "01T00:00:00; energy 2.000000 Gcal"},
    {.name = "monthly archive",
     .hex = "12345678061C400000000300190B010000001A0101000000090080EB1234"
            "5678062040000000190B010000000000C03F0000E03F00000040090013A1",
     .expect = "heat; serial 12345678; @2025-11-01T00:00:00; energy 1.500000"
               " Gcal; @2025-12-01T00:00:00; energy 1.750000 Gcal; @2026-01-"
               "01T00:00:00; energy 2.000000 Gcal"},
    {.name = "the meter refuses",
     .hex = "12345678010EFC1F00000700FA9412345678000B020700411E",
     .expect = "heat; serial 12345678; event device.app_error pulse error 2"},
    {.name = "CRC of a frame",
     .hex = "12345678010EFC1F00000700FA94123456780136CDCC9C42333323426666"
            "1642CDCC4C3C0000484100A0AC430000803E000028410000A24100000000"
            "0000803F07002800",
     .err = ERR_DAMAGED},
    {.name = "frame cut off",
     .hex = "12345678010EFC1F00000700FA94123456780136CDCC9C42333323426666"
            "1642CDCC4C3C0000484100A0AC430000803E000028410000A24100000000"
            "0000803F070028",
     .err = ERR_SHORT},
    {.name = "an archive without its request",
     .hex = "123456780618400000001A011E0000000000C03F09008961",
     .err = ERR_UNKNOWN},
    {.name = "values that fit no channels",
     .hex = "12345678010EFC1F00000700FA9412345678011E00000000000000000000"
            "000000000000000000000700F6B5",
     .err = ERR_FORMAT},
    {.name = "no such day",
     .hex = "1234567804101A021F0C000503009237",
     .err = ERR_FORMAT},
    {.name = "two meters in one payload",
     .hex = "1234567804101A010F0C00050300A3A70000000104101A010F0C00050400"
            "B064",
     .err = ERR_FORMAT},
    {0},
};

const struct codec codec_pulsar_heat = {
    .abi = CODEC_ABI,
    .name = "pulsar-heat",
    .version = 1,
    .title = "Pulsar heat meters",
    .source = "Teplovodokhran, protocol Pulsar-M; channels of the heat meter",
    .medium = MEDIUM_HEAT,
    .decode = decode_heat,
    .vectors = heat_vectors,
};
