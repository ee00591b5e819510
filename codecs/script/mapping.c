/*
 * mapping.c - a result walked once: each leaf is given to the rules that name
 * it, by its path ("flow.total", "channels.0.value"); a leaf that no rule took
 * becomes an extra. Records of an array get a row, and a time, each.
 */
#include "codecs/extras.h"
#include "codecs/script/mapping_rules.h"
#include "schema/reading.h"
#include "server/base/err.h"
#include <stdio.h>

enum { DEPTH = 48 };

/* Where in the result we are. */
struct walk {
    const struct mapping *m;
    const struct rules *rules; /* NULL: everything is an extra */
    struct decoded *d;
    uint32_t row;
    struct str above; /* path of the record inside the whole, for extras */
};

bool mapping_of_normalized(const struct mapping *m)
{
    return m && m->normalized;
}

/* ---- times and values ---- */

static struct meter_time time_of(const struct json *v,
                                 const struct rule_time *rule)
{
    struct meter_time t = {.dst = -1};
    struct stamp stamp;
    struct decimal d;

    if (!v)
        return t;
    if (v->type == JSON_STRING && stamp_parse(v->text, &stamp) == 0) {
        t.form = stamp.has_zone ? METER_TIME_UTC : METER_TIME_LOCAL;
        t.us = stamp.us;
    } else if ((v->type == JSON_NUMBER || v->type == JSON_STRING) &&
               decimal_parse(v->text, &d) == 0 &&
               decimal_scale(d, rule->unit_us, 0, &d) == 0 &&
               (decimal_rescale(d, 0, &d) == 0 || d.exp10 < 0)) {
        for (; d.exp10 < 0; d.exp10++)
            d.mantissa /= 10; /* what is below a microsecond */
        t.form = METER_TIME_UTC;
        t.us = d.mantissa;
    }
    return t;
}

/* The member at "a.b.0"; a name may itself hold dots. */
static const struct json *at_path(const struct json *o, struct str path)
{
    uint32_t index = 0;

    json_each (v, o) {
        char number[16];
        struct str name = v->name;

        if (o->type == JSON_ARRAY)
            name = (struct str){
                number, (size_t)snprintf(number, sizeof number, "%u", index++)};
        if (str_eq(name, path))
            return v;
        if (name.n + 1 < path.n && path.p[name.n] == '.' &&
            memcmp(name.p, path.p, name.n) == 0) {
            struct str rest = {path.p + name.n + 1, path.n - name.n - 1};
            const struct json *found = at_path(v, rest);
            if (found)
                return found;
        }
    }
    return NULL;
}

/* Half away from zero: takes off what binary arithmetic left behind the last
 * decimal that the meter has. */
static struct decimal round_to(struct decimal d, int decimals)
{
    int last = 0;

    if (decimals < 0 || -d.exp10 <= decimals)
        return d;
    for (; - d.exp10 > decimals; d.exp10++) {
        last = (int)(d.mantissa % 10);
        d.mantissa /= 10;
    }
    d.mantissa += last >= 5 ? 1 : last <= -5 ? -1 : 0;
    return d;
}

/* ERR_FORMAT, ERR_RANGE: it is no number that can be held exactly. */
static int value_of(const struct json *v, const struct rule_register *rule,
                    struct decimal *ret)
{
    struct decimal d = {v->type == JSON_TRUE, 0};
    int err = 0;

    if (v->type == JSON_NUMBER || v->type == JSON_STRING)
        err = decimal_parse(v->text, &d);
    if (err < 0)
        return err;
    d = round_to(d, rule->decimals);
    return decimal_scale(d, rule->mul, rule->exp10, ret);
}

/* ---- a leaf ---- */

static int add_register(struct walk *w, const struct rule_register *rule,
                        const struct json *v, bool *taken)
{
    struct measurement m = rule->m;

    m.row = w->row;
    m.value = (struct decimal){VALUE_NONE, 0};
    if (v->type != JSON_NULL && value_of(v, rule, &m.value) < 0)
        return 0; /* no number: an extra, unless another rule takes it */
    *taken = true;
    return decoded_add(w->d, &m);
}

