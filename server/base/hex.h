/*
 * hex.h - hexadecimal and base64 (RFC 4648), over libsodium. Blanks, ':' and
 * '-' between hex digits are skipped, so labels and manuals paste as they are.
 */
#pragma once

#include "server/base/arena.h"
#include <stdint.h>

/* Bytes written to out, ERR_FORMAT (odd or foreign characters), ERR_FULL. */
int hex_decode(struct str in, uint8_t *out, size_t cap);
/* Lower case; out takes 2*n + 1. */
char *hex_encode(const void *p, size_t n, char *out);
/* Exactly eight bytes of hex, as a DevEUI is printed: big-endian. */
int hex_eui(struct str in, uint64_t *eui);

/* Standard alphabet, padding optional; the result lives in the arena. */
int base64_decode(struct arena *a, struct str in, struct str *out);
struct str base64_encode(struct arena *a, struct str in);
