/*
 * bytes.h - a read cursor over hostile bytes. Reads past the end give zero
 * and set ran_out, which is checked once after a group of reads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *p, *end;
    const uint8_t *start; /* for offsets in error texts */
    bool ran_out;
};

static inline struct bytes bytes_of(const void *p, size_t n)
{
    const uint8_t *b = p;
    return (struct bytes){b, n ? b + n : b, b, false};
}

static inline size_t bytes_left(const struct bytes *b)
{
    return (size_t)(b->end - b->p);
}

static inline size_t bytes_offset(const struct bytes *b)
{
    return (size_t)(b->p - b->start);
}

/* Pointer to the next n bytes, or NULL (and ran_out) when they are missing. */
static inline const uint8_t *bytes_take(struct bytes *b, size_t n)
{
    if (b->ran_out || bytes_left(b) < n) {
        b->ran_out = true;
        return NULL;
    }
    b->p += n;
    return b->p - n;
}

/* Little-endian unsigned of n = 1..8 bytes. */
static inline uint64_t bytes_le(struct bytes *b, size_t n)
{
    const uint8_t *p = bytes_take(b, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline uint8_t bytes_u8(struct bytes *b)
{
    return (uint8_t)bytes_le(b, 1);
}
static inline uint16_t bytes_u16(struct bytes *b)
{
    return (uint16_t)bytes_le(b, 2);
}
static inline uint32_t bytes_u32(struct bytes *b)
{
    return (uint32_t)bytes_le(b, 4);
}
static inline uint64_t bytes_u64(struct bytes *b)
{
    return bytes_le(b, 8);
}
