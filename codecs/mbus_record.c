/*
 * mbus_record.c - EN 13757-3 data records from hostile bytes. Every length is
 * checked against the bytes that are there; no number is ever rounded.
 */
#include "codecs/mbus_record.h"
#include "server/base/err.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    DIF_FILLER = 0x2F,
    DIF_MANUFACTURER = 0x0F,
    DIF_MORE_FOLLOWS = 0x1F,
    DIF_GLOBAL_READOUT = 0x7F,
    VIF_PLAIN_TEXT = 0x7C,
    EXTENDED = 0x80,
};

/* Bytes of data per coding; variable data says it itself. */
static const uint8_t data_size[16] = {
    [0x1] = 1, [0x2] = 2, [0x3] = 3, [0x4] = 4, [0x5] = 4, [0x6] = 6,
    [0x7] = 8, [0x9] = 1, [0xA] = 2, [0xB] = 3, [0xC] = 4, [0xE] = 6,
};

static int fail(const char **error, int err, const char *text)
{
    *error = text;
    return err;
}

/* storage = DIF bit 6 + 4 bits a DIFE, tariff 2 bits, subunit 1 bit. */
static int read_dib(struct bytes *in, uint8_t dif, struct mbus_record *r,
                    const char **error)
{
    uint64_t storage = dif >> 6 & 1;
    uint8_t more = dif & EXTENDED;

    r->coding = (enum mbus_coding)(dif & 0x0F);
    r->function = (enum function)(dif >> 4 & 3);
    for (int i = 0; more; i++) {
        if (i == MBUS_DIFE_MAX)
            return fail(error, ERR_FORMAT,
                        "EN 13757-3 DIB: more than ten DIFE");
        uint8_t dife = bytes_u8(in);
        storage |= (uint64_t)(dife & 0x0F) << (1 + 4 * i);
        r->tariff |= (uint32_t)(dife >> 4 & 3) << (2 * i);
        r->subunit |= (uint32_t)(dife >> 6 & 1) << i;
        more = dife & EXTENDED;
    }
    r->storage = storage < UINT32_MAX ? (uint32_t)storage : UINT32_MAX;
    if (in->ran_out)
        return fail(error, ERR_SHORT, "EN 13757-3 DIB: DIFE missing");
    return 0;
}

static void read_text(struct bytes *in, struct mbus_record *r)
{
    r->unit_text.n = bytes_u8(in);
    r->unit_text.p = (const char *)bytes_take(in, r->unit_text.n);
}

/* The text of a plain-text VIF stands behind the VIFEs; older meters (Elvaco
 * CMa10) put it before them. What reads as a text is one. */
static bool text_stands_first(const struct bytes *in)
{
    size_t n = bytes_left(in) ? in->p[0] : 0;

    if (n == 0 || bytes_left(in) < 1 + n)
        return false;
    for (size_t i = 1; i <= n; i++) {
        if (in->p[i] < ' ' || (in->p[i] >= 0x7F && in->p[i] < 0xA0))
            return false;
    }
    return true;
}

static int read_vib(struct bytes *in, struct mbus_record *r, const char **error)
{
    r->vib = in->p;
    uint8_t vif = bytes_u8(in);
    uint8_t more = vif & EXTENDED;

    r->vif = vif & 0x7F;
    bool text = r->vif == VIF_PLAIN_TEXT;
    if (text && more && text_stands_first(in)) {
        read_text(in, r);
        text = false;
    }
    while (more) {
        if (r->n_vife == MBUS_VIFE_MAX)
            return fail(error, ERR_FORMAT,
                        "EN 13757-3 VIB: more than ten VIFE");
        more = bytes_u8(in);
        r->vife[r->n_vife++] = more;
        more &= EXTENDED;
    }
    if (text)
        read_text(in, r);
    if (in->ran_out)
        return fail(error, ERR_SHORT, "EN 13757-3 VIB: record ends in its VIB");
    r->vib_size = (size_t)(in->p - r->vib);
    return 0;
}