static bool raises(const struct rule_event *rule, const struct json *v)
{
    int64_t bits;

    if (rule->bit >= 0)
        return json_int(v, &bits) && (bits >> rule->bit & 1);
    if (!rule->when)
        return v->type == JSON_TRUE;
    if (v->type == JSON_NUMBER && rule->when->type == JSON_NUMBER) {
        struct decimal a, b;
        return decimal_parse(v->text, &a) == 0 &&
               decimal_parse(rule->when->text, &b) == 0 &&
               decimal_cmp(a, b) == 0;
    }
    return v->type == rule->when->type && str_eq(v->text, rule->when->text);
}

/* A field that an event watches is taken when it raises one, or is a boolean:
 * another word or number stays visible as an extra. */
static int add_events(struct walk *w, struct str path, const struct json *v,
                      bool *taken)
{
    int err = 0;

    for (uint32_t i = 0; err == 0 && i < w->rules->n_events; i++) {
        const struct rule_event *rule = &w->rules->events[i];
        if (!str_eq(rule->field, path))
            continue;
        bool raised = raises(rule, v);
        *taken |= raised || v->type == JSON_FALSE;
        if (!raised)
            continue;
        struct decoded_event e = {.code = arena_str(w->d->arena, rule->code),
                                  .state = rule->state,
                                  .time = w->d->rows[w->row].time,
                                  .detail = extras_text(v)};
        if (rule->bit >= 0)
            *taken = false; /* the other bits */
        if (v->type == JSON_TRUE)
            e.detail = (struct str){0};
        err = decoded_add_event(w->d, &e);
    }
    return err;
}

static int leaf(struct walk *w, struct str path, const struct json *v)
{
    bool taken = false;
    int err = 0;

    for (uint32_t i = 0; err == 0 && w->rules && i < w->rules->n_registers; i++)
        if (str_eq(w->rules->registers[i].field, path))
            err = add_register(w, &w->rules->registers[i], v, &taken);
    if (err == 0 && w->rules)
        err = add_events(w, path, v, &taken);
    if (err < 0 || taken)
        return err;
    if (w->rules && w->row && str_eq(path, w->rules->time.field) &&
        w->d->rows[w->row].time.form != METER_TIME_NONE)
        return 0; /* it is the row's time */
    struct str name = w->above.n
                          ? arena_printf(w->d->arena, "%.*s.%.*s",
                                         STR_ARGS(w->above), STR_ARGS(path))
                          : path;
    return name.p ? extras_add(w->d, w->row, name, v)
                  : decoded_fail(w->d, ERR_FULL, "the result is too large", 0);
}

/* ---- the tree ---- */

static int node(struct walk *w, struct str path, const struct json *v,
                int depth);

static int row_open(struct walk *w, const struct json *record)
{
    struct meter_time t = {.dst = -1};
    const struct rule_time *rule = &w->rules->time;

    if (rule->field.n)
        t = time_of(at_path(record, rule->field), rule);
    if (t.form == METER_TIME_NONE)
        return 0; /* it stands for now */
    return decoded_add_row(w->d, t, &w->row);
}

/* Each record of an array, under the array's own rules. */
static int rows(const struct walk *w, const struct rules *rules,
                const struct json *array, int depth)
{
    uint32_t index = 0;

    json_each (record, array) {
        struct walk in = {.m = w->m, .rules = rules, .d = w->d};
        in.above = arena_printf(w->d->arena, "%.*s.%u", STR_ARGS(rules->field),
                                index++);
        int err = row_open(&in, record);
        if (err == 0)
            err = node(&in, STR(""), record, depth + 1);
        if (err < 0)
            return err;
    }
    return 0;
}

static const struct rules *rows_rule(const struct walk *w, struct str path)
{
    for (uint32_t i = 0; w->rules && i < w->rules->n_rows; i++)
        if (str_eq(w->rules->rows[i].field, path))
            return &w->rules->rows[i];
    return NULL;
}

