/*
 * buf.c - see buf.h. Growth doubles, so that appending stays linear.
 */
#include "server/base/buf.h"
#include "server/base/mem.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_done(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

uint8_t *buf_room(struct buf *b, size_t n)
{
    if (!b->p || b->cap - b->n < n) {
        size_t need = b->n + n < n ? SIZE_MAX : b->n + n;
        size_t cap = b->cap ? b->cap : 128;

        while (cap < need && cap <= SIZE_MAX / 2)
            cap *= 2;
        b->cap = cap < need ? need : cap;
        b->p = mem_grow(b->p, b->cap, 1);
    }
    return b->p + b->n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_room(b, n), p, n);
    b->n += n;
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, sizeof v);
}

void buf_u16(struct buf *b, uint16_t v)
{
    v = htole16(v);
    buf_put(b, &v, sizeof v);
}

void buf_u32(struct buf *b, uint32_t v)
{
    v = htole32(v);
    buf_put(b, &v, sizeof v);
}

void buf_u64(struct buf *b, uint64_t v)
{
    v = htole64(v);
    buf_put(b, &v, sizeof v);
}

void buf_be16(struct buf *b, uint16_t v)
{
    v = htobe16(v);
    buf_put(b, &v, sizeof v);
}

void buf_be32(struct buf *b, uint32_t v)
{
    v = htobe32(v);
    buf_put(b, &v, sizeof v);
}

void buf_be64(struct buf *b, uint64_t v)
{
    v = htobe64(v);
    buf_put(b, &v, sizeof v);
}

void buf_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}

void buf_z(struct buf *b, const char *z)
{
    buf_str(b, str_of(z));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    size_t room;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    buf_room(b, 1);
    room = b->cap - b->n;
    n = vsnprintf((char *)b->p + b->n, room, fmt, args);
    if (n > 0 && (size_t)n >= room)
        n = vsnprintf((char *)buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt,
                      again);
    if (n > 0)
        b->n += (size_t)n;
    va_end(again);
    va_end(args);
}

/* One character that JSON does not take as it is: RFC 8259 clause 7. */
static void put_escaped(struct buf *b, char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = memchr(from, c, sizeof from - 1);

    if (at)
        buf_printf(b, "\\%c", to[at - from]);
    else if ((unsigned char)c < 0x20)
        buf_printf(b, "\\u%04x", (unsigned)c);
    else
        buf_z(b, "\xef\xbf\xbd"); /* U+FFFD */
}

void buf_json_str(struct buf *b, struct str s)
{
    size_t plain = 0; /* bytes before `at` not yet copied */

    buf_u8(b, '"');
    for (size_t at = 0, n; at < s.n; at += n) {
        unsigned char c = (unsigned char)s.p[at];
        bool clean = c >= 0x20 && c != '"' && c != '\\';

        n = c < 0x80 ? 1 : str_utf8_char((struct str){s.p + at, s.n - at});
        if (clean && n > 0)
            continue;
        buf_put(b, s.p + plain, at - plain);
        put_escaped(b, (char)c);
        n = 1;
        plain = at + 1;
    }
    if (plain < s.n)
        buf_put(b, s.p + plain, s.n - plain);
    buf_u8(b, '"');
}

void buf_csv(struct buf *b, struct str s)
{
    bool quote = false;

    for (size_t i = 0; i < s.n && !quote; i++)
        quote = memchr(",\"\r\n", s.p[i], 4) != NULL;
    if (!quote) {
        buf_str(b, s);
        return;
    }
    buf_u8(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_u8(b, '"');
        buf_u8(b, (uint8_t)s.p[i]);
    }
    buf_u8(b, '"');
}
