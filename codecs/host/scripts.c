/*
 * scripts.c - a file's bytes to a text, and a module to a script: `export` in
 * front of a declaration is blanked; of a list of exports only what it renames
 * is kept, since the rest is global anyway; a default export that is no
 * declaration becomes module.exports. Lines stay where they are.
 */
#include "codecs/host/scripts.h"

static bool starts(struct str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p, z, n) == 0;
}

static struct str past(struct str s, size_t n)
{
    return (struct str){s.p + n, s.n - n};
}

struct str scripts_text(struct str bytes, struct buf *own)
{
    if (starts(bytes, "\xef\xbb\xbf"))
        bytes = past(bytes, 3);
    if (str_utf8(bytes))
        return bytes;
    buf_clear(own);
    while (bytes.n) {
        size_t n = str_utf8_char(bytes);
        uint8_t c = (uint8_t)*bytes.p;
        if (n) {
            buf_put(own, bytes.p, n);
        } else if (c == 0) {
            buf_u8(own, ' ');
        } else {
            buf_u8(own, (uint8_t)(0xc0 | c >> 6));
            buf_u8(own, 0x80 | (c & 0x3f));
        }
        bytes = past(bytes, n ? n : 1);
    }
    return buf_view(own);
}

/* ---- modules ---- */

static const char word[] = "export";

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct str unindented(struct str s)
{
    while (s.n && is_blank(*s.p))
        s = past(s, 1);
    return s;
}

/* A character of a name. */
static bool is_part(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '$' || (c & 0x80);
}

static struct str take_name(struct str *s)
{
    struct str name = {s->p, 0};

    while (name.n < s->n && is_part(name.p[name.n]))
        name.n++;
    *s = past(*s, name.n);
    return name;
}

/* Whether a statement may begin behind `before`. */
static bool ends_statement(struct str before)
{
    while (before.n && is_blank(before.p[before.n - 1]))
        before.n--;
    return before.n == 0 || memchr("\n;}", before.p[before.n - 1], 3);
}

/* The next statement that begins with export; empty where there is none. */
static struct str next_export(struct str whole, struct str rest)
{
    const size_t n = sizeof word - 1;
    const char *at;

    while (rest.n && (at = memmem(rest.p, rest.n, word, n))) {
        struct str before = {whole.p, (size_t)(at - whole.p)};
        rest = past(rest, (size_t)(at - rest.p));
        if (rest.n > n && strchr(" \t{", rest.p[n]) && ends_statement(before))
            return rest;
        rest = past(rest, n);
    }
    return (struct str){0};
}

/* { a, b as c }: c is given to module.exports; what comes behind the list. */
static struct str replace_list(struct str s, struct buf *out)
{
    struct str local = {0};
    bool as = false, any = false;

    while (s.n && *s.p != '}') {
        if (*s.p == '\n')
            buf_u8(out, '\n');
        if (*s.p == ',')
            local.n = as = 0;
        if (!is_part(*s.p)) {
            s = past(s, 1);
            continue;
        }
        struct str name = take_name(&s);
        if (as) {
            buf_z(out, any ? "," : "Object.assign(module.exports,{");
            buf_printf(out, "%.*s:%.*s", STR_ARGS(name), STR_ARGS(local));
            any = true;
        }
        as = !as && local.n && str_is(name, "as");
        if (!as)
            local = name;
    }
    if (any)
        buf_z(out, "})");
    return s.n ? past(s, 1) : s;
}

/* A statement that begins with export; what comes behind what was replaced. */
static struct str replace(struct str s, struct buf *out)
{
    s = unindented(past(s, sizeof word - 1));
    if (starts(s, "{"))
        return replace_list(s, out);
    if (!starts(s, "default "))
        return s;
    s = unindented(past(s, sizeof "default" - 1));
    const char *name = starts(s, "function ") ? "function "
                       : starts(s, "class ")  ? "class "
                                              : NULL;
    if (!name || starts(unindented(past(s, strlen(name))), "("))
        buf_z(out, "module.exports=");
    return s;
}

bool scripts_is_module(struct str source)
{
    return next_export(source, source).n > 0;
}

void scripts_from_module(struct str source, struct buf *out)
{
    struct str rest = source, at;

    while ((at = next_export(source, rest)).n) {
        buf_put(out, rest.p, (size_t)(at.p - rest.p));
        rest = replace(at, out);
    }
    buf_str(out, rest);
}
