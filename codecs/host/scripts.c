/*
 * scripts.c - `export` in front of a declaration is blanked; a list of exports
 * too, since what it names is global anyway; a default export that is no
 * declaration becomes "module.exports=", which is as long.
 */
#include "codecs/host/scripts.h"

static bool starts(struct str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p, z, n) == 0;
}

/* Where the text goes on after the blanks at `at`. */
static struct str rest(struct str s, size_t at)
{
    while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\t'))
        at++;
    return (struct str){s.p + at, s.n - at};
}

static void blank(struct buf *out, size_t n)
{
    while (n--)
        buf_u8(out, ' ');
}

/* A line that begins with export; how much of it was replaced. */
static size_t replace(struct str s, struct buf *out)
{
    static const char word[] = "export", module[] = "module.exports=";
    const size_t n = sizeof word - 1;

    if (starts(rest(s, n), "{")) {
        const char *end = memchr(s.p, '}', s.n);
        size_t all = end ? (size_t)(end - s.p) + 1 : n;
        for (size_t i = 0; i < all; i++)
            buf_u8(out, s.p[i] == '\n' ? '\n' : ' ');
        return all;
    }
    if (!starts(s, "export default ")) {
        blank(out, n);
        return n;
    }
    struct str what = rest(s, sizeof module - 1);
    const char *name = starts(what, "function ") ? "function "
                       : starts(what, "class ")  ? "class "
                                                 : NULL;
    if (name && !starts(rest(what, strlen(name)), "("))
        blank(out, sizeof module - 1);
    else
        buf_z(out, module);
    return sizeof module - 1;
}

bool scripts_is_module(struct str source)
{
    return starts(source, "export ") ||
           memmem(source.p, source.n, "\nexport ", 8) != NULL;
}

void scripts_from_module(struct str source, struct buf *out)
{
    size_t at = 0;

    while (at < source.n) {
        struct str here = {source.p + at, source.n - at};
        const char *end = memchr(here.p, '\n', here.n);
        if (starts(here, "export ")) {
            at += replace(here, out);
            continue;
        }
        size_t line = end ? (size_t)(end - here.p) + 1 : here.n;
        buf_put(out, here.p, line);
        at += line;
    }
}
