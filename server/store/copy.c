/*
 * copy.c - fields of a binary COPY stream.
 */
#include "server/store/copy.h"
#include "server/base/clock.h"

static const int64_t postgres_epoch_us = 946684800 * US_PER_S; /* 2000-01-01 */
enum { OID_INT8 = 20, OID_INT4 = 23 };

void copy_header(struct buf *b)
{
    static const char signature[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
    buf_put(b, signature, sizeof signature);
}

void copy_trailer(struct buf *b)
{
    buf_be16(b, 0xffff);
}

void copy_row(struct buf *b, uint16_t fields)
{
    buf_be16(b, fields);
}

void copy_null(struct buf *b)
{
    buf_be32(b, 0xffffffff);
}

void copy_int2(struct buf *b, int16_t v)
{
    buf_be32(b, 2);
    buf_be16(b, (uint16_t)v);
}

void copy_int4(struct buf *b, int32_t v)
{
    buf_be32(b, 4);
    buf_be32(b, (uint32_t)v);
}

void copy_int8(struct buf *b, int64_t v)
{
    buf_be32(b, 8);
    buf_be64(b, (uint64_t)v);
}

void copy_time(struct buf *b, int64_t utc_us)
{
    if (utc_us == TIME_NONE)
        copy_null(b);
    else
        copy_int8(b, utc_us - postgres_epoch_us);
}

void copy_bytes(struct buf *b, struct str s)
{
    buf_be32(b, (uint32_t)s.n);
    buf_put(b, s.p, s.n);
}

void copy_text(struct buf *b, struct str s)
{
    if (!s.p) {
        copy_null(b);
        return;
    }
    copy_bytes(b, s);
    if (str_utf8(s))
        return;
    uint8_t *p = b->p + b->n - s.n;
    for (size_t i = 0; i < s.n; i++)
        if (p[i] == 0 || p[i] >= 0x80)
            p[i] = '?';
}

void copy_uuid(struct buf *b, struct hash128 h)
{
    buf_be32(b, 16);
    buf_put(b, h.b, 16);
}

void copy_jsonb(struct buf *b, struct str json)
{
    if (json.n == 0) {
        copy_null(b);
        return;
    }
    buf_be32(b, (uint32_t)json.n + 1);
    buf_u8(b, 1); /* version of jsonb's send form */
    buf_str(b, json);
}

static void array_head(struct buf *b, uint32_t n, uint32_t element, bool nulls,
                       uint32_t bytes)
{
    buf_be32(b, 20 + bytes);
    buf_be32(b, 1); /* dimensions */
    buf_be32(b, nulls);
    buf_be32(b, element);
    buf_be32(b, n);
    buf_be32(b, 1); /* lower bound */
}

void copy_int8_array(struct buf *b, const int64_t *v, uint32_t n)
{
    uint32_t nulls = 0;
    for (uint32_t i = 0; i < n; i++)
        nulls += v[i] == INT64_MIN;
    array_head(b, n, OID_INT8, nulls > 0, 12 * n - 8 * nulls);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i] == INT64_MIN)
            copy_null(b);
        else
            copy_int8(b, v[i]);
    }
}

void copy_int4_array(struct buf *b, const uint32_t *v, uint32_t n)
{
    array_head(b, n, OID_INT4, false, 8 * n);
    for (uint32_t i = 0; i < n; i++)
        copy_int4(b, (int32_t)v[i]);
}
