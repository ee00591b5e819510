/*
 * mbus_crypt.c - see mbus_crypt.h. Decrypts only: a head-end reads.
 */
#include "codecs/mbus_crypt.h"
#include "server/base/err.h"
#include <limits.h>
#include <openssl/evp.h>

static int decrypt(const EVP_CIPHER *cipher, const uint8_t *key,
                   const uint8_t *iv, const uint8_t *in, size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int written = 0, r = ERR_FULL;

    if (!ctx || n > INT_MAX)
        goto out;
    if (EVP_DecryptInit_ex(ctx, cipher, NULL, key, iv) == 1 &&
        EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
        EVP_DecryptUpdate(ctx, out, &written, in, (int)n) == 1 &&
        written == (int)n)
        r = 0;
out:
    EVP_CIPHER_CTX_free(ctx);
    return r;
}

int mbus_aes_cbc(const uint8_t *key, const uint8_t *iv, const uint8_t *in,
                 size_t n, uint8_t *out)
{
    return decrypt(EVP_aes_128_cbc(), key, iv, in, n, out);
}

int mbus_aes_ctr(const uint8_t *key, const uint8_t *iv, const uint8_t *in,
                 size_t n, uint8_t *out)
{
    return decrypt(EVP_aes_128_ctr(), key, iv, in, n, out);
}

int mbus_aes_cmac(const uint8_t *key, const uint8_t *in, size_t n, uint8_t *out)
{
    size_t size = 0;

    return EVP_Q_mac(NULL, "CMAC", NULL, "AES-128-CBC", NULL, key, MBUS_BLOCK,
                     in, n, out, MBUS_BLOCK, &size) &&
                   size == MBUS_BLOCK
               ? 0
               : ERR_FULL;
}
