/*
 * dlms_glo.c - general-glo-ciphering and general-ded-ciphering APDUs
 * (IEC 62056-5-3, Green Book 9.2.4.8):
 *   DB, DC | length, system title (8) | length | SC | u32 invocation counter
 *   | content | tag (12) where SC says authenticated
 * SC: low nibble the suite, bit 4 authenticated, bit 5 encrypted, bit 7
 * compressed. Suites 0 and 1 are AES-128 GCM: the nonce is the title and the
 * counter, the associated data are SC and the authentication key (and the
 * content where it is not encrypted). Suite 2 would need keys of 32 bytes.
 */
#include "codecs/dlms.h"
#include "server/base/err.h"
#include <openssl/evp.h>

enum { COUNTER = 4, TAG = 12, KEY = 16 };
enum {
    SC_SUITE = 0x0F,
    SC_AUTHENTICATED = 0x10,
    SC_ENCRYPTED = 0x20,
    SC_COMPRESSED = 0x80
};

struct glo {
    const uint8_t *title, *counter, *content, *tag;
    uint8_t sc;
    size_t n;
};

/* AES-128-GCM over `g`; out holds g->n bytes. ERR_DAMAGED: the tag differs. */
static int open_content(const struct glo *g, const uint8_t *key,
                        const uint8_t *auth_key, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool encrypted = g->sc & SC_ENCRYPTED;
    uint8_t nonce[DLMS_TITLE + COUNTER], tag[TAG];
    int n, r = ERR_FULL;

    memcpy(nonce, g->title, DLMS_TITLE);
    memcpy(nonce + DLMS_TITLE, g->counter, COUNTER);
    if (!ctx ||
        EVP_DecryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, nonce) != 1)
        goto out;
    if (auth_key && (EVP_DecryptUpdate(ctx, NULL, &n, &g->sc, 1) != 1 ||
                     EVP_DecryptUpdate(ctx, NULL, &n, auth_key, KEY) != 1))
        goto out;
    if (!encrypted)
        memcpy(out, g->content, g->n);
    if (EVP_DecryptUpdate(ctx, encrypted ? out : NULL, &n, g->content,
                          (int)g->n) != 1)
        goto out;
    r = 0;
    if (auth_key && g->tag) {
        memcpy(tag, g->tag, TAG);
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag);
        r = EVP_DecryptFinal_ex(ctx, out + g->n, &n) == 1 ? 0 : ERR_DAMAGED;
    }
out:
    EVP_CIPHER_CTX_free(ctx);
    return r;
}

static int take(struct decoded *d, struct str apdu, size_t offset,
                struct glo *g)
{
    struct bytes in = bytes_of(apdu.p + 1, apdu.n - 1);
    bool bad = false;
    uint8_t title = bytes_u8(&in);

    g->title = bytes_take(&in, title);
    uint32_t n = axdr_length(&in, &bad);
    g->sc = bytes_u8(&in);
    g->counter = bytes_take(&in, COUNTER);
    size_t tag = g->sc & SC_AUTHENTICATED ? TAG : 0;
    g->n = bytes_left(&in) - (bytes_left(&in) < tag ? 0 : tag);
    g->content = bytes_take(&in, g->n);
    g->tag = tag ? bytes_take(&in, tag) : NULL;
    if (in.ran_out || n != 1 + COUNTER + g->n + tag)
        return decoded_fail(d, in.ran_out ? ERR_SHORT : ERR_FORMAT,
                            "DLMS: general ciphering cut off", offset);
    if (bad || title != DLMS_TITLE)
        return decoded_fail(d, ERR_FORMAT, "DLMS: system title", offset);
    if (g->sc & SC_COMPRESSED)
        return decoded_fail(d, ERR_UNSUPPORTED,
                            "DLMS: compressed content (ITU-T V.44)", offset);
    if ((g->sc & SC_SUITE) > 1)
        return decoded_fail(d, ERR_UNSUPPORTED,
                            "DLMS: a security suite but 0 and 1 (AES-128)",
                            offset);
    return 0;
}

int dlms_open(struct decoded *d, const struct codec_input *in, struct str apdu,
              size_t offset, struct dlms_opened *ret)
{
    struct glo g = {0};
    int r = take(d, apdu, offset, &g);

    if (r < 0)
        return r;
    bool encrypted = g.sc & SC_ENCRYPTED;
    d->wants = WANTS_KEY;
    if (!in->key && encrypted)
        return decoded_fail(d, ERR_UNKNOWN,
                            "DLMS: ciphered, and the meter has no key", offset);
    const uint8_t *auth_key = in->key && g.tag ? in->auth_key : NULL;
    uint8_t *out = arena_alloc(d->arena, g.n + KEY);
    if (!out)
        return decoded_fail(d, ERR_FULL, "DLMS: frame too large", offset);
    if (in->key)
        r = open_content(&g, in->key, auth_key, out);
    else
        memcpy(out, g.content, g.n);
    if (r < 0)
        return decoded_fail(d, r, "DLMS: authentication tag", offset);
    *ret = (struct dlms_opened){
        .content = {(char *)out, g.n},
        .title = g.title,
        .counter = (int64_t)g.counter[0] << 24 | g.counter[1] << 16 |
                   g.counter[2] << 8 | g.counter[3],
        .guessed = encrypted && !auth_key,
        .unchecked = g.tag && !auth_key,
    };
    if (auth_key || !g.tag)
        d->wants = WANTS_NOTHING;
    return 0;
}
