/*
 * mbus_vif.h - what a value information block means: quantity, unit, power of
 * ten, and what the combinable VIFEs add (EN 13757-3, tables of the primary
 * VIF and of its extensions FB and FD).
 */
#pragma once

#include "codecs/mbus_record.h"

enum mbus_reading {                /* how the data is to be read */
                    MBUS_SIGNED,   /* a number */
                    MBUS_UNSIGNED, /* bit fields, addresses, identifications */
                    MBUS_TIME,     /* types F, G, I, J */
                    MBUS_FABRICATION, /* the serial number as digits */
                    MBUS_ENHANCED_ID, /* number, maker, version, device type */
                    MBUS_OPAQUE,      /* bytes that are no single number */
};

struct mbus_meaning {
    enum quantity quantity; /* Q_UNKNOWN: no table row */
    enum unit unit;
    int64_t mul; /* value = number * mul * 10^exp10 */
    int exp10;
    enum mbus_reading reading;
    uint32_t flags;     /* enum measurement_flag */
    uint8_t phase;      /* enum measurement_phase */
    enum unit duration; /* a VIFE says that the number is a duration in this
                           unit, not a value in the VIF's; UNIT_NONE: no. */
    bool absent; /* a VIFE says that the value is not there or not right */
};

struct mbus_meaning mbus_meaning(const struct mbus_record *r);
