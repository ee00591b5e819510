/*
 * mapping_read.c - a mapping file to rules. A member that is not known is
 * refused by its name: a slip of the pen must not lose a register in silence.
 */
#include "codecs/script/mapping_rules.h"
#include "server/base/err.h"

struct reading_of {
    struct arena *arena;
    struct str why;
    uint32_t entries;
};

static int refuse(struct reading_of *r, const char *what, struct str name)
{
    r->why = arena_printf(r->arena, "%s \"%.*s\"", what, STR_ARGS(name));
    return ERR_FORMAT;
}

/* Every member of `o` must be one of the names, which end with NULL. */
static int only(struct reading_of *r, const struct json *o,
                const char *const names[])
{
    if (!o || o->type != JSON_OBJECT)
        return refuse(r, "an object is expected, not", json_str(o));
    json_each (m, o) {
        int i = 0;
        while (names[i] && !str_is(m->name, names[i]))
            i++;
        if (!names[i])
            return refuse(r, "unknown member", m->name);
    }
    return 0;
}

static int take_time(struct reading_of *r, const struct json *o,
                     const char *name, struct rule_time *t)
{
    const struct json *v = json_get(o, name);
    struct str unit = json_str(json_get(o, "time_unit"));

    if (v && (v->type != JSON_STRING || v->text.n == 0))
        return refuse(r, "a field name is expected for", str_of(name));
    t->field = json_str(v);
    t->unit_us = US_PER_S;
    if (str_is(unit, "ms"))
        t->unit_us = 1000;
    else if (unit.n && !str_is(unit, "s"))
        return refuse(r, "time_unit is s or ms, not", unit);
    return 0;
}

static int take_field(struct reading_of *r, const struct json *o,
                      struct str *ret)
{
    *ret = json_str(json_get(o, "field"));
    if (ret->n == 0)
        return refuse(r, "an entry without", STR("field"));
    if (++r->entries > MAPPING_ENTRIES)
        return refuse(r, "more than 512 entries, at", *ret);
    return 0;
}

static int quantity_of(struct str name, enum quantity *ret)
{
    for (int q = 0; q < Q_QUANTITY_COUNT; q++) {
        if (str_is(name, quantity_name((enum quantity)q))) {
            *ret = (enum quantity)q;
            return 0;
        }
    }
    return ERR_UNKNOWN;
}

static int kind_of(struct str name, enum value_kind *ret)
{
    for (int k = 0; k <= KIND_INSTANT; k++) {
        if (str_is(name, kind_name((enum value_kind)k))) {
            *ret = (enum value_kind)k;
            return 0;
        }
    }
    return ERR_UNKNOWN;
}

static int take_number(struct reading_of *r, const struct json *o,
                       const char *name, int64_t most, uint32_t *ret)
{
    const struct json *v = json_get(o, name);
    int64_t n = 0;

    if (v && (!json_int(v, &n) || n < 0 || n > most))
        return refuse(r, "a small whole number is expected for", str_of(name));
    if (v)
        *ret = (uint32_t)n;
    return 0;
}

/* "0.001" or 0.001: exact either way. */
static int take_factor(struct reading_of *r, const struct json *o,
                       struct rule_register *ret)
{
    const struct json *v = json_get(o, "factor");
    struct decimal d = {1, 0};

    if (v && ((v->type != JSON_NUMBER && v->type != JSON_STRING) ||
              decimal_parse(v->text, &d) < 0))
        return refuse(r, "a decimal number is expected for", STR("factor"));
    ret->mul = d.mantissa;
    ret->exp10 = d.exp10;
    return 0;
}

/* What names the register: its OBIS code and kind, or a quantity. */
static int take_identity(struct reading_of *r, const struct json *o,
                         struct measurement *m)
{
    struct str obis = json_str(json_get(o, "obis"));
    struct str quantity = json_str(json_get(o, "quantity"));
    struct str kind = json_str(json_get(o, "kind"));
    struct str unit = json_str(json_get(o, "unit"));

    m->obis = OBIS_NONE;
    if (!obis.n && !quantity.n)
        return refuse(r, "a register needs", STR("obis or quantity"));
    if (obis.n && obis_parse(obis, &m->obis) < 0)
        return refuse(r, "not an OBIS code:", obis);
    if (quantity.n && quantity_of(quantity, &m->quantity) < 0)
        return refuse(r, "unknown quantity", quantity);
    if (obis.n && kind_of(kind, &m->kind) < 0)
        return refuse(r, "kind is cumulative, interval or instant, not", kind);
    if (unit.n && unit_parse(unit, &m->unit) < 0)
        return refuse(r, "unknown unit", unit);
    return 0;
}

static int read_register(struct reading_of *r, const struct json *o,
                         struct rule_register *ret)
{
    static const char *const names[] = {
        "field",   "obis",   "quantity", "kind",     "unit",   "factor",
        "storage", "tariff", "phase",    "decimals", "remark", NULL};
    uint32_t phase = 0, decimals = UINT32_MAX;
    int err = only(r, o, names);

    *ret = (struct rule_register){0};
    if (err == 0)
        err = take_field(r, o, &ret->field);
    if (err == 0)
        err = take_identity(r, o, &ret->m);
    if (err == 0)
        err = take_factor(r, o, ret);
    if (err == 0)
        err = take_number(r, o, "storage", 1 << 20, &ret->m.storage);
    if (err == 0)
        err = take_number(r, o, "tariff", 63, &ret->m.tariff);
    if (err == 0)
        err = take_number(r, o, "phase", 7, &phase);
    if (err == 0)
        err = take_number(r, o, "decimals", 15, &decimals);
    ret->m.phase = (uint8_t)phase;
    ret->decimals = decimals == UINT32_MAX ? -1 : (int)decimals;
    return err;
}

