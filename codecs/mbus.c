/*
 * mbus.c - EN 13757-3 data records to measurements and rows.
 */
#include "codecs/mbus.h"
#include "codecs/mbus_vif.h"
#include "schema/reading.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include <stdio.h>

enum { DATED_STORAGES = 64 }; /* further dates are kept as plain dates */

struct walk {
    struct decoded *d;
    struct dated {
        uint32_t storage;
        uint32_t offset;
        struct meter_time time;
        enum mbus_time_part part;
        uint32_t row; /* 0: no value needed it so far */
    } dated[DATED_STORAGES];
    uint32_t n_dated;
    bool has_clock;
};

static struct str hex_text(struct arena *a, const uint8_t *p, size_t n)
{
    char *out = arena_alloc(a, 2 * n + 1);
    return out ? str_of(hex_encode(p, n, out)) : (struct str){0};
}

/* Latin-1, last character first, to UTF-8; control characters to blanks. */
static struct str reversed_text(struct arena *a, const uint8_t *p, size_t n)
{
    char *out = arena_alloc(a, 2 * n + 1), *at = out;

    if (!out)
        return (struct str){0};
    while (n-- > 0) {
        if (p[n] < ' ' || (p[n] >= 0x7F && p[n] < 0xA0)) {
            *at++ = ' ';
        } else if (p[n] >= 0xA0) {
            *at++ = (char)(0xC0 | p[n] >> 6);
            *at++ = (char)(0x80 | (p[n] & 0x3F));
        } else {
            *at++ = (char)p[n];
        }
    }
    return str_trim((struct str){out, (size_t)(at - out)});
}

static struct measurement measurement_of(const struct mbus_record *r,
                                         const struct mbus_meaning *m)
{
    struct measurement out = {.quantity = m->quantity,
                              .unit = m->unit,
                              .value = {VALUE_NONE, m->exp10},
                              .obis = OBIS_NONE,
                              .function = r->function,
                              .storage = r->storage,
                              .tariff = r->tariff,
                              .subunit = r->subunit,
                              .phase = m->phase,
                              .flags = m->flags,
                              .offset = (uint32_t)r->offset};

    if (r->function == FUNCTION_ERROR)
        out.quality |= QUALITY_METER_ERROR;
    return out;
}

static int add_text(struct walk *w, struct measurement m, struct str text)
{
    m.text = arena_printf(w->d->arena, "%s=%.*s", quantity_name(m.quantity),
                          STR_ARGS(text));
    m.quantity = Q_TEXT;
    m.unit = UNIT_NONE;
    m.value = (struct decimal){VALUE_NONE, 0};
    if (!text.p || !m.text.p)
        return decoded_fail(w->d, ERR_FULL, "texts too long", m.offset);
    return decoded_add(w->d, &m);
}

/* How the value is told where no quantity names it: its unit as plain text, or
 * its VIF and VIFEs in hex. */
static struct str vib_text(struct walk *w, const struct mbus_record *r)
{
    if (r->unit_text.n)
        return reversed_text(w->d->arena, (const uint8_t *)r->unit_text.p,
                             r->unit_text.n);
    return hex_text(w->d->arena, r->vib, r->vib_size);
}

static bool needs_vib(const struct measurement *m)
{
    enum quantity q = m->quantity;

    return q == Q_UNKNOWN || q == Q_MANUFACTURER || q == Q_PARAMETER ||
           q == Q_IDENTIFICATION || m->flags & MEASURED_RATE;
}

/* The standard says a duration; some meters use these codes for the value
 * itself. Both are told, neither as a register. */
static int add_duration(struct walk *w, struct measurement m,
                        struct decimal number, enum unit unit)
{
    if (unit == UNIT_NONE || m.value.mantissa == VALUE_NONE)
        return 0;
    m.quantity = Q_PARAMETER;
    m.unit = unit;
    m.value = number;
    return decoded_add(w->d, &m);
}

static int add_value(struct walk *w, const struct mbus_record *r,
                     const struct mbus_meaning *meaning)
{
    struct measurement m = measurement_of(r, meaning);
    struct mbus_value v = mbus_record_value(r, meaning->reading != MBUS_SIGNED);

    if (v.form == MBUS_TEXT)
        return add_text(w, m, reversed_text(w->d->arena, r->data, r->size));
    if (r->coding == MBUS_SPECIAL) {
        m.text = hex_text(w->d->arena, r->data, r->size);
        return decoded_add(w->d, &m);
    }
    if (v.form == MBUS_BYTES)
        return add_text(w, m, hex_text(w->d->arena, r->data, r->size));
    if (v.form == MBUS_ABSENT || meaning->absent ||
        decimal_scale(v.number, meaning->mul, meaning->exp10, &m.value) < 0)
        m.quality |= QUALITY_INVALID;
    if (needs_vib(&m))
        m.text = vib_text(w, r);
    /* a time with "value during error" is how long the error lasted */
    if (r->function == FUNCTION_ERROR &&
        (m.quantity == Q_ON_TIME || m.quantity == Q_OPERATING_TIME))
        m.flags |= MEASURED_RATE;
    int err = decoded_add(w->d, &m);
    return err < 0 ? err : add_duration(w, m, v.number, meaning->duration);
}

