/*
 * str.c - trimming and UTF-8. ASCII, which is nearly all that meters send, is
 * passed eight bytes at a time.
 */
#include "server/base/str.h"

#include <stdint.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.n && is_blank(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Unicode 15, table 3-7: what the second byte after a lead byte may be. */
static const struct lead {
    uint8_t first, last, length, low, high;
} leads[] = {
    {0x01, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf},
    {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf},
    {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static bool tail_fits(const struct lead *l, const uint8_t *p)
{
    if (p[1] < l->low || p[1] > l->high)
        return false;
    for (size_t i = 2; i < l->length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

size_t str_utf8_char(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;

    for (size_t i = 0; s.n && i < sizeof leads / sizeof *leads; i++) {
        const struct lead *l = &leads[i];

        if (p[0] < l->first || p[0] > l->last)
            continue;
        if (l->length == 1)
            return 1;
        return s.n >= l->length && tail_fits(l, p) ? l->length : 0;
    }
    return 0;
}

/* Eight bytes of ASCII, none of them NUL? */
static bool plain8(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return ((v | (v - ones)) & tops) == 0;
}

bool str_utf8(struct str s)
{
    for (size_t n; s.n; s.p += n, s.n -= n) {
        n = s.n >= 8 && plain8(s.p) ? 8 : str_utf8_char(s);
        if (n == 0)
            return false;
    }
    return true;
}
