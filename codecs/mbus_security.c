/*
 * mbus_security.c - authentication (AFL) and encryption of M-Bus telegrams:
 * security modes 0, 4, 5, 7 and 10 of EN 13757-7 (OMS security profiles A, B
 * and D).
 *
 * Mode 4: AES-128-CBC, IV 0.
 * Mode 5: AES-128-CBC, IV = manufacturer, address, 8 times access number.
 * Mode 7: AES-128-CBC with IV 0 under a key derived from the message counter:
 *   AES-CMAC(K, purpose | counter | id | 07 x 7), purpose 00 to encrypt, 01 to
 *   authenticate. The MAC covers MCL | MCR | ML and all behind the AFL, still
 *   encrypted.
 * In these the clear text begins with two idle fillers, 2F 2F.
 * Mode 10: AES-128-CCM under the key of mode 7, its counter behind the
 *   configuration; nonce = manufacturer | address | 00 | counter, high byte
 *   first; authenticated besides: CI field to configuration; the tag ends the
 *   frame. The configuration goes on with two bytes: bits 4, 5 key derivation,
 *   bit 6 a key version follows, bits 8, 9 the size of the tag: 4, 8, 12, 16.
 */
#include "codecs/mbus_crypt.h"
#include "codecs/mbus_telegram.h"
#include "server/base/bytes.h"
#include "server/base/err.h"

enum { FILLER = 0x2F, MODE_CBC_IV_0 = 4, MODE_CBC = 5, MODE_DERIVED = 7 };
enum { MODE_CCM = 10, CCM_WHOLE = 0xFF };
enum { PURPOSE_ENCRYPT = 0x00, PURPOSE_AUTHENTICATE = 0x01 };

/* FCL, fragmentation control */
enum {
    FCL_MORE = 1 << 14,
    FCL_MCL = 1 << 13,
    FCL_ML = 1 << 12,
    FCL_MCR = 1 << 11,
    FCL_MAC = 1 << 10,
    FCL_KI = 1 << 9,
    FCL_RESERVED = 1 << 15 | 1 << 8,
};

static int fail(struct mbus_telegram *t, int err, const char *text, size_t at)
{
    return decoded_fail(t->d, err, text, at);
}

/* Copies the next n bytes, where they are. */
static void take(struct bytes *in, uint8_t *out, size_t n)
{
    const uint8_t *p = bytes_take(in, n);

    if (p)
        memcpy(out, p, n);
}

/* Bytes of MAC per authentication type (MCL, low nibble); all AES-CMAC. */
static const uint8_t mac_sizes[16] = {
    [3] = 2, [4] = 4, [5] = 8, [6] = 12, [7] = 16};

int mbus_afl(struct mbus_telegram *t, size_t *at)
{
    struct bytes in = bytes_of(t->p + *at, t->n - *at);
    struct mbus_afl *a = &t->afl;
    size_t size = bytes_u8(&in);

    if (bytes_left(&in) < size)
        return fail(t, ERR_SHORT, "EN 13757-7 AFL: longer than the frame", *at);
    in = bytes_of(in.p, size);
    uint16_t fcl = bytes_u16(&in);
    if (fcl & FCL_MORE || fcl & 0xFF) {
        struct str text = arena_printf(
            t->d->arena,
            "EN 13757-7 AFL: fragment %u of a longer message cannot be decoded "
            "alone",
            fcl & 0xFFu);
        return fail(t, ERR_UNSUPPORTED, text.p, *at);
    }
    if (fcl & FCL_MCL)
        a->control = bytes_u8(&in);
    if (fcl & FCL_KI)
        bytes_u16(&in);
    a->has_counter = fcl & FCL_MCR;
    if (a->has_counter)
        take(&in, a->counter, sizeof(a->counter));
    a->has_mac = fcl & FCL_MAC;
    a->mac_size = a->has_mac ? mac_sizes[a->control & 0x0F] : 0;
    if (a->has_mac && a->mac_size == 0)
        return fail(t, ERR_UNSUPPORTED,
                    "EN 13757-7 AFL: authentication other than AES-CMAC", *at);
    take(&in, a->mac, a->mac_size);
    a->has_length = fcl & FCL_ML;
    if (a->has_length)
        take(&in, a->length, sizeof(a->length));
    if (in.ran_out || bytes_left(&in) > 0 || fcl & FCL_RESERVED)
        return fail(t, ERR_FORMAT, "EN 13757-7 AFL: AFLL does not fit its FCL",
                    *at);
    *at += 1 + size;
    a->end = *at;
    return 0;
}

static int derive(const struct mbus_telegram *t, const struct mbus_header *h,
                  const uint8_t counter[4], uint8_t purpose,
                  uint8_t key[MBUS_BLOCK])
{
    uint8_t in[MBUS_BLOCK];

    memset(in, 0x07, sizeof(in));
    in[0] = purpose;
    memcpy(in + 1, counter, 4);
    memcpy(in + 5, h->meter.id, 4);
    return mbus_aes_cmac(t->in->key, in, sizeof(in), key);
}

