/*
 * seal.c - u8 form (1) | nonce (24) | ciphertext | tag (16).
 */
#include "server/vault/seal.h"
#include "server/base/err.h"
#include <sodium.h>

enum { FORM = 1, NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES };
enum { TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES };

_Static_assert((int)VAULT_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES &&
                   SEAL_EXTRA == 1 + NONCE + TAG,
               "libsodium's sizes");

void seal_close(const uint8_t key[VAULT_KEY], struct str bound,
                struct str clear, struct buf *out)
{
    uint8_t nonce[NONCE];

    randombytes_buf(nonce, sizeof nonce);
    buf_u8(out, FORM);
    buf_put(out, nonce, sizeof nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        buf_room(out, clear.n + TAG), NULL, (const uint8_t *)clear.p, clear.n,
        (const uint8_t *)bound.p, bound.n, NULL, nonce, key);
    out->n += clear.n + TAG;
}

int seal_open(const uint8_t key[VAULT_KEY], struct str bound, struct str sealed,
              uint8_t *out, size_t cap)
{
    const uint8_t *p = (const uint8_t *)sealed.p;

    if (sealed.n < SEAL_EXTRA)
        return ERR_DAMAGED;
    if (p[0] != FORM)
        return ERR_UNSUPPORTED;
    if (sealed.n - SEAL_EXTRA > cap)
        return ERR_FULL;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            out, NULL, NULL, p + 1 + NONCE, sealed.n - 1 - NONCE,
            (const uint8_t *)bound.p, bound.n, p + 1, key) != 0)
        return ERR_DAMAGED;
    return (int)(sealed.n - SEAL_EXTRA);
}
