/*
 * buf.h - a growing byte buffer, the opposite of bytes.h. Little-endian for
 * our own formats, big-endian (network order) for PostgreSQL's binary COPY.
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

struct buf {
    uint8_t *p;
    size_t n, cap;
};

void buf_done(struct buf *b); /* frees; the buffer is empty and usable again */
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}
/* Room for n more bytes; returns where they start. The caller adds to b->n. */
uint8_t *buf_room(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* little-endian */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);
void buf_be64(struct buf *b, uint64_t v);
void buf_str(struct buf *b, struct str s);
void buf_z(struct buf *b, const char *z);
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static inline struct str buf_view(const struct buf *b)
{
    return (struct str){(const char *)b->p, b->n};
}

/* JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void buf_json_str(struct buf *b, struct str s);
/* CSV field after RFC 4180, quoted only where needed. */
void buf_csv(struct buf *b, struct str s);
