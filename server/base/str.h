/*
 * str.h - a slice of bytes owned by somebody else. Not NUL-terminated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_ARGS(s)  (int)(s).n, (s).p /* for "%.*s"; slices stay < 2 GiB */

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *z)
{
    return str_eq(a, str_of(z));
}

/* Without leading and trailing blanks (space, tab, CR, LF). */
struct str str_trim(struct str s);

/* Valid UTF-8 without NUL (RFC 3629: no surrogates, no overlong forms)? */
bool str_utf8(struct str s);

/* Bytes of its first character under the same rules; 0 when it is none. */
size_t str_utf8_char(struct str s);
