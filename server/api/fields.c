/*
 * fields.c - holds a request against the fields of its endpoint: nothing
 * unknown, nothing missing, everything of its type and within its bounds. What
 * is wrong is answered with the field's name and what would be right.
 */
#include "server/api/etag.h"
#include "server/base/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { BODY_DEPTH = 16, BODY_NODES = 200000, SHOWN = 40 };

const struct field *field_find(const struct endpoint *e, enum field_in in,
                               struct str name)
{
    for (const struct field *f = e->fields; f && f->name; f++)
        if (f->in == in && str_is(name, f->name))
            return f;
    return NULL;
}

static bool is_one_of(struct str s, const char *words)
{
    for (const char *w = words; *w;) {
        size_t n = strcspn(w, "|");
        if (s.n == n && memcmp(s.p, w, n) == 0)
            return true;
        w += n + (w[n] == '|');
    }
    return false;
}

static bool is_int(struct str s, int64_t min, int64_t max)
{
    struct decimal d;

    return s.n && (s.p[0] == '-' || (s.p[0] >= '0' && s.p[0] <= '9')) &&
           decimal_parse(s, &d) == 0 && d.exp10 == 0 && d.mantissa >= min &&
           d.mantissa <= max;
}

static bool is_time(struct str s)
{
    struct stamp t;

    return stamp_parse(s, &t) == 0 && t.has_zone;
}

static bool is_decimal(struct str s)
{
    struct decimal d;

    return decimal_parse(s, &d) == 0 && !memchr(s.p, ',', s.n);
}

static bool is_word_list(const struct json *v)
{
    json_each (item, v)
        if (item->type != JSON_STRING)
            return false;
    return v->type == JSON_ARRAY;
}

static bool count_fits(const struct json *v, const struct field *f)
{
    return v->count >= f->min && (f->max == 0 || v->count <= f->max);
}

static bool text_fits(struct str s, const struct field *f)
{
    return f->one_of ? is_one_of(s, f->one_of)
                     : (int64_t)s.n >= f->min &&
                           (f->max == 0 || (int64_t)s.n <= f->max);
}

static bool value_fits(const struct json *v, const struct field *f)
{
    switch (f->type) {
    case FIELD_TEXT:
        return v->type == JSON_STRING && text_fits(v->text, f);
    case FIELD_INT:
        return v->type == JSON_NUMBER && is_int(v->text, f->min, f->max);
    case FIELD_BOOL:
        return v->type == JSON_TRUE || v->type == JSON_FALSE;
    case FIELD_TIME:
        return v->type == JSON_STRING && is_time(v->text);
    case FIELD_DECIMAL:
        return v->type == JSON_STRING && is_decimal(v->text);
    case FIELD_WORDS:
        return is_word_list(v) && count_fits(v, f);
    case FIELD_OBJECT:
        return v->type == JSON_OBJECT;
    case FIELD_LIST:
        return v->type == JSON_ARRAY && count_fits(v, f);
    }
    return false;
}

/* "a whole number from 1 to 64" */
static struct str wanted(struct arena *a, const struct field *f)
{
    static const char *const plain[] = {
        [FIELD_BOOL] = "true or false",
        [FIELD_TIME] = "a time with its zone, such as 2026-01-15T12:00:00Z",
        [FIELD_DECIMAL] = "a decimal number in a string, such as \"12.5\"",
        [FIELD_OBJECT] = "an object",
        [FIELD_LIST] = "a list",
        [FIELD_WORDS] = "a list of strings"};
    char bounds[64] = "";

    if (f->one_of)
        return arena_printf(a, "one of %s", f->one_of);
    if (f->type == FIELD_INT)
        return arena_printf(a, "a whole number from %" PRId64 " to %" PRId64,
                            f->min, f->max);
    if (f->max)
        snprintf(bounds, sizeof bounds, " of %" PRId64 " to %" PRId64 "%s",
                 f->min, f->max, f->type == FIELD_TEXT ? " bytes" : "");
    if (f->type == FIELD_TEXT)
        return arena_printf(a, "a string%s", bounds);
    return arena_printf(a, "%s%s", plain[f->type], bounds);
}

static bool refuse_field(struct call *c, int status, const struct field *f,
                         struct str got)
{
    struct str want = wanted(http_arena(c->r), f);

    http_problem(c->r, status, f->name, "\"%s\" takes %.*s%s%.*s%s.", f->name,
                 STR_ARGS(want), got.p ? ", not \"" : "",
                 (int)(got.n < SHOWN ? got.n : SHOWN), got.p ? got.p : "",
                 got.p ? "\"" : "");
    return false;
}

/* ---- path and query ---- */

