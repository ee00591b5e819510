/*
 * signature.c - see signature.h.
 */
#include "server/deliver/signature.h"
#include <sodium.h>
#include <stdio.h>

void secret_text(const uint8_t secret[SECRET_BYTES], char ret[SECRET_TEXT])
{
    memcpy(ret, "whsec_", 6);
    sodium_bin2base64(ret + 6, SECRET_TEXT - 6, secret, SECRET_BYTES,
                      sodium_base64_VARIANT_ORIGINAL);
}

void signature(struct str secret, const char *id, int64_t unix_s,
               struct str body, char ret[SIGNATURE_TEXT])
{
    crypto_auth_hmacsha256_state s;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    char head[96];
    int n = snprintf(head, sizeof head, "%.60s.%lld.", id, (long long)unix_s);

    crypto_auth_hmacsha256_init(&s, (const uint8_t *)secret.p, secret.n);
    crypto_auth_hmacsha256_update(&s, (const uint8_t *)head, (size_t)n);
    crypto_auth_hmacsha256_update(&s, (const uint8_t *)body.p, body.n);
    crypto_auth_hmacsha256_final(&s, mac);
    sodium_memzero(&s, sizeof s);
    memcpy(ret, "v1,", 3);
    sodium_bin2base64(ret + 3, SIGNATURE_TEXT - 3, mac, sizeof mac,
                      sodium_base64_VARIANT_ORIGINAL);
}