/* Bytes that follow an LVAR byte; -1 for reserved ones. */
static int lvar_size(uint8_t lvar)
{
    static const struct {
        uint8_t first, last, base, bytes;
    } rows[] = {
        {0x00, 0xBF, 0x00, 1}, /* text */
        {0xC0, 0xC9, 0xC0, 1}, /* positive BCD */
        {0xD0, 0xD9, 0xD0, 1}, /* negative BCD */
        {0xE0, 0xEF, 0xE0, 1}, /* binary */
        {0xF0, 0xF4, 0xEC, 4}, /* binary, 16 to 32 bytes */
        {0xF5, 0xF5, 0xF4, 48}, {0xF6, 0xF6, 0xF5, 64},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (lvar >= rows[i].first && lvar <= rows[i].last)
            return (lvar - rows[i].base) * rows[i].bytes;
    }
    return -1;
}

static int read_data(struct bytes *in, struct mbus_record *r,
                     const char **error)
{
    r->size = data_size[r->coding];
    if (r->coding == MBUS_VARIABLE) {
        r->lvar = bytes_u8(in);
        if (lvar_size(r->lvar) < 0)
            return fail(error, ERR_FORMAT, "EN 13757-3 LVAR: reserved length");
        r->size = (size_t)lvar_size(r->lvar);
    }
    r->data = bytes_take(in, r->size);
    if (in->ran_out)
        return fail(error, ERR_SHORT,
                    "EN 13757-3 data block: record ends before its data");
    return 0;
}

int mbus_record_next(struct bytes *head, struct bytes *data,
                     struct mbus_record *ret, const char **error)
{
    uint8_t dif = DIF_FILLER;
    int r;

    while (bytes_left(head) > 0 &&
           (dif == DIF_FILLER || dif == DIF_GLOBAL_READOUT))
        dif = bytes_u8(head);
    *ret = (struct mbus_record){.offset = bytes_offset(data)};
    if (head == data && ret->offset > 0)
        ret->offset--;
    if (dif == DIF_FILLER || dif == DIF_GLOBAL_READOUT)
        return 0;
    ret->dib = head->p - 1;
    if (dif == DIF_MANUFACTURER || dif == DIF_MORE_FOLLOWS) {
        ret->coding = MBUS_SPECIAL;
        ret->vib = head->p;
        ret->size = bytes_left(data);
        ret->data = bytes_take(data, ret->size);
        return 1;
    }
    if ((dif & 0x0F) == MBUS_SPECIAL)
        return fail(error, ERR_FORMAT, "EN 13757-3 DIB: reserved special DIF");
    if ((r = read_dib(head, dif, ret, error)) < 0 ||
        (r = read_vib(head, ret, error)) < 0 ||
        (r = read_data(data, ret, error)) < 0)
        return r;
    return 1;
}

static const struct mbus_value absent = {.form = MBUS_ABSENT};

/* Digits from the highest down; a first nibble F is a minus sign, any other
 * nibble above 9 is the meter's "no valid value". */
static struct mbus_value value_bcd(const uint8_t *p, size_t n, bool negative)
{
    int64_t v = 0;

    for (size_t i = 2 * n; i-- > 0;) {
        int digit = p[i / 2] >> (i % 2 ? 4 : 0) & 0x0F;

        if (digit == 0x0F && i == 2 * n - 1) {
            negative = true;
            continue;
        }
        if (digit > 9)
            return absent;
        v = v * 10 + digit; /* at most 18 digits: LVAR C9 */
    }
    return n == 0 ? absent
                  : (struct mbus_value){MBUS_NUMBER, {negative ? -v : v, 0}};
}

/* Two's complement; the lowest value (80..00) means "no valid value". */
static struct mbus_value value_integer(const uint8_t *p, size_t n,
                                       bool is_unsigned)
{
    struct bytes in = bytes_of(p, n);
    uint64_t v = bytes_le(&in, n);
    uint64_t sign = n ? 1ULL << (8 * n - 1) : 0;

    if (n == 0 || (!is_unsigned && v == sign))
        return absent;
    if (is_unsigned && v > INT64_MAX)
        return (struct mbus_value){.form = MBUS_BYTES};
    if (!is_unsigned && (v & sign))
        v |= ~(sign - 1);
    return (struct mbus_value){MBUS_NUMBER, {(int64_t)v, 0}};
}

/* A float32 stands for the shortest decimal that reads back as itself: at most
 * nine digits, and 23.1 stays 23.1 (its exact binary value would need 19
 * decimals and no longer fit). */
