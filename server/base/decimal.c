/*
 * decimal.c - exact arithmetic through 128 bits. Every result passes fit(),
 * which drops or adds zeros only where int64 and the exponent's bounds demand
 * it; what does not fit then is ERR_RANGE, never rounded.
 */
#include "server/base/decimal.h"
#include "server/base/err.h"

#include <stdio.h>
#include <stdlib.h>

__extension__ typedef __int128 wide;

/* 10^0 .. 10^18: all that int64 holds. */
static const int64_t pow10_table[] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

static bool in_int64(wide m)
{
    return m >= -INT64_MAX && m <= INT64_MAX;
}

static int fit(wide m, int64_t e, struct decimal *ret)
{
    while (m != 0 && m % 10 == 0 && (e < -DECIMAL_EXP || !in_int64(m)))
        m /= 10, e++;
    while (m != 0 && e > DECIMAL_EXP && in_int64(m))
        m *= 10, e--;
    if (m == 0)
        e = e < -DECIMAL_EXP ? -DECIMAL_EXP : e > DECIMAL_EXP ? DECIMAL_EXP : e;
    if (!in_int64(m) || e < -DECIMAL_EXP || e > DECIMAL_EXP)
        return ERR_RANGE;
    *ret = (struct decimal){(int64_t)m, (int)e};
    return 0;
}

static bool at_digit(struct str s)
{
    return s.n && s.p[0] >= '0' && s.p[0] <= '9';
}

static void skip(struct str *s)
{
    s->p++;
    s->n--;
}

/* Digits of the mantissa: *m grows; *e counts the zeros that no longer fit
 * into 128 bits (more digits than that other than zero: *lost). */
static int digits(struct str *s, wide *m, int64_t *e, bool *lost)
{
    const wide most = (wide)INT64_MAX * pow10_table[18] / 10;
    const char *start = s->p;

    for (; at_digit(*s); skip(s)) {
        int d = s->p[0] - '0';

        if (*m < most)
            *m = *m * 10 + d;
        else if (d == 0)
            ++*e;
        else
            *lost = true;
    }
    return s->p > start ? 0 : ERR_FORMAT;
}

/* "e-3" or nothing; an exponent beyond any use stays beyond it. */
static int exponent(struct str *s, int64_t *e)
{
    int64_t v = 0;
    bool minus;

    if (s->n == 0 || (s->p[0] != 'e' && s->p[0] != 'E'))
        return 0;
    skip(s);
    minus = s->n && s->p[0] == '-';
    if (s->n && (minus || s->p[0] == '+'))
        skip(s);
    if (!at_digit(*s))
        return ERR_FORMAT;
    for (; at_digit(*s); skip(s))
        if (v < INT32_MAX)
            v = v * 10 + (s->p[0] - '0');
    *e += minus ? -v : v;
    return 0;
}

int decimal_parse(struct str s, struct decimal *ret)
{
    bool minus = s.n && s.p[0] == '-', lost = false;
    int64_t e = 0;
    wide m = 0;

    if (s.n && (minus || s.p[0] == '+'))
        skip(&s);
    if (digits(&s, &m, &e, &lost) < 0)
        return ERR_FORMAT;
    if (s.n && (s.p[0] == '.' || s.p[0] == ',')) {
        const char *point = s.p;

        skip(&s);
        if (digits(&s, &m, &e, &lost) < 0)
            return ERR_FORMAT;
        e -= s.p - point - 1;
    }
    if (exponent(&s, &e) < 0 || s.n != 0)
        return ERR_FORMAT;
    return lost ? ERR_RANGE : fit(minus ? -m : m, e, ret);
}

int decimal_rescale(struct decimal d, int exp10, struct decimal *ret)
{
    int64_t shift = (int64_t)d.exp10 - exp10, m = d.mantissa;

    if (m != 0 && (shift > 18 || shift < -18))
        return ERR_RANGE;
    if (m != 0 && shift >= 0 &&
        __builtin_mul_overflow(m, pow10_table[shift], &m))
        return ERR_RANGE;
    if (m != 0 && shift < 0) {
        if (m % pow10_table[-shift] != 0)
            return ERR_RANGE;
        m /= pow10_table[-shift];
    }
    if (m == INT64_MIN)
        return ERR_RANGE;
    *ret = (struct decimal){m, exp10};
    return 0;
}

int decimal_scale(struct decimal d, int64_t mul, int exp10, struct decimal *ret)
{
    return fit((wide)d.mantissa * mul, (int64_t)d.exp10 + exp10, ret);
}

struct decimal decimal_reduce(struct decimal d)
{
    if (d.mantissa == 0)
        return (struct decimal){0};
    while (d.mantissa % 10 == 0)
        d.mantissa /= 10, d.exp10++;
    return d;
}

static int sign(wide v)
{
    return (v > 0) - (v < 0);
}

int decimal_cmp(struct decimal a, struct decimal b)
{
    int64_t shift = (int64_t)a.exp10 - b.exp10;

    if (shift < 0)
        return -decimal_cmp(b, a);
    if (a.mantissa == 0 || shift > 18) /* 10^19 is more than any int64 */
        return a.mantissa ? sign(a.mantissa) : -sign(b.mantissa);
    return sign((wide)a.mantissa * pow10_table[shift] - b.mantissa);
}

char *decimal_text(struct decimal d, char out[DECIMAL_TEXT])
{
    const char *minus = d.mantissa < 0 ? "-" : "";
    uint64_t m = d.mantissa < 0 ? -(uint64_t)d.mantissa : (uint64_t)d.mantissa;
    char text[24];
    int n = snprintf(text, sizeof text, "%0*llu",
                     d.exp10 < 0 && d.exp10 >= -18 ? 1 - d.exp10 : 1,
                     (unsigned long long)m);

    if (d.exp10 < -DECIMAL_EXP || d.exp10 > DECIMAL_EXP) /* no room for it */
        snprintf(out, DECIMAL_TEXT, "%s%se%d", minus, text, d.exp10);
    else if (d.exp10 < 0)
        snprintf(out, DECIMAL_TEXT, "%s%.*s.%s", minus, n + d.exp10, text,
                 text + n + d.exp10);
    else
        snprintf(out, DECIMAL_TEXT, "%s%s%.*s", minus, text, m ? d.exp10 : 0,
                 "000000000000000000");
    return out;
}
