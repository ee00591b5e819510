/*
 * mbus_record.h - the record layer of EN 13757-3: splits bytes into data
 * records (DIF, DIFE, VIF, VIFE, data) and reads their values. What a VIF means
 * is mbus_vif.h's business.
 */
#pragma once

#include "codecs/codec.h"
#include "server/base/bytes.h"

enum { MBUS_DIFE_MAX = 10, MBUS_VIFE_MAX = 10 };

/* Low nibble of the DIF. */
enum mbus_coding {
    MBUS_NO_DATA = 0x0,
    MBUS_FLOAT = 0x5,
    MBUS_SELECTION = 0x8,
    MBUS_VARIABLE = 0xD,
    MBUS_SPECIAL = 0xF, /* in a record: manufacturer data to the end */
};

struct mbus_record {
    size_t offset; /* of the DIF */
    enum mbus_coding coding;
    enum function function;
    uint32_t storage; /* UINT32_MAX also for all that is greater */
    uint32_t tariff, subunit;
    uint8_t vif;                 /* without extension bit */
    uint8_t vife[MBUS_VIFE_MAX]; /* with theirs */
    uint32_t n_vife;
    struct str unit_text; /* plain-text VIF, as sent: last char first */
    const uint8_t *dib;   /* DIF as sent; the VIB stands behind its DIFEs */
    const uint8_t *vib;   /* VIF to last VIFE as sent */
    size_t vib_size;
    uint8_t lvar; /* first byte of variable data */
    const uint8_t *data;
    size_t size;
};

/* 1 and the next record, 0 at the end (idle fillers are passed over);
 * ERR_SHORT, ERR_FORMAT with the reason in *error, ret->offset set.
 * `head` gives DIB and VIB, `data` the data with its LVAR. They are the same
 * cursor, but for a compact frame: there the heads come from a list, and
 * ret->offset is that of the data. */
int mbus_record_next(struct bytes *head, struct bytes *data,
                     struct mbus_record *ret, const char **error);

enum mbus_form {
    MBUS_NUMBER,
    MBUS_ABSENT, /* no data, or the pattern for "no valid value" */
    MBUS_TEXT,   /* Latin-1, last character first */
    MBUS_BYTES,  /* more than a number can hold */
};

struct mbus_value {
    enum mbus_form form;
    struct decimal number;
};

/* float32 becomes the shortest decimal that is that same float32. */
struct mbus_value mbus_record_value(const struct mbus_record *r,
                                    bool is_unsigned);

enum mbus_time_part { MBUS_DAY_AND_TIME, MBUS_DAY_ONLY, MBUS_TIME_OF_DAY };

/* Types F and I, G, and J (us is then the time of day), told apart by the
 * length of the data. form is METER_TIME_NONE when no date is set; `invalid`
 * when the meter or the digits say so. ERR_FORMAT: none of these types. */
int mbus_record_time(const struct mbus_record *r, struct meter_time *ret,
                     enum mbus_time_part *part);
