/*
 * dlms_body.c - the body of a data-notification: makers lay it out as they
 * like, so four shapes are told by what they hold.
 *
 *   push list    the structure holds its own push_object_list, an array of
 *                {class u16, logical name, attribute i8, index u16}, and as
 *                many elements as that list: element i is object i (L+G)
 *   profile      such a list of columns, then an array of rows of as many
 *                values, then an array of {scaler, unit} (Elvaco CMe3100)
 *   pairs        a logical name, then its value, then {scaler, unit} or not,
 *                at any depth (Aidon, Kamstrup, L+G without list)
 *   list         values whose names or scales the version of the list tells
 *                (dlms_list.c)
 *
 * A value without {scaler, unit} is the meter's integer, unit "1": its scale is
 * in the meter's model, not in the telegram. Every value is kept: what has no
 * name is a text with its position.
 */
#include "codecs/dlms.h"
#include "schema/reading.h"
#include "server/base/err.h"
#include <stdio.h>

enum { LN = 6, DATE_TIME = COSEM_TIME, CLASS_DEMAND = 5, NO_UNIT = 255 };

struct body {
    struct decoded *d;
    const struct axdr *nodes;
    size_t base;
    uint32_t row;
    int serial_rank;              /* of d->serial in `serials` */
    const struct dlms_list *list; /* scales by version; NULL: none known */
    bool timed;                   /* the row's time is known */
    bool medium_known;
};

/* One value to add. */
struct value {
    struct obis obis;
    const struct axdr *v;
    int8_t scaler;
    uint8_t unit; /* NO_UNIT: none told */
    uint32_t row;
};

static size_t offset_of(const struct body *b, const struct axdr *v)
{
    return b->base + v->offset;
}

static bool is_ln(const struct axdr *v)
{
    return v->type == AXDR_OCTETS && v->n == LN;
}

static struct obis ln_of(const struct axdr *v)
{
    return (struct obis){v->p[0], v->p[1], v->p[2], v->p[3], v->p[4], v->p[5]};
}

static bool is_time(const struct axdr *v)
{
    return v->n == DATE_TIME &&
           (v->type == AXDR_OCTETS || v->type == AXDR_DATETIME);
}

/* {integer, enum}. */
static bool is_scale(const struct axdr *v)
{
    return v->type == AXDR_STRUCT && v->n == 2 && v[1].type == AXDR_I8 &&
           v[2].type == AXDR_ENUM;
}

static void set_scale(struct value *value, const struct axdr *scale)
{
    value->scaler = (int8_t)scale[1].p[0];
    value->unit = scale[2].p[0];
}

static int add_number(struct body *b, const struct value *value)
{
    int8_t scaler = value->scaler;
    uint8_t unit = value->unit;
    int r = 0;

    if (b->list && unit == NO_UNIT)
        dlms_list_scale(b->list, value->obis, &scaler, &unit);
    struct cosem_value v = {.obis = value->obis,
                            .row = value->row,
                            .offset = offset_of(b, value->v),
                            .value = {VALUE_NONE, 0},
                            .unit = cosem_unit(b->d->arena, unit)};

    enum medium medium = cosem_medium(value->obis);
    if (!b->medium_known && medium != MEDIUM_OTHER) {
        b->d->medium = medium;
        b->medium_known = true;
    }
    if (axdr_number(value->v, &v.value) < 0)
        v.value = (struct decimal){VALUE_NONE, 0};
    else
        v.value.exp10 += scaler;
    if (v.value.mantissa != VALUE_NONE)
        r = dlms_add_event(b->d, value->obis, v.value,
                           b->d->rows[value->row].time);
    if (r < 0)
        return r;
    if (v.value.mantissa == VALUE_NONE && value->v->type != AXDR_F32 &&
        value->v->type != AXDR_F64) {
        char name[OBIS_TEXT];
        return cosem_add_text(
            b->d, value->row, v.offset, obis_text(value->obis, name),
            (struct str){(const char *)value->v->p, value->v->n});
    }
    return cosem_add(b->d, &v);
}

/* Where meters put their number, the best first. */
static void identify(struct body *b, struct obis o, struct str text)
{
    static const struct {
        uint8_t c, d, e;
    } serials[] = {{96, 1, 0}, {42, 0, 0}, {0, 0, 5}, {96, 1, 1}};

    for (int i = 0; i < 4 && o.b == (o.c == 0) && (o.a == 0 || o.a == 1); i++) {
        if (serials[i].c != o.c || serials[i].d != o.d || serials[i].e != o.e)
            continue;
        if (i < b->serial_rank && text.n && cosem_printable(text)) {
            b->d->serial = text;
            b->serial_rank = i;
        }
    }
}

