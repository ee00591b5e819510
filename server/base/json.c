/*
 * json.c - one pass over the text with an explicit chain of open containers,
 * so that hostile nesting meets a limit and not the stack. Strings without
 * escapes are not copied. Time is O(n), with O(n log n) for the names of one
 * object (they are sorted to find duplicates; a hash could be made to collide).
 */
#include "server/base/json.h"
#include "server/base/decimal.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <stdlib.h>

enum { DEPTH_DEFAULT = 32, NODES_DEFAULT = 100000, FEW_NAMES = 16 };

/* An array or object whose end has not come yet. */
struct open {
    struct open *up;
    struct json *node;
    struct json **tail; /* where its next child is linked */
};

struct parser {
    struct arena *arena;
    const char *p, *end;
    struct open *open;  /* innermost; NULL at the top */
    struct open *spare; /* closed ones, used again */
    uint32_t depth, depth_most, nodes_left;
    int err;
    const char *error; /* set with err; at p */
};

static int fail(struct parser *s, int err, const char *text)
{
    s->err = err;
    s->error = text;
    return err;
}

/* What is wrong here: the end of the text, or the byte that stands here. */
static int wrong(struct parser *s, const char *text)
{
    if (s->p == s->end)
        return fail(s, ERR_SHORT, "the text ends early");
    return fail(s, ERR_FORMAT, text);
}

static int out_of_memory(struct parser *s)
{
    return fail(s, ERR_FULL, "more memory than allowed");
}

static void skip_blanks(struct parser *s)
{
    while (s->p < s->end &&
           (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool next_is(struct parser *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* ---- strings ---- */

/* No quote, backslash, control or non-ASCII among eight bytes? */
static bool plain8(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t v, quote, slash;

    memcpy(&v, p, sizeof v);
    quote = v ^ (ones * '"');
    slash = v ^ (ones * '\\');
    return ((v | (v - ones * 0x20) | (quote - ones) | (slash - ones)) & tops) ==
           0;
}

static bool hex4(const char *p, uint32_t *ret)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *ret = v;
    return true;
}

static char *put_utf8(char *out, uint32_t c)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};

    *out++ = (char)(lead[more] | c >> (6 * more));
    while (more--)
        *out++ = (char)(0x80 | (c >> (6 * more) & 0x3f));
    return out;
}

/* s->p is behind "\u", and `end` is the closing quote. */
static int unescape_unicode(struct parser *s, const char *end, char **out)
{
    uint32_t c, low;

    if (end - s->p < 4 || !hex4(s->p, &c))
        return fail(s, ERR_FORMAT, "\\u without four hex digits");
    if (c == 0)
        return fail(s, ERR_FORMAT, "NUL in a string");
    if (c >= 0xd800 && c <= 0xdfff) {
        if (c >= 0xdc00 || end - s->p < 10 || s->p[4] != '\\' ||
            s->p[5] != 'u' || !hex4(s->p + 6, &low) || low < 0xdc00 ||
            low > 0xdfff)
            return fail(s, ERR_FORMAT, "a lone surrogate");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        s->p += 6;
    }
    s->p += 4;
    *out = put_utf8(*out, c);
    return 0;
}

/* The string from s->p to the quote at `end`, which holds escapes. Each
 * escape is longer than what it stands for, so its length is room enough. */
static int unescape(struct parser *s, const char *end, struct str *ret)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char *start = arena_alloc(s->arena, (size_t)(end - s->p)), *out = start;

    if (!start)
        return out_of_memory(s);
    while (s->p < end) {
        const char *slash = memchr(s->p, '\\', (size_t)(end - s->p)), *at;
        size_t n = (size_t)((slash ? slash : end) - s->p);

        memcpy(out, s->p, n);
        out += n;
        s->p += n;
        if (!slash)
            break;
        at = memchr(from, s->p[1], sizeof from - 1);
        if (!at && s->p[1] != 'u')
            return fail(s, ERR_FORMAT, "unknown escape");
        s->p += 2;
        if (at)
            *out++ = to[at - from];
        else if (unescape_unicode(s, end, &out) < 0)
            return s->err;
    }
    *ret = (struct str){start, (size_t)(out - start)};
    return 0;
}

/* One step to the closing quote: past 8 plain bytes, an escape, or a single
 * character. */
