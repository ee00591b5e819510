/*
 * wmbus_maker.c - payloads under manufacturers' own CI fields (A0 to B7) that
 * others have understood and published; no standard tells them. Compared with
 * the decodings that wmbusmeters publishes.
 *
 * Diehl PRIOS (IZAR; makers HYD, SAP, DME; CI A0 to A7), offsets in the frame:
 *   4      HYD and DME: version, type, number; SAP: the number first
 *  11  u8  bit 7 alarm, bits 0-3 transmission period, 2^(n+2) s
 *  12  u8  bit 7 leakage, 5 blocked, 0-4 battery left in half years
 *  13  u8  bit 7 back flow, 6 underflow, 5 overflow, 4 submarine, 3 sensor
 *          fraud, 1 mechanical fraud
 *  15  scrambled by a shift register that address and header seed: 4B, u32
 *      volume in litres, u32 the same at the date, u16 date (type G)
 *
 * Techem (maker TCH), offsets behind the CI field:
 *   1  u16  set date: day, month, year of 5, 4, 6 bits
 *   3  u16  value at the set date
 *   7  u16  value since then
 *   9  u16  temperatures of room and radiator, 0.01 Cel; version 94: from 10 on
 * Whether the meters for water and heat count on over the set date is not
 * known, so only heat cost allocators, which begin anew, give a register.
 */
#include "codecs/mbus.h"
#include "codecs/mbus_telegram.h"
#include "schema/reading.h"
#include "server/base/bytes.h"
#include "server/base/err.h"

enum { CI_AT = 10, PRIOS_CI_LAST = 0xA7, PRIOS_MAGIC = 0x4B };
enum { PRIOS_BODY = 15, PRIOS_SIZE = 11 }; /* magic to date */

static bool is_maker(const struct mbus_telegram *t, const char *wire)
{
    return memcmp(t->sender.manufacturer, wire, 2) == 0;
}

static int add(struct decoded *d, enum quantity q, enum unit unit,
               struct decimal value, uint32_t storage, uint32_t row, size_t at)
{
    return decoded_add(d, &(struct measurement){.row = row,
                                                .quantity = q,
                                                .unit = unit,
                                                .value = value,
                                                .obis = OBIS_NONE,
                                                .storage = storage,
                                                .offset = (uint32_t)at});
}

/* A row of that day; row 0 when it is no date. */
static int add_day(struct decoded *d, int year, int month, int day,
                   uint32_t *row)
{
    struct meter_time t = {.form = METER_TIME_LOCAL, .dst = -1};

    *row = 0;
    if (day == 0 || month == 0 ||
        civil_us(year, month, day, 0, 0, 0, &t.us) < 0)
        return 0;
    return decoded_add_row(d, t, row);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* The keys that all of these meters share; another one is not known. */
static bool unscramble(const uint8_t *p, uint8_t out[PRIOS_SIZE])
{
    static const uint32_t keys[] = {0xDFD109E8, 0xB71F0AE8};

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        uint32_t s = keys[i] ^ big_endian(p + 2) ^ big_endian(p + 6) ^
                     big_endian(p + 10);

        for (size_t k = 0; k < PRIOS_SIZE; k++) {
            for (int bit = 0; bit < 8; bit++)
                s = s << 1 | ((s >> 1 ^ s >> 2 ^ s >> 11 ^ s >> 31) & 1);
            out[k] = (uint8_t)(p[PRIOS_BODY + k] ^ (s & 0xFF));
        }
        if (out[0] == PRIOS_MAGIC)
            return true;
    }
    return false;
}

