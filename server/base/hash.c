/*
 * hash.c - see hash.h.
 */
#include "server/base/hash.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <sodium.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *at = p;

    crc = ~crc; /* ISA-L leaves the inversion at both ends to its caller */
    while (n) {
        int part = n < INT_MAX ? (int)n : INT_MAX;

        crc = crc32_iscsi((unsigned char *)(uintptr_t)at, part, crc);
        at += part;
        n -= (size_t)part;
    }
    return ~crc;
}

struct hash128 hash128(const void *p, size_t n)
{
    struct hash128 h;

    crypto_generichash(h.b, sizeof h.b, p, n, NULL, 0);
    return h;
}
