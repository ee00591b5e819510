/*
 * quantity.c - names of quantities, media and kinds, and the EN 13757-3
 * device types behind the media.
 */
#include "schema/quantity.h"
#include "server/base/err.h"

static const char *const medium_names[MEDIUM_COUNT] = {
#define X(id, name) [id] = name,
    MEDIUM_LIST(X)
#undef X
};

static const char *const quantity_names[Q_QUANTITY_COUNT] = {
#define X(id, name) [id] = name,
    QUANTITY_LIST(X)
#undef X
};

/* EN 13757-3 device type to medium; what is not here is MEDIUM_OTHER. A
 * combined heat/cooling meter (0D) counts as heat: its cooling registers carry
 * the "negative contributions" VIFE (see normalise.c). */
static const uint8_t device_types[] = {
    [0x02] = MEDIUM_ELECTRICITY, [0x03] = MEDIUM_GAS,
    [0x04] = MEDIUM_HEAT,        [0x06] = MEDIUM_HOT_WATER,
    [0x07] = MEDIUM_WATER,       [0x08] = MEDIUM_HCA,
    [0x0A] = MEDIUM_COOLING,     [0x0B] = MEDIUM_COOLING,
    [0x0C] = MEDIUM_HEAT,        [0x0D] = MEDIUM_HEAT,
    [0x10] = MEDIUM_WATER,       [0x11] = MEDIUM_WATER,
    [0x12] = MEDIUM_GAS,         [0x13] = MEDIUM_GAS,
    [0x15] = MEDIUM_HOT_WATER,   [0x16] = MEDIUM_WATER,
    [0x17] = MEDIUM_WATER,
};

const char *medium_name(enum medium m)
{
    return (unsigned)m < MEDIUM_COUNT ? medium_names[m] : "?";
}

int medium_parse(struct str s, enum medium *ret)
{
    for (int i = 0; i < MEDIUM_COUNT; i++) {
        if (str_is(s, medium_names[i])) {
            *ret = (enum medium)i;
            return 0;
        }
    }
    return ERR_UNKNOWN;
}

enum medium medium_of_device_type(uint8_t type)
{
    return type < sizeof(device_types) ? (enum medium)device_types[type]
                                       : MEDIUM_OTHER;
}

const char *quantity_name(enum quantity q)
{
    return (unsigned)q < Q_QUANTITY_COUNT ? quantity_names[q] : "?";
}

const char *kind_name(enum value_kind k)
{
    static const char *const names[] = {"cumulative", "interval", "instant"};
    return (unsigned)k < 3 ? names[k] : "?";
}
