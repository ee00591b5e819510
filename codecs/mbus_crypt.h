/*
 * mbus_crypt.h - AES-128 as OMS uses it (EN 13757-7), over libcrypto. Keys and
 * blocks are 16 bytes. ERR_FULL when libcrypto itself fails (out of memory);
 * it allocates, but nothing outlives a call.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { MBUS_BLOCK = 16 };

/* n is a multiple of 16; `out` may be `in`. */
int mbus_aes_cbc(const uint8_t *key, const uint8_t *iv, const uint8_t *in,
                 size_t n, uint8_t *out);
/* Any n; the counter is the whole IV, big-endian. */
int mbus_aes_ctr(const uint8_t *key, const uint8_t *iv, const uint8_t *in,
                 size_t n, uint8_t *out);
/* RFC 4493; out takes 16 bytes. */
int mbus_aes_cmac(const uint8_t *key, const uint8_t *in, size_t n,
                  uint8_t *out);

/* AES-CCM with a nonce of 13 bytes. ERR_DAMAGED when the tag does not fit: then
 * nothing is to be used of `out`, which takes n bytes. */
struct mbus_ccm {
    const uint8_t *nonce, *head, *tag; /* head: authenticated, not encrypted */
    size_t head_size, tag_size;
};
int mbus_aes_ccm(const uint8_t *key, const struct mbus_ccm *c,
                 const uint8_t *in, size_t n, uint8_t *out);
