/*
 * log.c - see log.h. The format is walked here rather than by vsnprintf,
 * because only then is it known where a value begins and ends: a value that
 * holds a blank, a quote or a control character is quoted whole, so no
 * outside text can forge a key or a line. Lines end at 2 KiB.
 */
#include "server/base/log.h"
#include "server/base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINE = 2048, WORD = 1024, NAME = 64 };

static int least = LOG_INFO;
static char name[NAME];

void log_set_level(enum log_level min)
{
    __atomic_store_n(&least, (int)min, __ATOMIC_RELAXED);
}

void log_set_name(const char *text)
{
    snprintf(name, sizeof name, "%s%s", text ? text : "", text ? ": " : "");
}

struct text {
    char *p;
    size_t n, cap;
};

static void put(struct text *t, const char *p, size_t n)
{
    if (n > t->cap - t->n)
        n = t->cap - t->n;
    if (n)
        memcpy(t->p + t->n, p, n);
    t->n += n;
}

static void put_z(struct text *t, const char *z)
{
    put(t, z, strlen(z));
}

/* One character as it is, or escaped: quotes, controls (C1 too: terminals obey
 * them), bytes that are no UTF-8. Left out where it would leave no room for a
 * closing quote. Returns the bytes it took from s. */
static size_t put_char(struct text *t, struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = str_utf8_char(s);
    bool control = n == 0 || c < 0x20 || c == 0x7f ||
                   (c == 0xc2 && (unsigned char)s.p[1] < 0xa0);
    char hex[8];

    n = control ? 1 : n;
    if (t->cap - t->n < sizeof hex)
        return n;
    if (c == '"' || c == '\\')
        put(t, "\\", 1);
    if (control)
        put(t, hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", c));
    else
        put(t, s.p, n);
    return n;
}

static void put_escaped(struct text *t, struct str s)
{
    for (size_t n; s.n; s.p += n, s.n -= n)
        n = put_char(t, s);
}

static bool needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || strchr("\"\\=\x7f", s.p[i]))
            return true;
    return s.n == 0;
}

static void put_value(struct text *t, struct str s)
{
    bool quote = needs_quotes(s);

    if (quote)
        put(t, "\"", 1);
    put_escaped(t, s);
    if (quote)
        put(t, "\"", 1);
}

/* What is between '%' and the letter of a conversion. */
struct conversion {
    bool zero, left, has_precision;
    int width, precision, size; /* size: 4 or 8 bytes */
};

struct walk {
    const char *fmt;
    va_list args;
};

static int take_number(struct walk *w)
{
    int v = 0;

    if (*w->fmt == '*') {
        w->fmt++;
        return va_arg(w->args, int);
    }
    for (; *w->fmt >= '0' && *w->fmt <= '9'; w->fmt++)
        v = v * 10 + (*w->fmt - '0');
    return v;
}

static struct conversion take_conversion(struct walk *w)
{
    struct conversion c = {.size = 4};

    for (; *w->fmt && strchr("-+ #0", *w->fmt); w->fmt++) {
        c.zero |= *w->fmt == '0';
        c.left |= *w->fmt == '-';
    }
    c.width = take_number(w);
    if (*w->fmt == '.') {
        w->fmt++;
        c.has_precision = true;
        c.precision = take_number(w);
    }
    for (; *w->fmt && strchr("lzjth", *w->fmt); w->fmt++)
        if (*w->fmt != 'h')
            c.size = 8;
    return c;
}

static void put_signed(struct text *t, struct conversion c, struct walk *w)
{
    long long v =
        c.size == 8 ? va_arg(w->args, long long) : va_arg(w->args, int);
    char s[72];
    int width = c.width > 64 ? 64 : c.left ? -c.width : c.width;

    snprintf(s, sizeof s, c.zero ? "%0*lld" : "%*lld", width, v);
    put_z(t, s);
}

static void put_unsigned(struct text *t, struct conversion c, struct walk *w,
                         char letter)
{
    unsigned long long v = c.size == 8 ? va_arg(w->args, unsigned long long)
                                       : va_arg(w->args, unsigned);
    char s[72];
    int width = c.width > 64 ? 64 : c.left ? -c.width : c.width;

    if (letter == 'u')
        snprintf(s, sizeof s, c.zero ? "%0*llu" : "%*llu", width, v);
    else if (letter == 'x')
        snprintf(s, sizeof s, c.zero ? "%0*llx" : "%*llx", width, v);
    else
        snprintf(s, sizeof s, c.zero ? "%0*llX" : "%*llX", width, v);
    put_z(t, s);
}