static int64_t counter_of(const uint8_t *p)
{
    return (int64_t)p[3] << 24 | p[2] << 16 | p[1] << 8 | p[0];
}

/* Without a key, or without a MAC, there is nothing to compare. */
static int check_mac(struct mbus_telegram *t, const struct mbus_header *h)
{
    const struct mbus_afl *a = &t->afl;
    uint8_t key[MBUS_BLOCK], mac[MBUS_BLOCK], diff = 0;
    size_t n = 0;
    int r;

    if (!a->has_mac)
        return 0;
    t->d->wants = WANTS_KEY;
    if (!t->in->key)
        return 0;
    if (!a->has_counter)
        return fail(t, ERR_UNSUPPORTED,
                    "EN 13757-7 AFL: MAC without message counter", a->end);
    uint8_t *text = arena_alloc(t->d->arena, 7 + t->n - a->end);
    if (!text)
        return fail(t, ERR_FULL, "frame too long", a->end);
    text[n++] = a->control;
    memcpy(text + n, a->counter, 4);
    n += 4;
    memcpy(text + n, a->length, 2);
    n += a->has_length ? 2 : 0;
    memcpy(text + n, t->p + a->end, t->n - a->end);
    n += t->n - a->end;
    if ((r = derive(t, h, a->counter, PURPOSE_AUTHENTICATE, key)) < 0 ||
        (r = mbus_aes_cmac(key, text, n, mac)) < 0)
        return fail(t, r, "libcrypto failed", a->end);
    for (size_t i = 0; i < a->mac_size; i++)
        diff |= (uint8_t)(mac[i] ^ a->mac[i]);
    if (diff)
        return fail(t, ERR_DAMAGED,
                    "EN 13757-7 AFL: MAC does not fit (wrong key, or changed "
                    "on the way)",
                    a->end);
    t->d->wants = WANTS_NOTHING;
    t->d->security_counter = counter_of(a->counter);
    return 0;
}

static int decrypt(const struct mbus_telegram *t, const struct mbus_header *h,
                   int mode, const uint8_t *in, size_t n, uint8_t *out)
{
    uint8_t iv[MBUS_BLOCK] = {0}, derived[MBUS_BLOCK];
    const uint8_t *key = t->in->key;
    int r = 0;

    if (mode == MODE_CBC) {
        memcpy(iv, h->meter.manufacturer, 2);
        memcpy(iv + 2, h->meter.id, 4);
        iv[6] = h->meter.version;
        iv[7] = h->meter.type;
        memset(iv + 8, h->access, 8);
    } else if (mode == MODE_DERIVED) {
        r = derive(t, h, t->afl.counter, PURPOSE_ENCRYPT, derived);
        key = derived;
    }
    return r < 0 ? r : mbus_aes_cbc(key, iv, in, n, out);
}

static bool is_clear(const uint8_t *p, size_t n)
{
    return n >= 2 && p[0] == FILLER && p[1] == FILLER;
}

static int open_blocks(struct mbus_telegram *t, struct mbus_header *h, int mode)
{
    size_t left = t->n - h->content;
    size_t n = (size_t)(h->config >> 4 & 0x0F) * MBUS_BLOCK;
    uint8_t *p = t->p + h->content, *clear;
    int r = check_mac(t, h);

    if (r < 0 || n == 0)
        return r;
    if (t->in->key && n <= left) {
        if (mode == MODE_DERIVED && !t->afl.has_counter)
            return fail(t, ERR_UNSUPPORTED,
                        "EN 13757-7 mode 7: no message counter in the AFL",
                        h->content);
        if (!(clear = arena_alloc(t->d->arena, n)))
            return fail(t, ERR_FULL, "frame too long", h->content);
        if ((r = decrypt(t, h, mode, p, n, clear)) < 0)
            return fail(t, r, "libcrypto failed", h->content);
        if (is_clear(clear, n)) {
            memcpy(p, clear, n);
            return 0;
        }
    }
    t->unprotected = is_clear(p, left);
    if (t->unprotected)
        return 0;
    if (n > left)
        return fail(t, ERR_SHORT,
                    "EN 13757-7: fewer encrypted blocks than announced", t->n);
    t->d->wants = WANTS_KEY;
    return t->in->key
               ? fail(t, ERR_DAMAGED,
                      "EN 13757-7: the key does not fit (no 2F 2F behind it)",
                      h->content)
               : fail(t, ERR_UNKNOWN,
                      "EN 13757-7: encrypted, and no key is given", h->content);
}

/* The two bytes that go on from the configuration, key version, counter. */
struct ccm_head {
    uint16_t extension;
    const uint8_t *counter;
    size_t counter_at, content;
};

static int read_ccm_head(struct mbus_telegram *t, const struct mbus_header *h,
                         struct ccm_head *c)
{
    struct bytes in = bytes_of(t->p, t->n);