static struct mbus_value value_float(const uint8_t *p)
{
    struct bytes in = bytes_of(p, 4);
    uint32_t bits = bytes_u32(&in);
    struct mbus_value v = {.form = MBUS_NUMBER};
    char text[32];
    float f;

    memcpy(&f, &bits, sizeof(f));
    if (!isfinite(f))
        return absent;
    for (int digits = 0; digits < 9; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits, (double)f);
        if (strtof(text, NULL) == f)
            break;
    }
    if (decimal_parse(str_of(text), &v.number) < 0)
        return absent;
    if (v.number.exp10 > 0) /* 1e2 is 100: no power of ten was coded */
        decimal_rescale(v.number, 0, &v.number);
    return v;
}

static struct mbus_value value_variable(const struct mbus_record *r,
                                        bool is_unsigned)
{
    if (r->lvar <= 0xBF)
        return (struct mbus_value){.form = MBUS_TEXT};
    if (r->lvar <= 0xC9)
        return value_bcd(r->data, r->size, false);
    if (r->lvar <= 0xD9)
        return value_bcd(r->data, r->size, true);
    if (r->size <= 8)
        return value_integer(r->data, r->size, is_unsigned);
    return (struct mbus_value){.form = MBUS_BYTES};
}

struct mbus_value mbus_record_value(const struct mbus_record *r,
                                    bool is_unsigned)
{
    if (r->coding == MBUS_SPECIAL)
        return (struct mbus_value){.form = MBUS_BYTES};
    if (r->coding == MBUS_VARIABLE)
        return value_variable(r, is_unsigned);
    if (r->coding == MBUS_FLOAT)
        return value_float(r->data);
    if (r->coding > MBUS_SELECTION)
        return value_bcd(r->data, r->size, false);
    return value_integer(r->data, r->size, is_unsigned);
}

/* Day, month and year as types F, G and I share them. Years without century
 * bits: up to 80 is 20xx, above is 19xx (EN 13757-3, type G). */
static int read_date(const uint8_t *p, int century, int *year, int *month,
                     int *day)
{
    *day = p[0] & 0x1F;
    *month = p[1] & 0x0F;
    *year = p[0] >> 5 | (p[1] & 0xF0) >> 1;
    if (*year > 99)
        return ERR_FORMAT;
    if (century)
        *year += 1900 + 100 * century;
    else
        *year += *year <= 80 ? 2000 : 1900;
    return 0;
}

int mbus_record_time(const struct mbus_record *r, struct meter_time *ret,
                     enum mbus_time_part *part)
{
    struct meter_time t = {.dst = -1};
    const uint8_t *p = r->data;
    int year = 1970, month = 1, day = 1, hour = 0, min = 0, sec = 0, err = 0;

    if (r->coding == 2) { /* type G */
        err = read_date(p, 0, &year, &month, &day);
    } else if (r->coding == 3) { /* type J: a time of day */
        sec = p[0] & 0x3F, min = p[1] & 0x3F, hour = p[2] & 0x1F;
    } else if (r->coding == 4) { /* type F */
        min = p[0] & 0x3F, hour = p[1] & 0x1F;
        t.invalid = p[0] & 0x80;
        t.dst = p[1] >> 7;
        err = read_date(p + 2, p[1] >> 5 & 3, &year, &month, &day);
    } else if (r->coding == 6) { /* type I */
        sec = p[0] & 0x3F, min = p[1] & 0x3F, hour = p[2] & 0x1F;
        t.invalid = p[1] & 0x80;
        t.dst = p[0] >> 7;
        err = read_date(p + 3, 0, &year, &month, &day);
    } else {
        return ERR_FORMAT;
    }
    *part = r->coding == 2   ? MBUS_DAY_ONLY
            : r->coding == 3 ? MBUS_TIME_OF_DAY
                             : MBUS_DAY_AND_TIME;
    if (err == 0 && day != 0 && month != 0) {
        err = civil_us(year, month, day, hour, min, sec, &t.us);
        t.form = err == 0 ? METER_TIME_LOCAL : METER_TIME_NONE;
    }
    t.invalid = t.invalid || err < 0;
    *ret = t;
    return 0;
}
