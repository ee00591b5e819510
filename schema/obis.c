/*
 * obis.c - OBIS codes as text, both the written form A-B:C.D.E*F and the
 * dotted form of six numbers. Strict: what it prints it reads, and no more.
 */
#include "schema/obis.h"
#include "server/base/err.h"
#include <stdio.h>

bool obis_is_none(struct obis o)
{
    return obis_eq(o, OBIS_NONE);
}

bool obis_eq(struct obis a, struct obis b)
{
    return a.a == b.a && a.b == b.b && a.c == b.c && a.d == b.d && a.e == b.e &&
           a.f == b.f;
}

/* Takes one number 0..255 off the front; -1 when there is none. */
static int take_group(struct str *s)
{
    int v = 0;
    size_t n = 0;

    while (n < s->n && n < 3 && s->p[n] >= '0' && s->p[n] <= '9')
        v = v * 10 + (s->p[n++] - '0');
    if (n == 0 || v > 255)
        return -1;
    s->p += n;
    s->n -= n;
    return v;
}

/* Six groups with the five separators given; the last is optional when it is
 * '*' (F is then 255, "current"). */
static int parse_form(struct str s, const char *separators, struct obis *ret)
{
    uint8_t g[6] = {0, 0, 0, 0, 0, 255};

    for (int i = 0; i < 6; i++) {
        int v = take_group(&s);
        if (v < 0)
            return ERR_FORMAT;
        g[i] = (uint8_t)v;
        if (s.n == 0 && (i == 5 || (i == 4 && separators[4] == '*'))) {
            *ret = (struct obis){g[0], g[1], g[2], g[3], g[4], g[5]};
            return 0;
        }
        if (i == 5 || s.n == 0 || s.p[0] != separators[i])
            return ERR_FORMAT;
        s.p++;
        s.n--;
    }
    return ERR_FORMAT;
}

int obis_parse(struct str s, struct obis *ret)
{
    int r = parse_form(s, "-:..*", ret);
    return r == 0 ? 0 : parse_form(s, ".....", ret);
}

char *obis_text(struct obis o, char out[OBIS_TEXT])
{
    int n = snprintf(out, OBIS_TEXT, "%u-%u:%u.%u.%u", o.a, o.b, o.c, o.d, o.e);

    if (o.f != 255)
        snprintf(out + n, OBIS_TEXT - (size_t)n, "*%u", o.f);
    return out;
}
