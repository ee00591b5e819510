/*
 * hash.h - checksums and content hashes, over ISA-L (CRC32C in hardware) and
 * libsodium (BLAKE2b).
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

/* CRC32C (Castagnoli, RFC 3720 B.4); crc of "123456789" is e3069283. Pass the
 * previous result to go on, 0 to begin. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* 128 bits of BLAKE2b: the identity of a content. */
struct hash128 {
    uint8_t b[16];
};
struct hash128 hash128(const void *p, size_t n);