static int add_text(struct body *b, uint32_t row, const char *name,
                    const struct axdr *v)
{
    struct meter_time t;
    char text[TIME_TEXT];
    struct str s = {(const char *)v->p, v->n};

    if (v->n == 0)
        return 0;
    if (is_time(v) && cosem_time(v->p, &t) == 0 && t.form != METER_TIME_NONE)
        s = str_of(time_text(t.us, text));
    return cosem_add_text(b->d, row, offset_of(b, v), name, s);
}

/* The clock, where the notification did not tell its time. */
static int add_clock(struct body *b, const struct axdr *v)
{
    struct meter_time t;

    if (cosem_time(v->p, &t) < 0)
        return decoded_fail(b->d, ERR_FORMAT, "DLMS: date-time",
                            offset_of(b, v));
    if (!b->timed && t.form != METER_TIME_NONE) {
        b->d->rows[b->row].time = t;
        if (b->d->clock.form == METER_TIME_NONE)
            b->d->clock = t;
        b->timed = true;
    }
    return 0;
}

static bool is_clock_name(struct obis o)
{
    return o.a == 0 && o.c == 1 && o.d == 0 && o.e == 0;
}

static bool is_container(const struct axdr *v)
{
    return v->type == AXDR_ARRAY || v->type == AXDR_STRUCT;
}

static int walk(struct body *b, const struct axdr *v, uint32_t n);

/* A value whose name is known. */
static int add_value(struct body *b, const struct value *value)
{
    const struct axdr *v = value->v;
    char name[OBIS_TEXT];

    if (is_container(v))
        return walk(b, v + 1, v->n);
    if (axdr_is_number(v))
        return add_number(b, value);
    if (v->type == AXDR_NULL)
        return 0;
    if (is_time(v) && is_clock_name(value->obis))
        return add_clock(b, v);
    if (v->type == AXDR_OCTETS || v->type == AXDR_TEXT || v->type == AXDR_UTF8)
        identify(b, value->obis, (struct str){(const char *)v->p, v->n});
    return add_text(b, value->row, obis_text(value->obis, name), v);
}

/* {class u16, logical name, attribute i8, index u16}. */
static bool is_object(const struct axdr *v)
{
    return v->type == AXDR_STRUCT && v->n == 4 && v[1].type == AXDR_U16 &&
           is_ln(&v[2]) && v[3].type == AXDR_I8 && v[4].type == AXDR_U16;
}

static bool is_object_list(const struct axdr *v)
{
    if (v->type != AXDR_ARRAY || v->n == 0)
        return false;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!is_object(v + 1 + 5 * (size_t)i))
            return false;
    }
    return true;
}

static const struct axdr *object(const struct axdr *list, uint32_t i)
{
    return list + 1 + 5 * (size_t)i;
}

static unsigned class_of(const struct axdr *o)
{
    return (unsigned)(o[1].p[0] << 8 | o[1].p[1]);
}

static const struct axdr *after(const struct body *b, const struct axdr *v)
{
    return b->nodes + v->next;
}

/* The {scaler, unit} attribute of the same object, where it was pushed too. */
static void find_scale(const struct body *b, const struct axdr *list,
                       const struct axdr *values, uint32_t of,
                       struct value *value)
{
    const struct axdr *v = values, *wanted = object(list, of);

    for (uint32_t i = 0; i < list->n; i++, v = after(b, v)) {
        const struct axdr *o = object(list, i);
        if (i != of && is_scale(v) && memcmp(o[2].p, wanted[2].p, LN) == 0)
            set_scale(value, v);
    }
}

/* Element i of the structure is object i of its own list. */
static int add_push_list(struct body *b, const struct axdr *list,
                         const struct axdr *values)
{
    const struct axdr *v = values;
    int r = 0;

    for (uint32_t i = 0; i < list->n && r >= 0; i++, v = after(b, v)) {
        const struct axdr *o = object(list, i);
        struct value value = {ln_of(&o[2]), v, 0, NO_UNIT, b->row};
        uint8_t attribute = o[3].p[0];
        char name[OBIS_TEXT + 16], obis[OBIS_TEXT];

        if (v == list || attribute == 1 || is_scale(v))
            continue; /* the list, a name, a scale */
        find_scale(b, list, values, i, &value);
        bool reading =
            attribute == 2 || (attribute == 3 && class_of(o) == CLASS_DEMAND);
        snprintf(name, sizeof(name), "%s attribute %u",
                 obis_text(value.obis, obis), attribute);
        if (reading || is_container(v))
            r = add_value(b, &value);
        else
            r = add_text(b, b->row, name, v);
    }
    return r;
}