    bytes_take(&in, h->content);
    c->extension = bytes_u16(&in);
    if (c->extension & 1 << 6)
        bytes_u8(&in);
    c->counter_at = bytes_offset(&in);
    c->counter = bytes_take(&in, 4);
    c->content = bytes_offset(&in);
    if (in.ran_out)
        return fail(t, ERR_SHORT, "EN 13757-7 mode 10: no message counter",
                    t->n);
    if ((c->extension >> 4 & 3) != 1 || (h->config & 0xFF) != CCM_WHOLE)
        return fail(t, ERR_UNSUPPORTED,
                    "EN 13757-7 mode 10: partial encryption, or other key "
                    "derivation than 1",
                    h->content);
    return 0;
}

static int decrypt_ccm(struct mbus_telegram *t, const struct mbus_header *h,
                       const struct ccm_head *c, size_t tag, uint8_t *clear)
{
    uint8_t nonce[13] = {0}, key[MBUS_BLOCK];
    struct mbus_ccm ccm = {nonce, t->p + h->ci, t->p + tag,
                           c->counter_at - h->ci, t->n - tag};
    int r = derive(t, h, c->counter, PURPOSE_ENCRYPT, key);

    memcpy(nonce, h->meter.manufacturer, 2);
    memcpy(nonce + 2, h->meter.id, 4);
    nonce[6] = h->meter.version;
    nonce[7] = h->meter.type;
    for (int i = 0; i < 4; i++)
        nonce[9 + i] = c->counter[3 - i];
    return r < 0 ? r
                 : mbus_aes_ccm(key, &ccm, t->p + c->content, tag - c->content,
                                clear);
}

static int open_ccm(struct mbus_telegram *t, struct mbus_header *h)
{
    struct ccm_head c;
    int r = read_ccm_head(t, h, &c);

    if (r < 0)
        return r;
    h->content = c.content;
    size_t left = t->n - h->content;
    size_t tag_size = 4 * (1 + (size_t)(c.extension >> 8 & 3));
    if (t->in->key && left >= tag_size) {
        size_t tag = t->n - tag_size;
        uint8_t *clear = arena_alloc(t->d->arena, left);

        r = clear ? decrypt_ccm(t, h, &c, tag, clear) : ERR_FULL;
        if (r == 0) {
            memcpy(t->p + h->content, clear, left - tag_size);
            t->d->security_counter = counter_of(c.counter);
            t->n = tag;
            return 0;
        }
        if (r != ERR_DAMAGED)
            return fail(t, r, "libcrypto failed", h->content);
    }
    t->unprotected = is_clear(t->p + h->content, left);
    if (t->unprotected)
        return 0;
    if (left < tag_size)
        return fail(t, ERR_SHORT, "EN 13757-7 mode 10: no tag", t->n);
    t->d->wants = WANTS_KEY;
    return t->in->key
               ? fail(t, ERR_DAMAGED,
                      "EN 13757-7 mode 10: the tag does not fit (wrong key, or "
                      "changed on the way)",
                      h->content)
               : fail(t, ERR_UNKNOWN,
                      "EN 13757-7: encrypted, and no key is given", h->content);
}

/* What else EN 13757-7 numbers, to say what is missing. */
static const struct {
    int mode;
    const char *text;
} modes[] = {
    {1, "EN 13757-7: security mode 1 is the manufacturer's own"},
    {2, "EN 13757-7: security mode 2 (DES, IV 0) is not supported"},
    {3, "EN 13757-7: security mode 3 (DES) is not supported"},
    {8, "EN 13757-7: security mode 8 (AES-CTR, CMAC) is not supported"},
    {9, "EN 13757-7: security mode 9 (AES-GCM) is not supported"},
    {13, "EN 13757-7: security mode 13 (TLS) is not supported"},
};

static int refuse_mode(struct mbus_telegram *t, struct mbus_header *h, int mode)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        if (modes[i].mode == mode)
            return fail(t, ERR_UNSUPPORTED, modes[i].text, h->content);
    }
    h->reserved = true;
    struct str text = arena_printf(
        t->d->arena, "EN 13757-7: security mode %d is reserved", mode);
    return fail(t, ERR_UNSUPPORTED, text.p, h->content);
}

/* On the wire the word was once a signature that meant nothing, so there only
 * the modes we know bind. */
int mbus_open(struct mbus_telegram *t, struct mbus_header *h)
{
    int mode = h->config >> 8 & 0x1F;

    if (mode == MODE_DERIVED && (t->wireless || t->afl.has_counter)) {
        if (h->content >= t->n)
            return fail(t, ERR_SHORT, "EN 13757-7 mode 7: CFGE missing", t->n);
        if ((t->p[h->content] >> 4 & 3) != 1)
            return fail(t, ERR_UNSUPPORTED,
                        "EN 13757-7 mode 7: other key derivation than 1",
                        h->content);
        h->content++;
        return open_blocks(t, h, mode);
    }
    if (mode == MODE_CBC || (mode == MODE_CBC_IV_0 && t->wireless))
        return open_blocks(t, h, mode);
    if (mode == 0 || !t->wireless)
        return check_mac(t, h);
    return mode == MODE_CCM ? open_ccm(t, h) : refuse_mode(t, h, mode);
}