static bool query_known(struct call *c)
{
    const char *names[24];
    size_t n = 0;
    struct buf known = {0};

    for (const struct field *f = c->endpoint->fields; f && f->name; f++)
        if (f->in == IN_QUERY && n < 20)
            names[n++] = f->name;
    if (c->endpoint->list) {
        names[n++] = "limit";
        names[n++] = "after";
        if (c->endpoint->csv)
            names[n++] = "format";
    }
    names[n] = NULL;
    struct str odd = http_query_unknown(c->r, names);
    if (!odd.p)
        return true;
    for (size_t i = 0; i < n; i++)
        buf_printf(&known, "%s%s", i ? ", " : "", names[i]);
    http_problem(c->r, 400, odd.p,
                 "There is no parameter of this name here; known: %.*s.",
                 known.n ? (int)known.n : 4,
                 known.n ? (const char *)known.p : "none");
    buf_done(&known);
    return false;
}

static bool text_good(struct str s, const struct field *f)
{
    switch (f->type) {
    case FIELD_INT:
        return is_int(s, f->min, f->max);
    case FIELD_BOOL:
        return is_one_of(s, "true|false");
    case FIELD_TIME:
        return is_time(s);
    case FIELD_DECIMAL:
        return is_decimal(s);
    default:
        return text_fits(s, f);
    }
}

static bool target_fits(struct call *c)
{
    int i = -1;

    for (const struct field *f = c->endpoint->fields; f && f->name; f++) {
        if (f->in == IN_BODY || ++i == CALL_VALUES)
            continue;
        struct str s = f->in == IN_PATH ? http_param(c->r, f->name)
                                        : http_query(c->r, f->name);
        if (!s.p)
            continue;
        if (f->type == FIELD_TIME)
            s = call_mend_offset(c, s);
        if (text_good(s, f)) {
            c->values[i] = s.p;
        } else if (f->in == IN_PATH) {
            call_none(c);
            return false;
        } else {
            return refuse_field(c, 400, f, s);
        }
    }
    c->n_values = i + 1;
    return true;
}

/* ---- the body ---- */

static bool has_body(const struct endpoint *e)
{
    for (const struct field *f = e->fields; f && f->name; f++)
        if (f->in == IN_BODY)
            return true;
    return false;
}

static bool member_fits(struct call *c, const struct json *v)
{
    const struct field *f = field_find(c->endpoint, IN_BODY, v->name);

    if (!f) {
        struct str name = arena_str(http_arena(c->r), v->name);
        http_problem(c->r, 422, name.p, "There is no field \"%.*s\" here.",
                     (int)(name.n < SHOWN ? name.n : SHOWN), name.p);
        return false;
    }
    if (v->type == JSON_NULL ? f->nullable : value_fits(v, f))
        return true;
    return refuse_field(c, 422, f,
                        v->type == JSON_STRING || v->type == JSON_NUMBER
                            ? v->text
                            : (struct str){0});
}

static bool is_csv(struct call *c)
{
    struct str type = http_header(c->r, "Content-Type");

    return type.n >= 8 && strncasecmp(type.p, "text/csv", 8) == 0;
}

static bool take_csv(struct call *c, struct str text)
{
    if (text.n && memchr(text.p, 0, text.n)) {
        http_problem(c->r, 400, NULL,
                     "The file is not UTF-8 text: it has a byte 0. Save it as "
                     "CSV UTF-8.");
        return false;
    }
    c->body_text = arena_str(http_arena(c->r), text);
    return etag_take(c, NULL);
}

static bool body_fits(struct call *c)
{
    struct str text = http_body(c->r);
    struct json_error why = {0};
    struct json *body = NULL;

    if (!has_body(c->endpoint))
        return etag_take(c, NULL);
    if (c->endpoint->flags & ENDPOINT_CSV && is_csv(c))
        return take_csv(c, text);
    int err =
        json_parse(http_arena(c->r), text.n ? text : STR("{}"),
                   (struct json_limits){BODY_DEPTH, BODY_NODES}, &body, &why);
    if (err < 0 || body->type != JSON_OBJECT) {
        http_problem(
            c->r, 400, NULL, "The body must be a JSON object%s: %s%s.",
            c->endpoint->flags & ENDPOINT_CSV
                ? ", or CSV with Content-Type: text/csv"
                : "",
            why.text ? why.text : "it is another value",
            why.text
                ? arena_printf(http_arena(c->r), " at byte %zu", why.offset).p
                : "");
        return false;
    }
    json_each (member, body)
        if (!member_fits(c, member))
            return false;
    for (const struct field *f = c->endpoint->fields; f->name; f++)
        if (f->in == IN_BODY && f->required && !json_get(body, f->name)) {
            http_problem(c->r, 422, f->name, "\"%s\" is needed: %s", f->name,
                         f->help);
            return false;
        }
    c->body = body;
    c->body_text = arena_str(http_arena(c->r), text.n ? text : STR("{}"));
    return etag_take(c, body);
}

bool fields_check(struct call *c)
{
    return query_known(c) && target_fits(c) && body_fits(c);
}
