/*
 * iec62056_21_line.c - what the lines of a read-out mean: registers, profiles,
 * logs, clock and identity, by rules over OBIS codes. Sources: IEC 62056-61,
 * DSMR P1 2.2 to 5.0, VDEW load profiles; Landis+Gyr Ultraheat has numbers of
 * its own (table below).
 */
#include "codecs/iec62056_21.h"
#include "schema/reading.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/hex.h"

enum { P1_VERSION_WITH_CRC = 40 };

size_t iec_offset(const struct iec *c, struct str s)
{
    return (size_t)(s.p - c->text);
}

/* `from`: where `value` stands in the payload, unless it was rewritten. */
static int keep_text(struct iec *c, const struct iec_line *l, uint32_t row,
                     struct str value, struct str from)
{
    char name[IEC_ID_MAX + 1] = "";

    if (value.n == 0)
        return 0;
    memcpy(name, l->id.p, l->id.n);
    return cosem_add_text(c->d, row, iec_offset(c, from), name, value);
}

/* "number[*unit]" of register `o`; `unit` where the value has none. */
static int add_value(struct iec *c, const struct iec_line *l, struct obis o,
                     uint32_t row, struct str value, struct str unit,
                     bool extra)
{
    struct cosem_value v = {
        .obis = o, .row = row, .offset = iec_offset(c, value), .extra = extra};
    const char *star = value.n ? memchr(value.p, '*', value.n) : NULL;
    struct str number = value;

    if (star) {
        number.n = (size_t)(star - value.p);
        unit = (struct str){star + 1, value.n - number.n - 1};
    }
    if (obis_is_none(o) || iec_number(str_trim(number), &v.value) < 0)
        return keep_text(c, l, row, value, value);
    v.unit = iec_unit(c->d->arena, str_trim(unit));
    return cosem_add(c->d, &v);
}

/* A log or a history: times and values in the order of the line. */
static int add_log(struct iec *c, const struct iec_line *l)
{
    struct meter_time t;
    uint32_t row = 0;
    int r = 0;

    for (size_t i = 0; i < l->n && r >= 0; i++) {
        if (iec_time(l->values[i], &t) == 0)
            r = decoded_add_row(c->d, t, &row);
        else
            r = add_value(c, l, l->obis, row, l->values[i], STR(""), true);
    }
    return r;
}

/* (time)(status)[()](minutes)(n) n times (id)(unit), then rows of n values;
 * the time is that of the first row. 0: it does not look like one. */
static int add_profile(struct iec *c, const struct iec_line *l)
{
    struct decimal minutes, n;
    struct meter_time t;
    size_t at = l->n > 2 && l->values[2].n == 0 ? 3 : 2;

    if (l->n < at + 2 || iec_time(l->values[0], &t) < 0 ||
        iec_number(l->values[at], &minutes) < 0 ||
        iec_number(l->values[at + 1], &n) < 0 || minutes.exp10 ||
        minutes.mantissa < 0 || minutes.mantissa > 100000 || n.exp10 ||
        n.mantissa < 1 || (uint64_t)n.mantissa > (l->n - at - 2) / 2)
        return 0;
    size_t columns = (size_t)n.mantissa, head = at + 2;
    for (size_t i = head + 2 * columns; i < l->n; i++) {
        size_t column = (i - head) % columns;
        struct obis o;
        uint32_t row = c->d->n_rows - 1;
        int r = column == 0 ? decoded_add_row(c->d, t, &row) : 0;

        if (iec_obis(l->values[head + 2 * column], &o) < 0)
            o = OBIS_NONE;
        if (r >= 0)
            r = add_value(c, l, o, row, l->values[i],
                          l->values[head + 2 * column + 1], false);
        if (r < 0)
            return r;
        if (column + 1 == columns)
            t.us += minutes.mantissa * 60 * US_PER_S;
    }
    return 1;
}

/* One register: a value, perhaps with its time before or behind it; further
 * values are extras. */
static int add_register(struct iec *c, const struct iec_line *l)
{
    struct meter_time t;
    uint32_t row = 0;
    size_t first = 0, last = l->n;
    int r = 0;

    if (l->n >= 2 && iec_time(l->values[0], &t) == 0) {
        r = decoded_add_row(c->d, t, &row);
        first = 1;
    } else if (l->n == 2 && iec_time(l->values[1], &t) == 0) {
        r = decoded_add_row(c->d, t, &row);
        last = 1;
    }
    for (size_t i = first; i < last && r >= 0; i++)
        r = add_value(c, l, l->obis, row, l->values[i], STR(""), i > first);
    return r;
}

