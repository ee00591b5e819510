/*
 * totp.c - see totp.h.
 */
#include "server/api/totp.h"
#include "server/base/clock.h"
#include "server/base/hex.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* RFC 4226 5.3: the counter big-endian; four bytes from where the last nibble
 * points to. */
void totp_code(const uint8_t seed[TOTP_SEED], int64_t step, char ret[TOTP_CODE])
{
    uint8_t counter[8], mac[EVP_MAX_MD_SIZE] = {0};
    unsigned n = 0;

    for (int i = 0; i < 8; i++)
        counter[i] = (uint8_t)(step >> (56 - 8 * i));
    HMAC(EVP_sha1(), seed, TOTP_SEED, counter, sizeof counter, mac, &n);
    const uint8_t *p = mac + (mac[19] & 15);
    uint32_t value =
        (p[0] & 127u) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    snprintf(ret, TOTP_CODE, "%06u", value % 1000000);
}

int64_t totp_step(const uint8_t seed[TOTP_SEED], struct str code,
                  int64_t now_us)
{
    int64_t now = now_us / (TOTP_STEP_S * US_PER_S), found = 0;
    char want[TOTP_CODE];

    if (code.n != TOTP_CODE - 1)
        return 0;
    for (int64_t step = now - 1; step <= now + 1; step++) {
        totp_code(seed, step, want);
        if (sodium_memcmp(want, code.p, code.n) == 0)
            found = step;
    }
    sodium_memzero(want, sizeof want);
    return found;
}

/* Five bits a letter, RFC 4648 6; `n` a multiple of five, so no padding. */
static void base32(const uint8_t *p, size_t n, char *ret)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    for (size_t bit = 0; bit < 8 * n; bit += 5) {
        uint32_t two =
            (uint32_t)p[bit / 8] << 8 | (bit / 8 + 1 < n ? p[bit / 8 + 1] : 0u);
        *ret++ = letters[two >> (11 - bit % 8) & 31];
    }
    *ret = 0;
}

void totp_seed_text(const uint8_t seed[TOTP_SEED], char ret[TOTP_TEXT])
{
    base32(seed, TOTP_SEED, ret);
}

void recovery_make(char ret[RECOVERY_TEXT])
{
    uint8_t random[10];
    char text[17];

    randombytes_buf(random, sizeof random);
    base32(random, sizeof random, text);
    snprintf(ret, RECOVERY_TEXT, "%.4s-%.4s-%.4s-%.4s", text, text + 4,
             text + 8, text + 12);
}

void recovery_hash(struct str code, char ret[65])
{
    uint8_t hash[32];
    crypto_generichash_state s;

    crypto_generichash_init(&s, NULL, 0, sizeof hash);
    for (size_t i = 0; i < code.n; i++) {
        uint8_t letter = (uint8_t)toupper((unsigned char)code.p[i]);
        if (letter != '-' && letter != ' ')
            crypto_generichash_update(&s, &letter, 1);
    }
    crypto_generichash_final(&s, hash, sizeof hash);
    hex_encode(hash, sizeof hash, ret);
}