static void put_string(struct text *t, struct conversion c, struct walk *w)
{
    const char *z = va_arg(w->args, const char *);

    if (!z)
        put_z(t, "-");
    else if (c.has_precision && c.precision >= 0)
        put(t, z, strnlen(z, (size_t)c.precision));
    else
        put_z(t, z);
}

static void put_double(struct text *t, struct conversion c, struct walk *w)
{
    int precision = c.has_precision ? c.precision % 16 : 6;
    char s[352]; /* DBL_MAX has 309 digits before the point */

    snprintf(s, sizeof s, "%.*f", precision, va_arg(w->args, double));
    put_z(t, s);
}

/* The part of printf that log lines use. Behind any other letter the arguments
 * could not be told apart any more, so the line ends there. */
static void convert(struct text *t, struct walk *w)
{
    struct conversion c = take_conversion(w);
    char letter = *w->fmt ? *w->fmt++ : 0, one;

    if (letter == 's') {
        put_string(t, c, w);
    } else if (letter == 'd' || letter == 'i') {
        put_signed(t, c, w);
    } else if (letter == 'u' || letter == 'x' || letter == 'X') {
        put_unsigned(t, c, w, letter);
    } else if (letter == 'f') {
        put_double(t, c, w);
    } else if (letter == 'c') {
        one = (char)va_arg(w->args, int);
        put(t, &one, 1);
    } else if (letter == '%') {
        put(t, "%", 1);
    } else {
        put(t, "?", 1);
        w->fmt += strlen(w->fmt);
    }
}

/* One "key=value" of the format, up to a blank that stands in the format. */
static void put_word(struct text *line, struct walk *w)
{
    char space[WORD];
    struct text word = {space, 0, sizeof space};
    size_t value = 0;
    struct str s;

    while (*w->fmt && *w->fmt != ' ') {
        char c = *w->fmt++;

        if (c == '%') {
            convert(&word, w);
        } else {
            put(&word, &c, 1);
            if (c == '=' && value == 0)
                value = word.n;
        }
    }
    put(line, space, value);
    s = (struct str){space + value, word.n - value};
    if (value)
        put_value(line, s);
    else
        put_escaped(line, s);
}

static void put_head(struct text *line, enum log_level level, const char *event)
{
    static const char names[][6] = {"debug", "info ", "warn ", "error"};
    char stamp[TIME_TEXT];
    int64_t us = clock_utc(&clock_system);
    int ms = (int)(us / 1000 % 1000);

    time_text(us / US_PER_S * US_PER_S, stamp);
    put(line, stamp, strlen(stamp) - 1);
    snprintf(stamp, sizeof stamp, ".%03dZ %s ", ms, names[level]);
    put_z(line, stamp);
    put_z(line, name);
    put_z(line, event);
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    char space[LINE];
    struct text line = {space, 0, sizeof space - 1};
    struct walk w = {.fmt = fmt};
    ssize_t r;

    if ((int)level < __atomic_load_n(&least, __ATOMIC_RELAXED))
        return;
    put_head(&line, level, event);
    va_start(w.args, fmt);
    while (*w.fmt) {
        put(&line, " ", 1);
        put_word(&line, &w);
        while (*w.fmt == ' ')
            w.fmt++;
    }
    va_end(w.args);
    line.cap++;
    put(&line, "\n", 1);
    r = write(STDERR_FILENO, space, line.n);
    (void)r; /* there is nobody left to tell */
}

/* `second` holds the second after the one last logged in: 0 is "never". */
int log_allowed(struct log_limit *l)
{
    long now = (long)(clock_mono(&clock_system) / US_PER_S) + 1;
    long last = __atomic_load_n(&l->second, __ATOMIC_RELAXED);
    long kept;

    if (now == last ||
        !__atomic_compare_exchange_n(&l->second, &last, now, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&l->kept_back, 1, __ATOMIC_RELAXED);
        return 0;
    }
    kept = __atomic_exchange_n(&l->kept_back, 0, __ATOMIC_RELAXED);
    return kept < 1000000000 ? (int)kept + 1 : 1000000001;
}