/* A P1 identification is hex of a text ("4530303433" is "E0043"). */
static struct str from_hex(struct arena *a, struct str s)
{
    uint8_t *p = arena_alloc(a, s.n / 2 + 1);
    int n = p && s.n % 2 == 0 ? hex_decode(s, p, s.n / 2) : -1;

    for (int i = 0; i < n; i++) {
        if (p[i] < ' ' || p[i] > '~')
            return s;
    }
    return n > 0 ? (struct str){(char *)p, (size_t)n} : s;
}

/* Where meters put their own number, the best first; 0-0:96.1.1 is the meter in
 * P1, the customer's number elsewhere. */
static const struct {
    uint8_t a, c, d, e;
    bool hex, p1;
} serials[] = {
    {0, 96, 1, 1, true, true},   {0, 96, 1, 0, true, false},
    {1, 96, 1, 0, false, false}, {1, 0, 0, 0, false, false},
    {0, 42, 0, 0, true, false},  {1, 0, 0, 9, false, false},
    {0, 96, 1, 1, false, false},
};

static int add_identity(struct iec *c, const struct iec_line *l)
{
    struct obis o = l->obis;
    struct str value = l->n ? l->values[0] : (struct str){0};

    for (int i = 0; i < (int)(sizeof(serials) / sizeof(*serials)); i++) {
        if (serials[i].a != o.a || serials[i].c != o.c || serials[i].d != o.d ||
            serials[i].e != o.e || str_trim(value).n == 0 ||
            (serials[i].p1 && !c->plain))
            continue;
        if (serials[i].hex && c->plain)
            value = from_hex(c->d->arena, value);
        if (o.b == 0 && i < c->serial_rank && cosem_printable(value)) {
            c->d->serial = str_trim(value);
            c->serial_rank = i;
        }
    }
    return keep_text(c, l, 0, value, l->values[0]);
}

static int add_clock(struct iec *c, const struct iec_line *l)
{
    struct meter_time t;

    if (l->n != 1 || iec_time(l->values[0], &t) < 0)
        return add_register(c, l);
    c->d->clock = t;
    c->d->rows[0].time = t;
    return 0;
}

/* 0.9.1 and 0.9.2 are halves of one clock; the first of each counts. */
static int add_half_clock(struct iec *c, const struct iec_line *l)
{
    bool time = l->obis.e == 1;
    int64_t us;

    if (l->n != 1 || (time ? iec_day_time(l->values[0], &us)
                           : iec_date(l->values[0], &us)) < 0)
        return add_register(c, l);
    int64_t *half = time ? &c->time_us : &c->day_us;
    if (*half != TIME_NONE)
        return 0;
    *half = us;
    if (c->time_us == TIME_NONE || c->day_us == TIME_NONE)
        return 0;
    struct meter_time t = {METER_TIME_LOCAL, c->day_us + c->time_us, false, -1};
    c->d->clock = t;
    c->d->rows[0].time = t;
    return 0;
}

/* F.F: error bits in hex. */
static int add_error_flags(struct iec *c, const struct iec_line *l)
{
    struct measurement m = {.quantity = Q_ERROR_FLAGS,
                            .obis = {0, 0, 97, 97, 0, 255},
                            .kind = KIND_INSTANT};
    uint8_t p[7];
    int n = l->n == 1 ? hex_decode(l->values[0], p, sizeof(p)) : -1;

    if (n <= 0)
        return add_register(c, l);
    for (int i = 0; i < n; i++)
        m.value.mantissa = m.value.mantissa << 8 | p[i];
    m.offset = (uint32_t)iec_offset(c, l->values[0]);
    return decoded_add(c->d, &m);
}

static int add_version(struct iec *c, const struct iec_line *l)
{
    struct decimal v;

    if (l->n == 1 && iec_number(l->values[0], &v) == 0 && v.exp10 == 0 &&
        v.mantissa >= P1_VERSION_WITH_CRC)
        c->needs_check = true;
    return add_register(c, l);
}

