/*
 * cosem.h - what SML, IEC 62056-21 and DLMS share: the meaning of OBIS codes
 * (IEC 62056-61), the unit enumeration of scaler_unit (IEC 62056-6-2, table 4)
 * and how a value becomes a measurement. A telegram of these kinds names its
 * registers itself, so the OBIS code is kept as sent.
 */
#pragma once

#include "codecs/codec.h"

/* A unit as some standard writes it, in ours: value * mul * 10^exp10. */
struct cosem_unit {
    enum unit unit;
    int mul, exp10;
    const char *text; /* of a unit that we have none for, else NULL */
};

/* Unknown codes give UNIT_NONE with the text "unit NNN"; 255 and 254 plain. */
struct cosem_unit cosem_unit(struct arena *a, uint8_t code);

enum quantity cosem_quantity(struct obis o, enum unit u);
enum value_kind cosem_kind(struct obis o, enum unit u);
enum medium cosem_medium(struct obis o); /* MEDIUM_OTHER for A = 0 */

struct cosem_value {
    struct obis obis;
    struct decimal value; /* mantissa VALUE_NONE: none */
    struct cosem_unit unit;
    uint32_t row;
    size_t offset;
    bool extra; /* not the register itself: history, a log, an old frame */
};

/* The value as a measurement, exact; where our decimals cannot hold it, as a
 * text of its digits. */
int cosem_add(struct decoded *d, const struct cosem_value *v);
/* "name=value" as Q_TEXT; value is printed as text where it is, else as hex. */
int cosem_add_text(struct decoded *d, uint32_t row, size_t offset,
                   const char *name, struct str value);
/* A text that a person can read: UTF-8 without control characters. */
bool cosem_printable(struct str s);
/* The bytes in hex, upper case, in the arena. */
struct str cosem_hex(struct arena *a, struct str s);
/* A float64 (or float32) as the shortest decimal that reads back as itself;
 * mantissa VALUE_NONE for infinities, NaN and what int64 cannot hold. */
struct decimal cosem_double(double v, int digits_max);

/* Date-time, 12 bytes (IEC 62056-6-2 clause 4.1.6.1); form METER_TIME_NONE when
 * day or time of day is not specified. ERR_FORMAT: no such date. */
enum { COSEM_TIME = 12 };
int cosem_time(const uint8_t p[COSEM_TIME], struct meter_time *ret);