static int prios_events(struct decoded *d, const uint8_t *p)
{
    static const struct {
        uint8_t at, mask;
        const char *code;
    } rows[] = {
        {11, 0x80, "device.alarm"},      {12, 0x80, "water.leak"},
        {12, 0x20, "water.blocked"},     {13, 0x80, "water.flow_reverse"},
        {13, 0x40, "water.underflow"},   {13, 0x20, "water.overflow"},
        {13, 0x10, "tamper.submarine"},  {13, 0x08, "tamper.sensor"},
        {13, 0x02, "tamper.mechanical"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct decoded_event e = {.code = str_of(rows[i].code),
                                  .state = EVENT_START,
                                  .time = {.dst = -1}};
        int r = p[rows[i].at] & rows[i].mask ? decoded_add_event(d, &e) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int prios(struct mbus_telegram *t)
{
    struct decoded *d = t->d;
    const uint8_t *p = t->p;
    uint8_t clear[PRIOS_SIZE];
    uint32_t row;
    int r;

    if (!unscramble(p, clear))
        return ERR_UNSUPPORTED;
    if (!is_maker(t, "\x30\x4C") && (p[5] == 0x06 || p[5] == 0x07)) {
        /* version and type stand before the number */
        memcpy(t->sender.id, p + 6, 4);
        t->sender.version = p[4];
        t->sender.type = p[5];
        if ((r = mbus_identify(d, &t->sender)) < 0)
            return r;
    }
    struct bytes in = bytes_of(clear + 1, PRIOS_SIZE - 1);
    int64_t now = bytes_u32(&in), then = bytes_u32(&in);
    uint16_t date = bytes_u16(&in);
    int year = (date >> 5 & 7) | (date >> 9 & 0x78);

    d->medium = MEDIUM_WATER;
    if ((r = add(d, Q_VOLUME, UNIT_M3, (struct decimal){now, -3}, 0, 0,
                 PRIOS_BODY + 1)) < 0 ||
        (r = add_day(d, 2000 + year, date >> 8 & 15, date & 31, &row)) < 0 ||
        (r = add(d, Q_VOLUME, UNIT_M3, (struct decimal){then, -3}, 1, row,
                 PRIOS_BODY + 5)) < 0 ||
        (r = add(d, Q_BATTERY_LIFE, UNIT_MONTH,
                 (struct decimal){6 * (p[12] & 0x1F), 0}, 0, 0, 12)) < 0)
        return r;
    return prios_events(d, p);
}

static const struct techem {
    uint8_t version;
    uint8_t types[3]; /* 0: none */
    enum medium medium;
    enum quantity quantity;
    enum unit unit;
    int8_t exp10;
    uint8_t temperatures; /* offset; 0: none */
} techems[] = {
    {0x69, {0x80}, MEDIUM_HCA, Q_HCA, UNIT_HCA, 0, 9},
    {0x94, {0x80}, MEDIUM_HCA, Q_HCA, UNIT_HCA, 0, 10},
    {0x70, {0x62}, MEDIUM_HOT_WATER, Q_VOLUME, UNIT_M3, -1, 0},
    {0x70, {0x72}, MEDIUM_WATER, Q_VOLUME, UNIT_M3, -1, 0},
    {0x74, {0x62}, MEDIUM_HOT_WATER, Q_VOLUME, UNIT_M3, -1, 0},
    {0x74, {0x72}, MEDIUM_WATER, Q_VOLUME, UNIT_M3, -1, 0},
    {0x95, {0x62}, MEDIUM_HOT_WATER, Q_VOLUME, UNIT_M3, -1, 0},
    {0x95, {0x72}, MEDIUM_WATER, Q_VOLUME, UNIT_M3, -1, 0},
    {0x22, {0x43}, MEDIUM_HEAT, Q_ENERGY, UNIT_KWH, 0, 0},
    {0x39, {0x43}, MEDIUM_HEAT, Q_ENERGY, UNIT_KWH, 0, 0},
    {0x45, {0x04, 0x43, 0xC3}, MEDIUM_HEAT, Q_ENERGY, UNIT_KWH, 0, 0},
    {0x27, {0x04, 0xC3}, MEDIUM_HEAT, Q_ENERGY, UNIT_GJ, -3, 0},
};

static const struct techem *find_techem(uint8_t version, uint8_t type)
{
    for (size_t i = 0; i < sizeof(techems) / sizeof(*techems); i++) {
        const struct techem *m = &techems[i];

        if (m->version == version && type != 0 &&
            memchr(m->types, type, sizeof(m->types)))
            return m;
    }
    return NULL;
}

static int techem(struct mbus_telegram *t)
{
    const struct techem *m = find_techem(t->sender.version, t->sender.type);
    struct bytes in = bytes_of(t->p, t->n);
    struct decoded *d = t->d;
    uint32_t row;
    int r;

    if (!m)
        return ERR_UNSUPPORTED;
    bytes_take(&in, CI_AT + 2);
    uint16_t date = bytes_u16(&in);
    int64_t then = bytes_u16(&in);
    bytes_u16(&in); /* day and month of now, without a year */
    int64_t now = bytes_u16(&in);
    bytes_take(&in, m->temperatures ? m->temperatures - 9u : 0);
    int64_t room = m->temperatures ? bytes_u16(&in) : 0;
    int64_t radiator = m->temperatures ? bytes_u16(&in) : 0;
    if (in.ran_out)
        return decoded_fail(d, ERR_SHORT, "Techem: cut off", t->n);
    d->medium = m->medium;
    if ((r = add_day(d, 2000 + (date >> 9 & 63), date >> 5 & 15, date & 31,
                     &row)) < 0 ||
        (r = add(d, m->quantity, m->unit, (struct decimal){now, m->exp10}, 0, 0,
                 CI_AT + 8)) < 0 ||
        (r = add(d, m->quantity, m->unit, (struct decimal){then, m->exp10}, 1,
                 row, CI_AT + 4)) < 0)
        return r;
    if (m->temperatures == 0) {
        for (uint32_t i = 0; i < d->n_measurements; i++)
            d->measurements[i].flags |= MEASURED_RATE;
        return 0;
    }
    size_t at = CI_AT + 1 + m->temperatures;
    r = add(d, Q_EXTERNAL_TEMPERATURE, UNIT_CEL, (struct decimal){room, -2}, 0,
            0, at);
    return r < 0 ? r
                 : add(d, Q_FLOW_TEMPERATURE, UNIT_CEL,
                       (struct decimal){radiator, -2}, 0, 0, at + 2);
}

int wmbus_maker(struct mbus_telegram *t, size_t ci)
{
    bool diehl = is_maker(t, "\x24\x23") || is_maker(t, "\x30\x4C") ||
                 is_maker(t, "\xA5\x11");

    if (!t->wireless || ci != CI_AT)
        return ERR_UNSUPPORTED;
    if (diehl && t->p[ci] <= PRIOS_CI_LAST && t->n >= PRIOS_BODY + PRIOS_SIZE)
        return prios(t);
    return is_maker(t, "\x68\x50") ? techem(t) : ERR_UNSUPPORTED;
}