/* Ultraheat 9.4: highest flow and return temperature, "077.6*C&069.0*C". */
static int add_highest_temperatures(struct iec *c, struct iec_line *l)
{
    struct str both = l->values[0];
    const char *amp = memchr(both.p, '&', both.n);
    uint8_t storage = l->id.n > 3 ? 1 : 255;
    int r;

    if (!amp)
        return add_register(c, l);
    struct str flow = {both.p, (size_t)(amp - both.p)};
    struct str back = {amp + 1, both.n - flow.n - 1};
    r = add_value(c, l, (struct obis){6, 0, 10, 5, 0, storage}, 0, flow,
                  STR(""), false);
    return r < 0 ? r
                 : add_value(c, l, (struct obis){6, 0, 11, 5, 0, storage}, 0,
                             back, STR(""), false);
}

/* Landis+Gyr Ultraheat numbers its registers by itself. */
static int add_ultraheat(struct iec *c, struct iec_line *l)
{
    static const struct {
        const char *id;
        struct obis obis;
    } registers[] = {
        {"6.8", {6, 0, 1, 0, 0, 255}},   {"6.8*01", {6, 0, 1, 0, 0, 1}},
        {"6.26", {6, 0, 2, 0, 0, 255}},  {"6.26*01", {6, 0, 2, 0, 0, 1}},
        {"6.4", {6, 0, 8, 5, 0, 255}},   {"6.4*01", {6, 0, 8, 5, 0, 1}},
        {"6.6", {6, 0, 8, 5, 0, 255}},   {"6.6*01", {6, 0, 8, 5, 0, 1}},
        {"6.33", {6, 0, 9, 5, 0, 255}},  {"6.33*01", {6, 0, 9, 5, 0, 1}},
        {"6.27", {6, 0, 9, 0, 0, 255}},  {"6.29", {6, 0, 10, 0, 0, 255}},
        {"6.28", {6, 0, 11, 0, 0, 255}}, {"6.31", {0, 0, 96, 8, 0, 255}},
    };

    if (l->n == 1 && (str_is(l->id, "9.4") || str_is(l->id, "9.4*01")))
        return add_highest_temperatures(c, l);

    if (str_is(l->id, "9.21") && l->n)
        c->d->serial = l->values[0];
    l->obis = OBIS_NONE;
    for (size_t i = 0; i < sizeof(registers) / sizeof(*registers); i++) {
        if (str_is(l->id, registers[i].id))
            l->obis = registers[i].obis;
    }
    return add_register(c, l);
}

enum { ANY = -1 };

/* What a line means; the first that fits. */
static const struct rule {
    int a, c, d, e;
    int (*add)(struct iec *c, const struct iec_line *l);
} rules[] = {
    {0, 1, 0, 0, add_clock},
    {ANY, 0, 9, 1, add_half_clock},
    {ANY, 0, 9, 2, add_half_clock},
    {ANY, 0, 9, 4, add_clock},
    {ANY, 97, 97, 0, add_error_flags},
    {1, 0, 2, 8, add_version},
    {ANY, 96, 1, ANY, add_identity},
    {ANY, 0, 0, ANY, add_identity},
    {ANY, 42, 0, 0, add_identity},
    {ANY, 96, 13, ANY, add_identity},
    {ANY, 98, ANY, ANY, add_log},
    {ANY, 99, ANY, ANY, add_log},
    {ANY, ANY, ANY, ANY, add_register},
};

static bool fits(int rule, uint8_t group)
{
    return rule == ANY || rule == group;
}

int iec_add_line(struct iec *c, struct iec_line *l)
{
    struct obis *o = &l->obis;
    int r;

    if (iec_obis(l->id, o) < 0)
        *o = OBIS_NONE;
    if (c->ultraheat)
        return add_ultraheat(c, l);
    if ((o->c == 99 || (o->c == 24 && o->d == 3)) &&
        (r = add_profile(c, l)) != 0)
        return r;
    if (!c->medium_known && cosem_medium(*o) != MEDIUM_OTHER) {
        c->d->medium = cosem_medium(*o);
        c->medium_known = true;
    }
    for (const struct rule *rule = rules;; rule++) {
        if (fits(rule->a, o->a) && fits(rule->c, o->c) && fits(rule->d, o->d) &&
            fits(rule->e, o->e))
            return rule->add(c, l);
    }
}