static int read_event(struct reading_of *r, const struct json *o,
                      struct rule_event *ret)
{
    static const char *const names[] = {"field", "event",  "when", "bit",
                                        "state", "remark", NULL};
    uint32_t bit = UINT32_MAX;
    int err = only(r, o, names);

    *ret = (struct rule_event){.state = EVENT_PULSE};
    if (err == 0)
        err = take_field(r, o, &ret->field);
    if (err == 0)
        err = take_number(r, o, "bit", 62, &bit);
    if (err < 0)
        return err;
    ret->bit = bit == UINT32_MAX ? -1 : (int)bit;
    ret->when = json_get(o, "when");
    ret->code = json_str(json_get(o, "event"));
    if (ret->code.n == 0 || ret->code.n > 64)
        return refuse(r, "an event code is missing for", ret->field);
    if (ret->when &&
        (ret->when->type == JSON_ARRAY || ret->when->type == JSON_OBJECT))
        return refuse(r, "when is a text, a number, true or false, at",
                      ret->field);
    struct str state = json_str(json_get(o, "state"));
    for (int s = EVENT_PULSE; s <= EVENT_END; s++) {
        if (state.n == 0 || str_is(state, event_state_name(s))) {
            ret->state = state.n ? (enum event_state)s : EVENT_PULSE;
            return 0;
        }
    }
    return refuse(r, "state is pulse, start or end, not", state);
}

/* An array of `o` as a list of n elements of that size. */
static int list_of(struct reading_of *r, const struct json *o, const char *name,
                   size_t size, const struct json **ret, void **list)
{
    const struct json *v = json_get(o, name);

    *ret = NULL;
    if (v && v->type != JSON_ARRAY)
        return refuse(r, "an array is expected for", str_of(name));
    if (!v || v->count == 0)
        return 0;
    *list = arena_alloc(r->arena, v->count * size);
    if (!*list)
        return refuse(r, "too many entries in", str_of(name));
    *ret = v;
    return 0;
}

static int read_rules(struct reading_of *r, const struct json *o,
                      struct rules *ret, bool top);

static int read_rows(struct reading_of *r, const struct json *o,
                     struct rules *ret)
{
    static const char *const names[] = {
        "field", "time", "time_unit", "registers", "events", "remark", NULL};
    const struct json *v = NULL;
    void *list = NULL;
    int err = list_of(r, o, "rows", sizeof *ret->rows, &v, &list);

    ret->rows = list;
    if (err < 0 || !list)
        return err;
    json_each (item, v) {
        struct rules *row = &ret->rows[ret->n_rows++];
        err = only(r, item, names);
        if (err == 0)
            err = take_field(r, item, &row->field);
        if (err == 0)
            err = read_rules(r, item, row, false);
        if (err < 0)
            return err;
    }
    return 0;
}

static int read_rules(struct reading_of *r, const struct json *o,
                      struct rules *ret, bool top)
{
    const struct json *v = NULL;
    void *list = NULL;
    int err = take_time(r, o, "time", &ret->time);

    if (err == 0)
        err = list_of(r, o, "registers", sizeof *ret->registers, &v, &list);
    if (err < 0)
        return err;
    ret->registers = list;
    json_each (item, v) {
        err = read_register(r, item, &ret->registers[ret->n_registers++]);
        if (err < 0)
            return err;
    }
    list = NULL;
    err = list_of(r, o, "events", sizeof *ret->events, &v, &list);
    if (err < 0)
        return err;
    ret->events = list;
    json_each (item, v) {
        err = read_event(r, item, &ret->events[ret->n_events++]);
        if (err < 0)
            return err;
    }
    return top ? read_rows(r, o, ret) : 0;
}

static int read_top(struct reading_of *r, const struct json *o,
                    struct mapping *m)
{
    static const char *const names[] = {
        "medium",    "serial", "clock", "time",   "time_unit", "from",
        "registers", "events", "rows",  "remark", NULL};
    int err = only(r, o, names);

    if (err < 0)
        return err;
    struct str medium = json_str(json_get(o, "medium"));
    struct str from = json_str(json_get(o, "from"));
    if (medium.n && medium_parse(medium, &m->medium) < 0)
        return refuse(r, "unknown medium", medium);
    m->normalized = str_is(from, "normalized");
    if (from.n && !m->normalized && !str_is(from, "data"))
        return refuse(r, "from is data or normalized, not", from);
    m->serial = json_str(json_get(o, "serial"));
    err = take_time(r, o, "clock", &m->clock);
    return err < 0 ? err : read_rules(r, o, &m->top, true);
}

int mapping_read(struct arena *a, struct str text, struct mapping **ret,
                 struct str *why)
{
    struct reading_of r = {.arena = a};
    struct mapping *m = arena_alloc(a, sizeof *m);
    struct json_error bad = {0};
    struct json *doc = NULL;
    int err = !m || text.n > MAPPING_MAX
                  ? ERR_FULL
                  : json_parse(a, text, (struct json_limits){0}, &doc, &bad);

    if (err < 0) {
        *why = bad.text
                   ? arena_printf(a, "%s, at byte %zu", bad.text, bad.offset)
                   : STR("a mapping is at most 64 KiB");
        return err;
    }
    err = read_top(&r, doc, m);
    *why = r.why;
    if (err == 0)
        *ret = m;
    return err;
}