/* One row of a profile. A null repeats the value of the row before, `prev`
 * (Blue Book 4.3.6, null-data); a time cannot be repeated. */
static int add_profile_row(struct body *b, const struct axdr *list,
                           const struct axdr *row, const struct axdr *scales,
                           const struct axdr **prev)
{
    const struct axdr *v = row + 1;
    struct meter_time t = {.dst = -1};
    uint32_t index = b->row;
    int r = 0;

    if (row->n && v->type == AXDR_NULL)
        return decoded_fail(b->d, ERR_UNSUPPORTED,
                            "DLMS: a row whose time is left out",
                            offset_of(b, v));
    if (row->n && is_time(v) && cosem_time(v->p, &t) < 0)
        return decoded_fail(b->d, ERR_FORMAT, "DLMS: date-time of a row",
                            offset_of(b, v));
    if (t.form != METER_TIME_NONE)
        r = decoded_add_row(b->d, t, &index);
    for (uint32_t c = 0; c < row->n && r >= 0; c++, v = after(b, v)) {
        const struct axdr *o = object(list, c);
        struct value value = {ln_of(&o[2]), v, 0, NO_UNIT, index};

        if (v->type == AXDR_NULL && prev[c])
            value.v = prev[c];
        prev[c] = value.v;
        if (c == 0 && t.form != METER_TIME_NONE)
            continue;
        if (scales)
            set_scale(&value, scales + 1 + 3 * (size_t)c);
        r = add_value(b, &value);
    }
    return r;
}

/* Rows of a profile: columns as in the list, {scaler, unit} each. */
static int add_rows(struct body *b, const struct axdr *list,
                    const struct axdr *rows, const struct axdr *scales)
{
    const struct axdr *row = rows + 1;
    const struct axdr **prev =
        arena_alloc(b->d->arena, list->n * sizeof(struct axdr *));
    int r = prev ? 0 : ERR_FULL;

    for (uint32_t i = 0; i < rows->n && r >= 0; i++, row = after(b, row))
        r = add_profile_row(b, list, row, scales, prev);
    return r;
}

static bool is_scale_list(const struct axdr *v, uint32_t n)
{
    if (v->type != AXDR_ARRAY || v->n != n)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_scale(v + 1 + 3 * (size_t)i))
            return false;
    }
    return true;
}

static bool is_row_list(const struct body *b, const struct axdr *v, uint32_t n)
{
    const struct axdr *row = v + 1;

    if (v->type != AXDR_ARRAY)
        return false;
    for (uint32_t i = 0; i < v->n; i++, row = after(b, row)) {
        if (row->type != AXDR_STRUCT || row->n != n)
            return false;
    }
    return true;
}

/* A profile behind its list of columns: nodes taken behind the list. */
static int take_profile(struct body *b, const struct axdr *list, uint32_t left)
{
    const struct axdr *rows = left > 1 ? after(b, list) : NULL;
    const struct axdr *scales = rows && left > 2 ? after(b, rows) : NULL;

    if (!rows || !is_row_list(b, rows, list->n))
        return 0;
    if (scales && !is_scale_list(scales, list->n))
        scales = NULL;
    int r = add_rows(b, list, rows, scales);
    return r < 0 ? r : scales ? 2 : 1;
}

/* A value that nothing names. */
static int add_nameless(struct body *b, const struct axdr *v, uint32_t at)
{
    char name[32];
    struct decimal number;
    char digits[DECIMAL_TEXT];

    if (is_time(v))
        return add_clock(b, v);
    snprintf(name, sizeof(name), "position %u", at);
    if (axdr_is_number(v) && axdr_number(v, &number) == 0)
        return cosem_add_text(b->d, b->row, offset_of(b, v), name,
                              str_of(decimal_text(number, digits)));
    return add_text(b, b->row, name, v);
}

/* {class u16, logical name, attribute i8, value}: the value is named. */
static bool is_attribute(const struct axdr *v)
{
    return v->type == AXDR_STRUCT && v->n >= 4 && v[1].type == AXDR_U16 &&
           is_ln(&v[2]) && v[3].type == AXDR_I8;
}