/* Data that no number tells, or none in the VIF's unit: as sent, in hex. */
static int add_opaque(struct walk *w, const struct mbus_record *r,
                      const struct mbus_meaning *meaning)
{
    struct mbus_meaning plain = *meaning;

    plain.exp10 = 0;
    if (r->size == 0 || (r->coding == MBUS_VARIABLE && r->lvar <= 0xBF &&
                         meaning->reading != MBUS_OPAQUE))
        return add_value(w, r, &plain);
    return add_text(w, measurement_of(r, &plain),
                    hex_text(w->d->arena, r->data, r->size));
}

/* The first serial number of the device itself names it. A second one would
 * fall on the same register and is kept as an identification. */
static int add_serial(struct walk *w, struct measurement m, struct str serial,
                      struct decimal number)
{
    bool own = m.storage == 0 && m.tariff == 0 && m.subunit == 0;

    if (own && w->d->serial.n > 0)
        m.quantity = Q_IDENTIFICATION;
    else if (own)
        w->d->serial = serial;
    m.value = number;
    if (number.mantissa == VALUE_NONE)
        return add_text(w, m, serial);
    return decoded_add(w->d, &m);
}

/* Digits with letters among them, as the label shows them. */
static int add_letters(struct walk *w, const struct mbus_record *r,
                       struct measurement m)
{
    char digits[2 * 9 + 1] = "";
    uint8_t used = 0xFF;

    for (size_t i = 0; i < r->size && i < 9; i++) {
        snprintf(digits + 2 * i, 3, "%02X", r->data[r->size - 1 - i]);
        used &= r->data[i];
    }
    if (used == 0xFF) { /* FF to the end: there is none */
        m.quality |= QUALITY_INVALID;
        return decoded_add(w->d, &m);
    }
    return add_serial(w, m, arena_str(w->d->arena, str_of(digits)),
                      (struct decimal){VALUE_NONE, 0});
}

static int add_fabrication(struct walk *w, const struct mbus_record *r,
                           const struct mbus_meaning *meaning)
{
    struct measurement m = measurement_of(r, meaning);
    struct mbus_value v = mbus_record_value(r, true);
    struct arena *a = w->d->arena;
    struct decimal none = {VALUE_NONE, 0};

    if (v.form == MBUS_TEXT) {
        struct str text = reversed_text(a, r->data, r->size);
        if (decimal_parse(text, &v.number) < 0 || v.number.exp10 != 0)
            v.number = none;
        return text.n ? add_serial(w, m, text, v.number) : 0;
    }
    /* as many digits as the label shows: two for a byte of BCD */
    bool bcd = r->coding > MBUS_SELECTION && r->coding != MBUS_VARIABLE;
    if (bcd && (v.form == MBUS_ABSENT || v.number.mantissa < 0))
        return add_letters(w, r, m);
    if (v.form != MBUS_NUMBER || v.number.mantissa < 0 || v.number.exp10 != 0)
        return add_value(w, r, meaning);
    int width = bcd ? (int)(2 * r->size) : 1;
    return add_serial(
        w, m, arena_printf(a, "%0*lld", width, (long long)v.number.mantissa),
        v.number);
}

/* Three letters of five bits each (EN 13757-3, manufacturer id). */
struct str mbus_manufacturer(struct arena *a, unsigned code)
{
    char text[4] = {0};

    for (int i = 0; i < 3; i++) {
        unsigned letter = code >> (10 - 5 * i) & 0x1F;
        if (letter < 1 || letter > 26)
            return (struct str){0};
        text[i] = (char)('@' + letter);
    }
    return arena_str(a, (struct str){text, 3});
}

/* Identification number (4 bytes BCD), manufacturer, version, device type. */
static int add_enhanced_id(struct walk *w, const struct mbus_record *r,
                           const struct mbus_meaning *meaning)
{
    struct measurement m = measurement_of(r, meaning);
    bool own = m.storage == 0 && m.tariff == 0 && m.subunit == 0;
    bool first = own && w->d->serial.n == 0;

    if (r->coding != 7 && !(r->coding == MBUS_VARIABLE && r->lvar == 0xE8))
        return add_fabrication(w, r, meaning);
    struct mbus_record id = *r;
    id.coding = (enum mbus_coding)0x0C;
    id.size = 4;
    int err = add_fabrication(w, &id, meaning);
    if (err < 0 || !first)
        return err;
    w->d->manufacturer = mbus_manufacturer(
        w->d->arena, (unsigned)r->data[4] | (unsigned)r->data[5] << 8);
    enum medium medium = medium_of_device_type(r->data[7]);
    if (medium != MEDIUM_OTHER)
        w->d->medium = medium;
    return 0;
}

static struct str date_text(struct arena *a, struct meter_time t,
                            enum mbus_time_part part)
{
    char text[TIME_TEXT] = "not set";
    size_t from = 0;

