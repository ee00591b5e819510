/*
 * vectors.c - each vector is run, then its result is compared with `object`.
 */
#include "codecs/script/vectors.h"
#include "codecs/extras.h"
#include "server/base/clock.h"
#include "server/base/decimal.h"
#include "server/base/err.h"
#include "server/base/hex.h"

static const struct json_limits deep = {.depth = 48};

static const struct json *member(const struct json *o, struct str name)
{
    json_each (m, o)
        if (str_eq(m->name, name))
            return m;
    return NULL;
}

/* A value in a sentence. */
static struct str shown(struct arena *a, const struct json *v)
{
    if (!v)
        return STR("nothing");
    if (v->type == JSON_STRING)
        return arena_printf(a, "\"%.*s\"", STR_ARGS(v->text));
    if (v->type == JSON_ARRAY || v->type == JSON_OBJECT)
        return arena_printf(a, "%s of %u",
                            v->type == JSON_ARRAY ? "an array" : "an object",
                            v->count);
    return v->type == JSON_NULL ? STR("null") : extras_text(v);
}

static bool same_number(struct str x, struct str y)
{
    struct decimal a, b;

    return str_eq(x, y) ||
           (decimal_parse(x, &a) == 0 && decimal_parse(y, &b) == 0 &&
            decimal_cmp(a, b) == 0);
}

static bool same_leaf(const struct json *x, const struct json *y)
{
    return x && y && x->type == y->type && x->type != JSON_ARRAY &&
           x->type != JSON_OBJECT &&
           (x->type == JSON_NUMBER ? same_number(x->text, y->text)
                                   : str_eq(x->text, y->text));
}

/* json_parse has bounded the depth. */
static struct str differ(struct arena *a, struct str path,
                         const struct json *want, const struct json *got)
{
    bool nested = want && got && want->type == got->type &&
                  (want->type == JSON_ARRAY || want->type == JSON_OBJECT);
    uint32_t index = 0;

    if (same_leaf(want, got))
        return (struct str){0};
    if (!nested)
        return arena_printf(a, "%.*s: %.*s expected, %.*s came", STR_ARGS(path),
                            STR_ARGS(shown(a, want)), STR_ARGS(shown(a, got)));
    bool array = want->type == JSON_ARRAY;
    const struct json *nth = got->child;
    json_each (w, want) {
        struct str name = array ? arena_printf(a, "%u", index++) : w->name;
        const struct json *g = array ? nth : member(got, w->name);
        struct str at = path.n ? arena_printf(a, "%.*s.%.*s", STR_ARGS(path),
                                              STR_ARGS(name))
                               : name;
        struct str d = differ(a, at, w, g);
        nth = nth ? nth->next : NULL;
        if (d.n)
            return d;
    }
    json_each (g, got)
        if (array ? got->count > want->count : !member(want, g->name))
            return arena_printf(a, "%.*s%s%.*s: not expected", STR_ARGS(path),
                                path.n ? "." : "",
                                STR_ARGS(array ? STR("(more)") : g->name));
    return (struct str){0};
}

struct str vectors_difference(struct arena *a, struct str expected,
                              struct str got)
{
    struct json *x = NULL, *y = NULL;
    struct json_error why;

    if (expected.n && json_parse(a, expected, deep, &x, &why) < 0)
        return arena_printf(a, "the expectation is no JSON: %s", why.text);
    if (got.n && json_parse(a, got, deep, &y, &why) < 0)
        return arena_printf(a, "the result cannot be read: %s", why.text);
    if (!x || !y)
        return x || y ? STR("one is absent") : (struct str){0};
    return differ(a, STR(""), x, y);
}

/* The call of one vector; what is wrong with it, or nothing. */
static struct str read_vector(struct arena *a, const struct json *v,
                              struct script_call *c)
{
    struct str hex = json_str(json_get(v, "hex"));
    struct str time = json_str(json_get(v, "recvTime"));
    uint8_t *bytes = arena_alloc(a, hex.n / 2 + 1);
    struct stamp stamp;
    int64_t port = 0;
    int n = bytes ? hex_decode(hex, bytes, hex.n / 2 + 1) : ERR_FULL;

    if (!json_get(v, "hex") || n < 0)
        return STR("\"hex\" is not hexadecimal");
    if (json_get(v, "port") &&
        (!json_int(json_get(v, "port"), &port) || port < 0 || port > 255))
        return STR("\"port\" is not a number from 0 to 255");
    c->time_us = TIME_NONE;
    c->time = time;
    if (time.n && (stamp_parse(time, &stamp) < 0 || !stamp.has_zone))
        return STR("\"recvTime\" is no RFC 3339 time");
    if (time.n)
        c->time_us = stamp.us;
    c->port = (int)port;
    c->input = (struct str){(char *)bytes, (size_t)n};
    return (struct str){0};
}

static struct str run_vector(struct scripts *s, struct script_call *c,
                             const struct json *v, struct arena *a, int *err)
{
    struct script_result r;
    struct str wrong = read_vector(a, v, c);
    bool must_fail = json_bool(json_get(v, "error"), false);
    struct json *got = NULL;
    struct json_error why;

    *err = ERR_FORMAT;
    if (wrong.n)
        return wrong;
    *err = script_run(s, c, a, &r);
    if (*err == ERR_AWAY)
        return r.error;
    int failed = *err;
    *err = ERR_CONFLICT;
    if (must_fail)
        return failed < 0 ? STR("") : STR("an error was expected");
    if (failed < 0)
        return r.error;
    if (r.data.n && json_parse(a, r.data, deep, &got, &why) < 0)
        return arena_printf(a, "the result cannot be read: %s", why.text);
    return differ(a, STR("object"), member(v, STR("object")), got);
}

int vectors_run(struct scripts *s, struct hash128 key, struct str source,
                struct str vectors, struct arena *a,
                struct vectors_outcome *ret)
{
    struct script_call c = {.key = key, .source = source};
    struct json *list = NULL;
    struct json_error why;

    *ret = (struct vectors_outcome){0};
    if (json_parse(a, vectors, deep, &list, &why) < 0) {
        ret->difference =
            arena_printf(a, "vectors: %s, at byte %zu", why.text, why.offset);
        return ERR_FORMAT;
    }
    if (list->type != JSON_ARRAY) {
        ret->difference = STR("vectors: a list is expected");
        return ERR_FORMAT;
    }
    json_each (v, list) {
        int err = 0;
        struct str name = json_str(json_get(v, "name"));
        struct str d = run_vector(s, &c, v, a, &err);
        if (d.n) {
            ret->difference =
                arena_printf(a, "vector %u%s%.*s: %.*s", ret->passed + 1,
                             name.n ? " " : "", STR_ARGS(name), STR_ARGS(d));
            return err;
        }
        ret->passed++;
    }
    return 0;
}