/* A logical name ends with 255, or stands where none is waiting. */
static bool is_name(const struct axdr *v, bool named)
{
    return is_ln(v) && (!named || v->p[5] == 255);
}

/* A push that begins with the meter's logical device name, then the name of
 * its push setup: 2, else 0. Channel 7 with an address and a system title is
 * what a gateway sends once it is installed. */
static uint32_t identify_push(struct body *b, const struct axdr *v, uint32_t n,
                              int *r)
{
    struct decoded_event installed = {.code = STR("device.installed"),
                                      .time = {.dst = -1}};

    if (n < 2 || v->type != AXDR_OCTETS || !is_ln(&v[1]) || v[1].p[2] != 25 ||
        v[1].p[3] != 9)
        return 0;
    identify(b, OBIS(0, 0, 42, 0, 0), (struct str){(const char *)v->p, v->n});
    *r = add_nameless(b, v, (uint32_t)(v - b->nodes));
    if (*r >= 0 && v[1].p[1] == 7 && n == 4 && v[2].type == AXDR_U32)
        *r = decoded_add_event(b->d, &installed);
    return 2;
}

/* Siblings in order, names and values in pairs. The parser has bounded the
 * depth of this recursion. */
static int walk(struct body *b, const struct axdr *v, uint32_t n)
{
    struct value value = {.unit = NO_UNIT};
    bool named = false;
    int r = 0;

    uint32_t head = identify_push(b, v, n, &r);
    v += head;
    for (uint32_t i = head; i < n && r >= 0; i++, v = after(b, v)) {
        if (is_object_list(v)) {
            r = take_profile(b, v, n - i);
            for (; r > 0; r--, i++)
                v = after(b, v);
            named = false;
        } else if (is_name(v, named)) {
            value.obis = ln_of(v);
            named = true;
        } else if (is_attribute(v)) {
            const struct axdr *scale = v->n > 4 ? after(b, &v[4]) : NULL;
            value = (struct value){ln_of(&v[2]), &v[4], 0, NO_UNIT, b->row};
            if (scale && is_scale(scale))
                set_scale(&value, scale);
            r = add_value(b, &value);
        } else if (named || is_container(v)) {
            const struct axdr *scale = i + 1 < n ? after(b, v) : NULL;
            value = (struct value){value.obis, v, 0, NO_UNIT, b->row};
            if (scale && is_scale(scale) && axdr_is_number(v)) {
                set_scale(&value, scale);
                v = scale;
                i++;
            }
            r = add_value(b, &value);
            named = false;
        } else {
            r = add_nameless(b, v, (uint32_t)(v - b->nodes));
        }
    }
    return r;
}

/* Values without names: `list` names them by their place. */
static int add_list(struct body *b, const struct axdr *root)
{
    const struct axdr *v = root + 1;
    int r = 0;

    for (uint32_t i = 0; i < root->n && r >= 0; i++, v = after(b, v)) {
        struct value value = {.v = v, .unit = NO_UNIT, .row = b->row};

        dlms_list_name(b->list, root->n, i, &value.obis);
        r = add_value(b, &value);
    }
    return r;
}

int dlms_body(struct decoded *d, const struct axdr *nodes,
              const struct obis *name, size_t base, struct meter_time time,
              bool first)
{
    struct body b = {.d = d, .nodes = nodes, .base = base, .serial_rank = 99};
    const struct axdr *root = nodes, *v = nodes + 1;
    int r = 0;

    if (!first)
        r = decoded_add_row(d, time, &b.row);
    if (r < 0)
        return r;
    if (time.form != METER_TIME_NONE) {
        d->rows[b.row].time = time;
        d->clock = time;
        b.timed = true;
    }
    if (name)
        return add_value(&b, &(struct value){*name, root, 0, NO_UNIT, b.row});
    if (root->type != AXDR_STRUCT && root->type != AXDR_ARRAY)
        return walk(&b, root, 1);
    b.list = dlms_list_of(root);
    struct obis unused;
    if (b.list && dlms_list_name(b.list, root->n, 0, &unused))
        return add_list(&b, root);
    for (uint32_t i = 0; i < root->n; i++, v = after(&b, v)) {
        if (is_object_list(v) && v->n == root->n)
            return add_push_list(&b, v, nodes + 1);
    }
    return walk(&b, nodes + 1, root->n);
}
