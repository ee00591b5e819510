/*
 * mbus_fixed.c - the fixed data structure of EN 1434-3, CI 73 on the wire: two
 * counters, whose units and medium hide in one word.
 *
 *   0  4  identification number, BCD
 *   4  1  access number
 *   5  1  status: bit 0 counters are binary, bit 1 stored at the set date,
 *         bits 2 to 4 as in the variable structure
 *   6  2  units of counter 1 and 2 (6 bits each), medium (2 bits each)
 *   8  4  counter 1
 *  12  4  counter 2
 */
#include "codecs/mbus.h"
#include "codecs/mbus_record.h"
#include "codecs/mbus_telegram.h"
#include "schema/reading.h"
#include "server/base/err.h"

enum { SIZE = 16, BINARY = 0x01, STORED = 0x02, STATUS = 0x1C };
enum { UNIT_AS_FIRST = 0x3E };

/* Unit codes first..last step through powers of ten. */
static const struct fixed_unit {
    uint8_t first, last;
    enum quantity quantity;
    enum unit unit;
    int exp10;
} units[] = {
    {0x02, 0x0A, Q_ENERGY, UNIT_KWH, -3},
    {0x0B, 0x13, Q_ENERGY, UNIT_GJ, -6},
    {0x14, 0x1C, Q_POWER, UNIT_KW, -3},
    {0x1D, 0x25, Q_POWER, UNIT_GJ_H, -6},
    {0x26, 0x2E, Q_VOLUME, UNIT_M3, -6},
    {0x2F, 0x37, Q_FLOW, UNIT_M3_H, -6},
    {0x38, 0x38, Q_FLOW_TEMPERATURE, UNIT_CEL, -3},
    {0x39, 0x39, Q_HCA, UNIT_HCA, 0},
    {0x3F, 0x3F, Q_COUNT, UNIT_NONE, 0},
};

/* Device types of EN 13757-3 for the medium's four bits. */
static const uint8_t device_types[16] = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
    0x08, 0x00, 0x03, 0x04, 0x06, 0x07, 0x08, 0x00,
};

/* Counter 2 is the set date's value of counter 1, or a second input. */
struct place {
    uint32_t storage, subunit;
};

static int add_counter(struct decoded *d, uint8_t code, uint8_t status,
                       struct place place, const uint8_t *p, size_t at)
{
    struct mbus_record r = {.coding =
                                (enum mbus_coding)(status & BINARY ? 0x4 : 0xC),
                            .data = p,
                            .size = 4};
    struct mbus_value v = mbus_record_value(&r, true);
    struct measurement m = {.quantity = Q_UNKNOWN,
                            .value = {VALUE_NONE, 0},
                            .obis = OBIS_NONE,
                            .storage =
                                place.storage | (status & STORED ? 1u : 0u),
                            .subunit = place.subunit,
                            .offset = (uint32_t)at};

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (code < units[i].first || code > units[i].last)
            continue;
        m.quantity = units[i].quantity;
        m.unit = units[i].unit;
        m.value.exp10 = units[i].exp10 + code - units[i].first;
    }
    if (m.quantity == Q_UNKNOWN)
        m.text = arena_printf(d->arena, "unit %02x", code);
    if (v.form != MBUS_NUMBER ||
        decimal_scale(v.number, 1, m.value.exp10, &m.value) < 0)
        m.quality |= QUALITY_INVALID;
    return decoded_add(d, &m);
}

int mbus_fixed(struct mbus_telegram *t, size_t at)
{
    const uint8_t *p = t->p + at;
    int r;

    if (t->n - at != SIZE)
        return decoded_fail(t->d, t->n - at < SIZE ? ERR_SHORT : ERR_FORMAT,
                            "EN 1434-3 fixed structure: not 16 bytes", t->n);
    uint8_t first = p[6] & 0x3F, second = p[7] & 0x3F;
    bool historic = second == UNIT_AS_FIRST;
    struct place place = {historic, !historic && second == first};
    struct mbus_address a = {.type = device_types[p[6] >> 6 | p[7] >> 6 << 2]};
    memcpy(a.id, p, 4);
    if ((r = mbus_identify(t->d, &a)) < 0 ||
        (r = mbus_status(t->d, p[5] & STATUS)) < 0 ||
        (r = add_counter(t->d, first, p[5], (struct place){0}, p + 8, at + 8)) <
            0)
        return r;
    t->d->version = -1; /* this structure does not say */
    return add_counter(t->d, historic ? first : second, p[5], place, p + 12,
                       at + 12);
}
