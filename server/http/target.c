/*
 * target.c - request targets: split first, decode each piece, check once that
 * it is text. Nothing here grows with the number of requests.
 */
#include "server/http/target.h"
#include "server/base/err.h"

/* Takes what stands before the next `stop` off *rest (and the stop too). */
static struct str take(struct str *rest, char stop)
{
    const char *at = rest->n ? memchr(rest->p, stop, rest->n) : NULL;
    struct str head = {rest->p, at ? (size_t)(at - rest->p) : rest->n};

    rest->p = at ? at + 1 : rest->p + rest->n;
    rest->n -= head.n + (at ? 1 : 0);
    return head;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded copy in the arena; `plus`: '+' is a blank. */
static int decode(struct arena *a, struct str s, bool plus, struct str *ret)
{
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;

    if (!out)
        return ERR_FULL;
    for (size_t i = 0; i < s.n; i++) {
        int high, low;

        if (s.p[i] != '%') {
            out[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
            continue;
        }
        if (s.n - i < 3)
            return ERR_FORMAT;
        high = hex_digit(s.p[i + 1]);
        low = hex_digit(s.p[i + 2]);
        if (high < 0 || low < 0)
            return ERR_FORMAT;
        out[n++] = (char)(high << 4 | low);
        i += 2;
    }
    *ret = (struct str){out, n};
    return str_utf8(*ret) ? 0 : ERR_FORMAT;
}

static int parse_path(struct arena *a, struct str path, struct target *t)
{
    bool more;

    if (path.n == 0 || path.p[0] != '/')
        return ERR_FORMAT;
    path.p++, path.n--;
    do {
        const char *end = path.p + path.n;
        struct str piece = take(&path, '/');
        int r;

        if (t->n == TARGET_SEGMENTS)
            return ERR_FULL;
        r = decode(a, piece, false, &t->segments[t->n++]);
        if (r < 0)
            return r;
        more = piece.p + piece.n < end; /* a slash ended it */
    } while (more);
    return 0;
}

static int parse_query(struct arena *a, struct str query, struct target *t)
{
    while (query.n) {
        struct str value = take(&query, '&'), name = take(&value, '=');
        struct pair *p = &t->pairs[t->n_pairs];
        int r;

        if (name.n == 0 && value.n == 0)
            continue;
        if (t->n_pairs == TARGET_PAIRS)
            return ERR_FULL;
        r = decode(a, name, true, &p->name);
        if (r == 0)
            r = decode(a, value, true, &p->value);
        if (r < 0)
            return r;
        for (uint32_t i = 0; i < t->n_pairs; i++)
            if (str_eq(t->pairs[i].name, p->name))
                return ERR_CONFLICT;
        t->n_pairs++;
    }
    return 0;
}

int target_parse(struct arena *a, struct str raw, struct target *ret)
{
    const struct str scheme = STR("http://");
    struct target t = {.n = 0};
    struct str path;
    int r;

    if (raw.n >= scheme.n && memcmp(raw.p, scheme.p, scheme.n) == 0) {
        const char *slash = memchr(raw.p + scheme.n, '/', raw.n - scheme.n);

        if (!slash)
            return ERR_FORMAT;
        raw = (struct str){slash, raw.n - (size_t)(slash - raw.p)};
    }
    path = take(&raw, '?');
    r = parse_path(a, path, &t);
    if (r == 0)
        r = parse_query(a, raw, &t);
    if (r == 0)
        *ret = t;
    return r;
}

static bool is_place(struct str s)
{
    return s.n > 2 && s.p[0] == '{' && s.p[s.n - 1] == '}';
}

bool target_match(const struct target *t, const char *pattern)
{
    struct str rest = str_of(pattern + 1);
    uint32_t i = 0;

    for (; i < t->n && (i == 0 || rest.n); i++) {
        struct str want = take(&rest, '/'), have = t->segments[i];

        if (is_place(want) ? have.n == 0 : !str_eq(want, have))
            return false;
    }
    return i == t->n && rest.n == 0;
}

struct str target_param(const struct target *t, const char *pattern,
                        const char *name)
{
    struct str rest = str_of(pattern + 1);

    for (uint32_t i = 0; i < t->n && rest.n; i++) {
        struct str want = take(&rest, '/');

        if (is_place(want) &&
            str_is((struct str){want.p + 1, want.n - 2}, name))
            return t->segments[i];
    }
    return (struct str){0};
}
