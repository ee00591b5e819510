/*
 * seal.h - authenticated encryption of small secrets: XChaCha20-Poly1305 with
 * a random nonce (libsodium). What a secret belongs to is associated data, so
 * that one put in another's place does not open.
 */
#pragma once

#include "server/base/buf.h"

enum { VAULT_KEY = 32, SEAL_EXTRA = 1 + 24 + 16 };

/* Appends clear.n + SEAL_EXTRA bytes. Any thread, after sodium_init. */
void seal_close(const uint8_t key[VAULT_KEY], struct str bound,
                struct str clear, struct buf *out);
/* The clear bytes' count. ERR_DAMAGED: another key, another place, or changed;
 * ERR_UNSUPPORTED: of a later form; ERR_FULL: more than cap. */
int seal_open(const uint8_t key[VAULT_KEY], struct str bound, struct str sealed,
              uint8_t *out, size_t cap);
