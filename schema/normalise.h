/*
 * normalise.h - one measurement to one register: canonical OBIS, canonical
 * unit, exact value.
 */
#pragma once

#include "schema/reading.h"

/* What the derivation needs of a measurement, in schema's own words. */
struct measured {
    enum medium medium;
    enum quantity quantity;
    enum unit unit;
    struct decimal value;
    struct obis obis;     /* OBIS_NONE: derive */
    enum value_kind kind; /* read only where obis is given */
    uint32_t storage, tariff, subunit;
    uint8_t phase; /* 0 none, 1..3 L1..L3, 4 N, 5..7 L1-L2, L2-L3, L3-L1,
                      8..11 quadrants, 12 import less export, 13 both added */
    bool maximum, minimum; /* function */
    bool export_, uncorrected, base;
};

struct normal {
    struct obis obis;
    enum unit unit;
    enum value_kind kind;
    struct decimal value;
    uint32_t quality; /* QUALITY_UNIT_KEPT */
};

/* ERR_UNKNOWN when there is no register for it (a date, a text, a rate): the
 * caller keeps it as an extra. */
int normalise(const struct measured *m, struct normal *ret);