    if (t.form != METER_TIME_NONE) {
        time_text(t.us, text); /* yyyy-mm-ddThh:mm:ssZ; local, so no Z */
        text[part == MBUS_DAY_ONLY ? 10 : 19] = 0;
        from = part == MBUS_TIME_OF_DAY ? 11 : 0;
    }
    return arena_printf(a, "%s%s%s", text + from, t.dst == 1 ? " dst" : "",
                        t.invalid ? " invalid" : "");
}

static int add_date(struct walk *w, const struct mbus_record *r,
                    const struct mbus_meaning *meaning)
{
    struct measurement m = measurement_of(r, meaning);
    struct meter_time t;
    enum mbus_time_part part;

    if (mbus_record_time(r, &t, &part) < 0)
        return add_opaque(w, r, meaning);
    bool plain = r->n_vife == 0 && r->tariff == 0 && r->subunit == 0;
    if (plain && r->storage == 0 && part == MBUS_DAY_AND_TIME &&
        !w->has_clock &&
        (r->function == FUNCTION_INST || r->function == FUNCTION_ERROR)) {
        t.invalid = t.invalid || r->function == FUNCTION_ERROR;
        w->has_clock = true;
        w->d->clock = w->d->rows[0].time = t;
        return 0;
    }
    if (plain && r->storage > 0 && part != MBUS_TIME_OF_DAY &&
        r->function == FUNCTION_INST && t.form != METER_TIME_NONE &&
        !t.invalid && w->n_dated < DATED_STORAGES) {
        w->dated[w->n_dated++] =
            (struct dated){r->storage, (uint32_t)r->offset, t, part, 0};
        return 0;
    }
    if (meaning->absent)
        m.quality |= QUALITY_INVALID;
    m.text = date_text(w->d->arena, t, part);
    return decoded_add(w->d, &m);
}

static int add_record(struct walk *w, const struct mbus_record *r)
{
    static int (*const add[])(struct walk *, const struct mbus_record *,
                              const struct mbus_meaning *) = {
        [MBUS_SIGNED] = add_value,
        [MBUS_UNSIGNED] = add_value,
        [MBUS_TIME] = add_date,
        [MBUS_FABRICATION] = add_fabrication,
        [MBUS_ENHANCED_ID] = add_enhanced_id,
        [MBUS_OPAQUE] = add_opaque,
    };
    struct mbus_meaning m = {.quantity = Q_MANUFACTURER};

    if (r->coding == MBUS_SPECIAL)
        return r->size ? add_value(w, r, &m) : 0;
    m = mbus_meaning(r);
    return add[m.reading](w, r, &m);
}

/* Values of a storage whose date was told move to a row of that time; the date
 * may stand before or behind them. A date that no value needs is kept. */
static int place_rows(struct walk *w)
{
    struct decoded *d = w->d;
    uint32_t n = d->n_measurements;

    for (uint32_t k = 0; k < w->n_dated; k++) {
        struct dated *t = &w->dated[k];
        int r = 0;

        for (uint32_t i = 0; i < n && r == 0; i++) {
            struct measurement *m = &d->measurements[i];
            if (m->row != 0 || m->storage != t->storage)
                continue;
            if (t->row == 0)
                r = decoded_add_row(d, t->time, &t->row);
            m->row = t->row;
        }
        if (r == 0 && t->row == 0)
            r = decoded_add(d,
                            &(struct measurement){
                                .quantity = Q_DATE,
                                .obis = OBIS_NONE,
                                .storage = t->storage,
                                .value = {VALUE_NONE, 0},
                                .offset = t->offset,
                                .text = date_text(d->arena, t->time, t->part)});
        if (r < 0)
            return r;
    }
    return 0;
}

/* What was read before a broken record keeps its rows. An ERR_FULL has been
 * told by who met the limit. */
static int decode_run(struct bytes *heads, struct bytes *data,
                      struct decoded *d)
{
    struct walk w = {.d = d};
    struct mbus_record record;
    const char *error = NULL;
    int r;

    while ((r = mbus_record_next(heads, data, &record, &error)) > 0) {
        if ((r = add_record(&w, &record)) < 0)
            return r;
    }
    int placed = place_rows(&w);
    return r < 0 ? decoded_fail(d, r, error, record.offset) : placed;
}

int mbus_decode(struct str payload, size_t from, struct decoded *d)
{
    struct bytes in = bytes_of(payload.p, payload.n);

    bytes_take(&in, from);
    return decode_run(&in, &in, d);
}

int mbus_decode_compact(struct str list, struct str payload, size_t from,
                        struct decoded *d)
{
    struct bytes heads = bytes_of(list.p, list.n);
    struct bytes data = bytes_of(payload.p, payload.n);

    bytes_take(&data, from);
    return decode_run(&heads, &data, d);
}

int mbus_add_manufacturer(struct decoded *d, const uint8_t *p, size_t n,
                          size_t offset)
{
    return decoded_add(d,
                       &(struct measurement){.quantity = Q_MANUFACTURER,
                                             .value = {VALUE_NONE, 0},
                                             .obis = OBIS_NONE,
                                             .offset = (uint32_t)offset,
                                             .text = hex_text(d->arena, p, n)});
}