/* The path of a member; an element that an event watches by the array's own
 * name keeps that name. */
static struct str path_of(const struct walk *w, struct str path,
                          const struct json *of, const struct json *item,
                          uint32_t index)
{
    if (of->type == JSON_ARRAY) {
        for (uint32_t i = 0; w->rules && i < w->rules->n_events; i++)
            if (path.n && str_eq(w->rules->events[i].field, path))
                return path;
        return path.n
                   ? arena_printf(w->d->arena, "%.*s.%u", STR_ARGS(path), index)
                   : arena_printf(w->d->arena, "%u", index);
    }
    return path.n ? arena_printf(w->d->arena, "%.*s.%.*s", STR_ARGS(path),
                                 STR_ARGS(item->name))
                  : item->name;
}

static int node(struct walk *w, struct str path, const struct json *v,
                int depth)
{
    const struct rules *records = rows_rule(w, path);
    uint32_t index = 0;

    if (depth > DEPTH)
        return decoded_fail(w->d, ERR_FULL, "the result nests too deep", 0);
    if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
        return leaf(w, path, v);
    if (records && v->type == JSON_ARRAY)
        return rows(w, records, v, depth);
    json_each (item, v) {
        struct str at = path_of(w, path, v, item, index++);
        int err = at.p || at.n == 0 ? node(w, at, item, depth + 1) : ERR_FULL;
        if (err < 0)
            return w->d->error
                       ? err
                       : decoded_fail(w->d, err, "the result is too large", 0);
    }
    return 0;
}

/* ---- the whole ---- */

/* Escapes that JavaScript writes and our reader refuses, because PostgreSQL
 * would: NUL and halves of a surrogate pair become U+FFFD. */
static struct str mended(struct arena *a, struct str s)
{
    if (!memmem(s.p, s.n, "\\u0000", 6) && !memmem(s.p, s.n, "\\ud", 3))
        return s;
    struct str copy = arena_str(a, s);
    char *p = (char *)copy.p;
    for (size_t i = 0; p && i + 1 < s.n; i++) {
        if (p[i] != '\\')
            continue;
        bool unicode = p[i + 1] == 'u' && i + 6 <= s.n;
        bool high = unicode && memcmp(p + i + 2, "d", 1) == 0 &&
                    strchr("89ab", p[i + 3]);
        bool low = unicode && p[i + 2] == 'd' && strchr("cdef", p[i + 3]);
        if (high && i + 12 <= s.n && memcmp(p + i + 6, "\\ud", 3) == 0 &&
            strchr("cdef", p[i + 9]))
            i += 11;
        else if (high || low || (unicode && memcmp(p + i, "\\u0000", 6) == 0))
            memcpy(p + i + 2, "fffd", 4), i += 5;
        else
            i++;
    }
    return copy;
}

static int take_serial(const struct mapping *m, const struct json *doc,
                       struct decoded *d)
{
    const struct json *v = m->serial.n ? at_path(doc, m->serial) : NULL;

    d->serial = v ? extras_text(v) : (struct str){0};
    if (m->clock.field.n)
        d->clock = time_of(at_path(doc, m->clock.field), &m->clock);
    return 0;
}

int mapping_apply(const struct mapping *m, struct str result, struct decoded *d)
{
    struct walk w = {.m = m, .rules = m ? &m->top : NULL, .d = d};
    struct json_limits limits = {.depth = DEPTH};
    struct json_error why = {0};
    struct json *doc = NULL;

    if (result.n == 0)
        return 0; /* undefined: nothing was measured */
    struct str text = mended(d->arena, result);
    int err =
        text.p ? json_parse(d->arena, text, limits, &doc, &why) : ERR_FULL;
    if (err < 0)
        return decoded_fail(d, err,
                            why.text ? why.text : "the result is too large", 0);
    if (m) {
        d->medium = m->medium;
        err = take_serial(m, doc, d);
        if (err == 0)
            err = row_open(&w, doc);
    }
    return err < 0 ? err : node(&w, STR(""), doc, 0);
}