static int string_step(struct parser *s, bool *escaped)
{
    size_t n;

    if (s->end - s->p >= 8 && plain8(s->p)) {
        s->p += 8;
        return 0;
    }
    if (*s->p == '\\') {
        *escaped = true;
        s->p++;
        if (s->p == s->end || (unsigned char)*s->p < 0x20)
            return wrong(s, "unknown escape");
    }
    if ((unsigned char)*s->p < 0x20)
        return wrong(s, *s->p ? "control character in a string"
                              : "NUL in a string");
    n = str_utf8_char((struct str){s->p, (size_t)(s->end - s->p)});
    if (n == 0)
        return wrong(s, "invalid UTF-8");
    s->p += n;
    return 0;
}

/* s->p is behind the opening quote. */
static int parse_string(struct parser *s, struct str *ret)
{
    const char *start = s->p, *end;
    bool escaped = false;

    while (s->p < s->end && *s->p != '"')
        if (string_step(s, &escaped) < 0)
            return s->err;
    if (s->p == s->end)
        return wrong(s, "");
    end = s->p;
    if (escaped) {
        s->p = start;
        if (unescape(s, end, ret) < 0)
            return s->err;
    } else {
        *ret = (struct str){start, (size_t)(end - start)};
    }
    s->p = end + 1;
    return 0;
}

/* ---- numbers and words ---- */

static bool skip_digits(struct parser *s)
{
    const char *start = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > start;
}

/* RFC 8259 clause 6: no leading zeros, digits on both sides of the point. */
static int parse_number(struct parser *s, struct json *v)
{
    const char *start = s->p;

    v->type = JSON_NUMBER;
    next_is(s, '-');
    if (!next_is(s, '0') && !skip_digits(s))
        return wrong(s, "a value is expected");
    if (next_is(s, '.') && !skip_digits(s))
        return wrong(s, "digits are missing behind the point");
    if (next_is(s, 'e') || next_is(s, 'E')) {
        if (!next_is(s, '-'))
            next_is(s, '+');
        if (!skip_digits(s))
            return wrong(s, "digits are missing in the exponent");
    }
    v->text = (struct str){start, (size_t)(s->p - start)};
    return 0;
}

static int parse_word(struct parser *s, const char *word)
{
    for (; *word; word++)
        if (!next_is(s, *word))
            return wrong(s, "a value is expected");
    return 0;
}

/* ---- containers ---- */

static int by_name(const void *a, const void *b)
{
    struct str x = (*(struct json *const *)a)->name;
    struct str y = (*(struct json *const *)b)->name;

    if (x.n != y.n)
        return x.n < y.n ? -1 : 1;
    return x.n ? memcmp(x.p, y.p, x.n) : 0;
}

static bool repeats_among_many(const struct json *object)
{
    const struct json **all = mem_grow(NULL, object->count, sizeof *all);
    const struct json **at = all;
    bool found = false;

    json_each (member, object)
        *at++ = member;
    qsort(all, object->count, sizeof *all, by_name);
    for (uint32_t i = 1; i < object->count && !found; i++)
        found = str_eq(all[i - 1]->name, all[i]->name);
    free(all);
    return found;
}

static bool repeats_a_name(const struct json *object)
{
    if (object->count > FEW_NAMES)
        return repeats_among_many(object);
    json_each (a, object)
        for (const struct json *b = a->next; b; b = b->next)
            if (str_eq(a->name, b->name))
                return true;
    return false;
}

static int open_container(struct parser *s, struct json *v, enum json_type type)
{
    struct open *o = s->spare;

    v->type = type;
    if (s->depth++ == s->depth_most)
        return fail(s, ERR_FULL,
                    s->depth_most == DEPTH_DEFAULT ? "nested deeper than 32"
                                                   : "nested too deeply");
    if (o)
        s->spare = o->up;
    else
        o = arena_alloc(s->arena, sizeof *o);
    if (!o)
        return out_of_memory(s);
    *o = (struct open){s->open, v, &v->child};
    s->open = o;
    return 0;
}

static int close_container(struct parser *s)
{
    struct open *o = s->open;

    if (o->node->type == JSON_OBJECT && repeats_a_name(o->node))
        return fail(s, ERR_FORMAT, "an object has the same name twice");
    s->open = o->up;
    o->up = s->spare;
    s->spare = o;
    s->depth--;
    return 0;
}

