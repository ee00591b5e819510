/*
 * mbus_crypt.c - see mbus_crypt.h. Decrypts only: a head-end reads.
 */
#include "codecs/mbus_crypt.h"
#include "server/base/err.h"
#include <limits.h>
#include <openssl/evp.h>

enum { CCM_NONCE = 13 };

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

int mbus_aes_ccm(const uint8_t *key, const struct mbus_ccm *c,
                 const uint8_t *in, size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int written = 0, r = ERR_FULL;

    if (!ctx || n > INT_MAX || c->head_size > INT_MAX)
        goto out;
    if (EVP_DecryptInit_ex(ctx, EVP_aes_128_ccm(), NULL, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, CCM_NONCE, NULL) !=
            1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)c->tag_size,
                            (void *)(uintptr_t)c->tag) != 1 ||
        EVP_DecryptInit_ex(ctx, NULL, NULL, key, c->nonce) != 1 ||
        EVP_DecryptUpdate(ctx, NULL, &written, NULL, (int)n) != 1 ||
        EVP_DecryptUpdate(ctx, NULL, &written, c->head, (int)c->head_size) != 1)
        goto out;
    r = EVP_DecryptUpdate(ctx, out, &written, in, (int)n) == 1 ? 0
                                                               : ERR_DAMAGED;
out:
    EVP_CIPHER_CTX_free(ctx);
    return r;
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