/* A new value, linked to its container; in an object its name is read. */
static int new_value(struct parser *s, struct json **ret)
{
    struct open *o = s->open;
    struct json *v;

    if (s->nodes_left == 0)
        return fail(s, ERR_FULL, "too many values");
    s->nodes_left--;
    v = arena_alloc(s->arena, sizeof *v);
    if (!v)
        return out_of_memory(s);
    *ret = v;
    if (!o)
        return 0;
    *o->tail = v;
    o->tail = &v->next;
    o->node->count++;
    if (o->node->type == JSON_ARRAY)
        return 0;
    if (!next_is(s, '"'))
        return wrong(s, "a member name is expected");
    if (parse_string(s, &v->name) < 0)
        return s->err;
    skip_blanks(s);
    if (!next_is(s, ':'))
        return wrong(s, "':' is expected");
    skip_blanks(s);
    return 0;
}

static int parse_value(struct parser *s, struct json *v)
{
    char c = s->p < s->end ? *s->p : 0;
    static const struct {
        char first;
        enum json_type type;
        const char *word;
    } words[] = {{'t', JSON_TRUE, "true"},
                 {'f', JSON_FALSE, "false"},
                 {'n', JSON_NULL, "null"}};

    if (c == '{' || c == '[') {
        int r = open_container(s, v, c == '{' ? JSON_OBJECT : JSON_ARRAY);

        s->p += r == 0;
        return r;
    }
    if (c == '"') {
        v->type = JSON_STRING;
        s->p++;
        return parse_string(s, &v->text);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (c == words[i].first) {
            v->type = words[i].type;
            return parse_word(s, words[i].word);
        }
    return parse_number(s, v);
}

static char closing(const struct open *o)
{
    return o->node->type == JSON_OBJECT ? '}' : ']';
}

/* Behind a value: closes what ends here; then either the whole is complete
 * or a comma was taken and another value must come. */
static int after_value(struct parser *s)
{
    skip_blanks(s);
    while (s->open && next_is(s, closing(s->open))) {
        if (close_container(s) < 0)
            return s->err;
        skip_blanks(s);
    }
    if (s->open && !next_is(s, ','))
        return wrong(s, "',' or the end of the container is expected");
    skip_blanks(s);
    return 0;
}

static int parse_all(struct parser *s, struct json **root)
{
    struct json *v;

    skip_blanks(s);
    do {
        if (new_value(s, &v) < 0)
            return s->err;
        if (!*root)
            *root = v;
        if (parse_value(s, v) < 0)
            return s->err;
        if (v->type >= JSON_ARRAY) {
            skip_blanks(s);
            if (s->p == s->end || *s->p != closing(s->open))
                continue; /* its first child comes */
        }
        if (after_value(s) < 0)
            return s->err;
    } while (s->open);
    return s->p == s->end ? 0 : wrong(s, "bytes behind the value");
}

int json_parse(struct arena *a, struct str text, struct json_limits limits,
               struct json **ret, struct json_error *error)
{
    struct parser s = {
        .arena = a,
        .p = text.n ? text.p : "",
        .depth_most = limits.depth ? limits.depth : DEPTH_DEFAULT,
        .nodes_left = limits.nodes ? limits.nodes : NODES_DEFAULT,
    };
    const char *start = s.p;
    struct json *root = NULL;

    s.end = s.p + text.n;
    if (parse_all(&s, &root) < 0) {
        if (error)
            *error = (struct json_error){(size_t)(s.p - start), s.error};
        return s.err;
    }
    *ret = root;
    return 0;
}

/* ---- access ---- */

static const struct json *present(const struct json *v)
{
    return v && v->type != JSON_NULL ? v : NULL;
}

const struct json *json_get(const struct json *object, const char *name)
{
    struct str wanted = str_of(name);

    if (!object || object->type != JSON_OBJECT)
        return NULL;
    json_each (member, object)
        if (str_eq(member->name, wanted))
            return present(member);
    return NULL;
}

const struct json *json_at(const struct json *array, uint32_t index)
{
    if (!array || array->type != JSON_ARRAY)
        return NULL;
    json_each (element, array)
        if (index-- == 0)
            return present(element);
    return NULL;
}

struct str json_str(const struct json *v)
{
    return v && v->type == JSON_STRING ? v->text : (struct str){0};
}

bool json_int(const struct json *v, int64_t *ret)
{
    struct decimal d;

    if (!v || v->type != JSON_NUMBER || decimal_parse(v->text, &d) < 0 ||
        decimal_rescale(d, 0, &d) < 0)
        return false;
    *ret = d.mantissa;
    return true;
}

bool json_bool(const struct json *v, bool fallback)
{
    if (!v || (v->type != JSON_TRUE && v->type != JSON_FALSE))
        return fallback;
    return v->type == JSON_TRUE;
}
