/*
 * wmbus.c - codec "wmbus": one frame of the wireless link (EN 13757-4), as a
 * gateway hands it on: frame format A or B, with or without the link's own
 * checksums, perhaps behind the synchronisation word of mode C (54 CD, 54 3D).
 *
 *   0  u8  L       bytes behind it; format A counts no CRC, format B does
 *   1  u8  C       control field
 *   2  2   M       manufacturer
 *   4  6   A       identification number, version, device type
 *  10      CI ...  extended link layer (ELL) or what mbus_telegram.h knows
 *
 * ELL with a session number: CRC (low byte first) of all behind it, both under
 * AES-128-CTR if the session says so; IV = M | A | CC | SN | 00 00 | 00.
 */
#include "codecs/mbus_crypt.h"
#include "codecs/mbus_format.h"
#include "codecs/mbus_telegram.h"
#include "server/base/bytes.h"
#include "server/base/err.h"

enum { HEAD = 10, CRC = 2, BLOCK_A = 16, BLOCK_B = 128, L_MIN = 10 };

static int fail(struct decoded *d, int err, const char *text, size_t at)
{
    return decoded_fail(d, err, text, at);
}

static bool crc_fits(const uint8_t *p, size_t n)
{
    return mbus_crc(p, n) == (p[n] << 8 | p[n + 1]);
}

/* Bytes of format A: blocks of 10, 16, 16 ... each with its CRC. */
static size_t size_a(size_t l)
{
    return l + 1 + CRC * (1 + (l + 1 - HEAD + BLOCK_A - 1) / BLOCK_A);
}

/* Copies all but the CRCs; the copy's size, or 0 when one does not fit: that of
 * the block at *bad. `first` and `rest` are the data bytes of the first and the
 * other blocks. */
static size_t strip(const uint8_t *p, size_t n, size_t first, size_t rest,
                    uint8_t *out, size_t *bad)
{
    size_t size = 0, at = 0, block = first;

    while (n - at > CRC) {
        size_t take = n - at - CRC < block ? n - at - CRC : block;
        *bad = at;
        if (!crc_fits(p + at, take))
            return 0;
        memcpy(out + size, p + at, take);
        size += take;
        at += take + CRC;
        block = rest;
    }
    return at == n ? size : 0;
}

/* Where the bytes of the frame without CRCs stood before. */
struct origin {
    size_t skipped, first, rest; /* first = 0: nothing was taken out */
    size_t surplus; /* where bytes stand that L does not count; 0: none */
};

static size_t origin_of(const struct origin *o, size_t at)
{
    size_t crcs =
        o->first == 0 || at < o->first ? 0 : 1 + (at - o->first) / o->rest;

    return o->skipped + at + CRC * crcs;
}

/* Frame format A whose L alone was damaged: its length then fits by chance that
 * of a frame without CRCs. */
static bool lost_length(const uint8_t *p, size_t n, uint8_t *scratch,
                        uint8_t *out)
{
    size_t bad;

    memcpy(scratch, p, n);
    for (unsigned l = L_MIN; l < n && l <= UINT8_MAX; l++) {
        scratch[0] = (uint8_t)l;
        if (size_a(l) == n && crc_fits(scratch, HEAD) &&
            strip(scratch, n, HEAD, BLOCK_A, out, &bad) == l + 1)
            return true;
    }
    return false;
}

/* Frame format A at p, or B in its `want` bytes: bytes without CRCs in t->p, or
 * 0 when a CRC does not fit: that of the block at *bad. */
static size_t read_a(struct mbus_telegram *t, const uint8_t *p,
                     struct origin *o, size_t *bad)
{
    o->first = HEAD;
    o->rest = BLOCK_A;
    return strip(p, size_a(p[0]), HEAD, BLOCK_A, t->p, bad);
}

static size_t read_b(struct mbus_telegram *t, const uint8_t *p, size_t want,
                     struct origin *o, size_t *bad)
{
    o->first = o->rest = BLOCK_B - CRC;
    size_t n = strip(p, want, BLOCK_B - CRC, BLOCK_B - CRC, t->p, bad);
    return n > HEAD ? n : 0;
}

/* As long as L says, and no CRC fits: the gateway took them out - unless the
 * synchronisation word says that they are there. */
static int read_bare(struct mbus_telegram *t, const uint8_t *p, size_t n,
                     struct origin *o, size_t bad)
{
    uint8_t *scratch = arena_alloc(t->d->arena, n);

    if (!scratch)
        return fail(t->d, ERR_FULL, "frame too long", 0);
    if (o->skipped)
        return fail(t->d, ERR_DAMAGED, "EN 13757-4: CRC of the block",
                    o->skipped + bad);
    if (lost_length(p, n, scratch, t->p))
        return fail(t->d, ERR_DAMAGED, "EN 13757-4 L: does not fit the CRCs",
                    0);
    o->first = o->rest = 0;
    t->n = n;
    memcpy(t->p, p, n);
    return 0;
}

/* The frame from L on without link checksums into t->p. What a gateway hangs on
 * to a frame (a signal level) is only let pass where the CRCs fit. */
static int read_link(const struct codec_input *in, struct mbus_telegram *t,
                     struct origin *o)
{
    const uint8_t *p = (const uint8_t *)in->payload.p;
    size_t n = in->payload.n, bad = 0;

    if (n > 2 && p[0] == 0x54 && (p[1] == 0xCD || p[1] == 0x3D))
        o->skipped = 2;
    p += o->skipped;
    n -= o->skipped;
    if (p[0] < L_MIN)
        return fail(t->d, ERR_FORMAT, "EN 13757-4 L: no room for a CI field",
                    o->skipped);
    size_t want = (size_t)p[0] + 1;
    if (n < want)
        return fail(t->d, ERR_SHORT, "EN 13757-4 L: the frame is shorter",
                    in->payload.n);
    if (!(t->p = arena_alloc(t->d->arena, n)))
        return fail(t->d, ERR_FULL, "frame too long", 0);
    if (n >= size_a(p[0]) && (t->n = read_a(t, p, o, &bad)) == want)
        return 0;
    size_t bad_a = bad;
    if ((t->n = read_b(t, p, want, o, &bad)) > 0)
        return 0;
    if (n == want)
        return read_bare(t, p, n, o, bad);
    if (n == size_a(p[0]))
        return fail(t->d, ERR_DAMAGED, "EN 13757-4: CRC of the block",
                    o->skipped + bad_a);
    o->surplus = o->skipped + want;
    return read_bare(t, p, want, o, bad);
}

/* Extended link layers (CI 8C to 8F): bytes behind the CI field, and where the
 * session number stands among them; 0: none. */
static const struct ell {
    uint8_t ci, size, session;
} ells[] = {
    {0x8C, 2, 0},
    {0x8D, 8, 2},
    {0x8E, 10, 0},
    {0x8F, 16, 10},
};

static int open_session(struct mbus_telegram *t, size_t cc, size_t session)
{
    uint8_t iv[MBUS_BLOCK] = {0};
    size_t at = session + 4, n = t->n - at;
    uint8_t *p = t->p + at, *clear;
    int mode = t->p[session + 3] >> 5;
    bool plain = n > CRC && mbus_crc(p + CRC, n - CRC) == (p[0] | p[1] << 8);

    if (mode > 1)
        return fail(t->d, ERR_UNSUPPORTED,
                    "EN 13757-4 ELL: encryption other than AES-CTR", session);
    if (mode == 0)
        return plain
                   ? 0
                   : fail(t->d, ERR_DAMAGED, "EN 13757-4 ELL: payload CRC", at);
    if (t->in->key && n > CRC) {
        memcpy(iv, t->p + 2, 8);
        iv[8] = t->p[cc];
        memcpy(iv + 9, t->p + session, 4);
        if (!(clear = arena_alloc(t->d->arena, n)))
            return fail(t->d, ERR_FULL, "frame too long", at);
        if (mbus_aes_ctr(t->in->key, iv, p, n, clear) < 0)
            return fail(t->d, ERR_FULL, "libcrypto failed", at);
        if (mbus_crc(clear + CRC, n - CRC) == (clear[0] | clear[1] << 8)) {
            memcpy(p, clear, n);
            return 0;
        }
    }
    t->unprotected = plain;
    if (plain)
        return 0;
    t->d->wants = WANTS_KEY;
    return t->in->key
               ? fail(t->d, ERR_DAMAGED,
                      "EN 13757-4 ELL: the key does not fit (payload CRC)", at)
               : fail(t->d, ERR_UNKNOWN,
                      "EN 13757-4 ELL: encrypted, and no key is given", at);
}

/* *at: the CI field, before and behind. */
static int read_ell(struct mbus_telegram *t, size_t *at)
{
    const struct ell *e = ells, *end = ells + sizeof(ells) / sizeof(*ells);
    size_t from = *at + 1;

    if (t->p[*at] == 0x86)
        return fail(t->d, ERR_UNSUPPORTED,
                    "EN 13757-4 ELL of variable length (CI 86) is not "
                    "supported",
                    *at);
    while (e < end && e->ci != t->p[*at])
        e++;
    if (e == end)
        return 0;
    if (t->n - from <= e->size)
        return fail(t->d, ERR_SHORT, "EN 13757-4 ELL: cut off", t->n);
    *at = from + e->size;
    return e->session ? open_session(t, from, from + e->session) : 0;
}

static int decode_frame(struct mbus_telegram *t)
{
    size_t at = HEAD;
    int r;

    memcpy(t->sender.manufacturer, t->p + 2, 2);
    memcpy(t->sender.id, t->p + 4, 4);
    t->sender.version = t->p[8];
    t->sender.type = t->p[9];
    if ((r = mbus_identify(t->d, &t->sender)) < 0 || (r = read_ell(t, &at)) < 0)
        return r;
    return mbus_telegram(t, at);
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct mbus_telegram t = {.in = in, .d = d, .wireless = true};
    struct origin o = {0};
    int r = read_link(in, &t, &o);

    if (r < 0)
        return r;
    r = decode_frame(&t);
    for (uint32_t i = 0; i < d->n_measurements; i++)
        d->measurements[i].offset =
            (uint32_t)origin_of(&o, d->measurements[i].offset);
    d->error_offset = r < 0 ? (uint32_t)origin_of(&o, d->error_offset) : 0;
    if (d->error_offset > in->payload.n)
        d->error_offset = (uint32_t)in->payload.n;
    if (r == 0 && o.surplus) { /* its values are shown, and not trusted */
        d->format = (struct str){0};
        r = fail(d, ERR_FORMAT, "EN 13757-4 L: the frame is longer", o.surplus);
    }
    return r;
}

#define KEY       "000102030405060708090a0b0c0d0e0f"
#define WRONG_KEY "ff0102030405060708090a0b0c0d0e0f"

static const struct codec_vector vectors[] = {
    {.name = "short header, no CRC",
     .hex = "18442D2C785634121B167A2A0000000413181E0000025B1500",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "format A with CRCs",
     .hex = "18442D2C785634121B16317E7A2A0000000413181E0000025B15000E71",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "format A, a bit changed",
     .hex = "18442D2C785634121B16317E7A2A0400000413181E0000025B15000E71",
     .err = ERR_DAMAGED},
    {.name = "format B with CRC behind a mode C synchronisation word",
     .hex = "543D1A442D2C785634121B167A2A0000000413181E0000025B1500618E",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "long header: the meter behind a radio module",
     .hex =
         "20442D2C785634121B167221436587A51140042A0400000413181E0000025B1500",
     .expect = "heat; serial 87654321; manufacturer DME; volume 7.704 m3; "
               "flow-temperature 21 Cel; event battery.low start status 0x04"},
    {.name = "mode 5",
     .hex = "1E442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "mode 5 with a clear tail",
     .hex = "23442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E02FD"
            "170000",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel; error-flags 0"},
    {.name = "mode 5, wrong key",
     .hex = "1E442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E",
     .key = WRONG_KEY,
     .err = ERR_DAMAGED},
    {.name = "mode 5 without key",
     .hex = "1E442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E",
     .err = ERR_UNKNOWN},
    {.name = "mode 5 announced, content clear",
     .hex = "1E442D2C785634121B167A2A0010052F2F0413181E0000025B15002F2F2F2F",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3 "
               "(unprotected); flow-temperature 21 Cel (unprotected)"},
    {.name = "mode 7, MAC of 8 bytes",
     .hex = "33442D2C785634121B168C202A900F002C2501000000ADF138FFFDE639FB7A2A00"
            "10071004609B3A99E367F499D6FD3C03019B65",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "mode 7, MAC of 16 bytes and message length",
     .hex = "3D442D2C785634121B168C202A9019003C2702000000F030A6F32CF58D6CA74629"
            "1350E7E92D16007A2A001007108D050465C05E3901599957C5C0C6B809",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "mode 7, a bit changed",
     .hex = "33442D2C785634121B168C202A900F002C2501000000ADF138FFFDE639FB7A2A00"
            "10071004609B3A99E367F499D6FD3C03019B64",
     .key = KEY,
     .err = ERR_DAMAGED},
    {.name = "mode 7, wrong key",
     .hex = "33442D2C785634121B168C202A900F002C2501000000ADF138FFFDE639FB7A2A00"
            "10071004609B3A99E367F499D6FD3C03019B65",
     .key = WRONG_KEY,
     .err = ERR_DAMAGED},
    {.name = "mode 4: IV 0",
     .hex = "1E442D2C785634121B167A2A0010043E3F04B27F678DFFB875D4C6D0694CD7",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "mode 10, tag of 8 bytes",
     .hex = "26442D2C785634121B167A2A00FF2A1001010000002AC102AA29BFA9918455C08A"
            "21CDBB5ACBE6",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "mode 10, a bit of the header changed",
     .hex = "26442D2C785634121B167A2A04FF2A1001010000002AC102AA29BFA9918455C08A"
            "21CDBB5ACBE6",
     .key = KEY,
     .err = ERR_DAMAGED},
    {.name = "mode 10, wrong key",
     .hex = "26442D2C785634121B167A2A00FF2A1001010000002AC102AA29BFA9918455C08A"
            "21CDBB5ACBE6",
     .key = WRONG_KEY,
     .err = ERR_DAMAGED},
    {.name = "mode 10 without key",
     .hex = "26442D2C785634121B167A2A00FF2A1001010000002AC102AA29BFA9918455C08A"
            "21CDBB5ACBE6",
     .err = ERR_UNKNOWN},
    {.name = "mode 10, partial encryption",
     .hex = "26442D2C785634121B167A2A00102A1001010000002AC102AA29BFA9918455C08A"
            "21CDBB5ACBE6",
     .key = KEY,
     .err = ERR_UNSUPPORTED},
    {.name = "reserved mode",
     .hex = "18442D2C785634121B167A2A00101D0413181E0000025B1500",
     .err = ERR_UNSUPPORTED},
    {.name = "mode 8",
     .hex = "1E442D2C785634121B167A2A0010082F2F0413181E0000025B15002F2F2F2F",
     .key = KEY,
     .err = ERR_UNSUPPORTED},
    {.name = "one fragment of several",
     .hex = "13442D2C785634121B1690030140007A2A000000",
     .err = ERR_UNSUPPORTED},
    {.name = "ELL, AES-CTR",
     .hex = "1D442D2C785634121B168D202A78563420E78EDD11BD639E1B16E9B8372E",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "ELL, AES-CTR, wrong key",
     .hex = "1D442D2C785634121B168D202A78563420E78EDD11BD639E1B16E9B8372E",
     .key = WRONG_KEY,
     .err = ERR_DAMAGED},
    {.name = "ELL, AES-CTR announced, content clear",
     .hex = "1D442D2C785634121B168D202A78563420D3D7780413181E0000025B1500",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3 "
               "(unprotected); flow-temperature 21 Cel (unprotected)"},
    {.name = "ELL without encryption",
     .hex = "1D442D2C785634121B168D202A78563400D3D7780413181E0000025B1500",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "ELL, payload CRC",
     .hex = "1D442D2C785634121B168D202A78563400D3D7780413181E0000025B1501",
     .err = ERR_DAMAGED},
    {.name = "ELL of variable length",
     .hex = "12442D2C785634121B1686202A007A2A000000",
     .err = ERR_UNSUPPORTED},
    {.name = "compact frame of a list we hold",
     .hex = "18442D2C785634121B167934DD159A00006400000032000000",
     .expect = "water; serial 12345678; manufacturer KAM; manufacturer 0 ff20; "
               "volume 0.100 m3; volume [storage 1] 0.050 m3"},
    {.name = "compact frame, a value changed",
     .hex = "18442D2C785634121B167934DD159A00006400000032000001",
     .err = ERR_DAMAGED},
    {.name = "compact frame of a list nobody taught",
     .hex = "19442D2C785634121B167B2B00000098BCB8E701000000020000",
     .err = ERR_UNKNOWN},
    {.name = "format frame",
     .hex = "14442D2C785634121B16690998BC0413025B01FD17",
     .expect = "water; serial 12345678; manufacturer KAM"},
    {.name = "manufacturer CI field",
     .hex = "0E442D2C785634121B16A0DEADBEEF",
     .err = ERR_UNSUPPORTED},
    {.name = "command to a meter",
     .hex = "0E442D2C785634121B165A2A000000",
     .err = ERR_UNSUPPORTED},
    {.name = "longer than L",
     .hex = "18442D2C785634121B167A2A0000000413181E0000025B150000",
     .err = ERR_FORMAT},
    {.name = "shorter than L",
     .hex = "18442D2C785634121B167A2A0000000413181E0000025B15",
     .err = ERR_SHORT},
    {.name = "record cut off",
     .hex = "0D442D2C785634121B1678041318",
     .err = ERR_SHORT},
    {0},
};

const struct codec codec_wmbus = {
    .abi = CODEC_ABI,
    .name = "wmbus",
    .version = 2,
    .title = "Wireless M-Bus and OMS, frame formats A and B",
    .source = "EN 13757-4, EN 13757-3, EN 13757-7; OMS volume 2",
    .medium = MEDIUM_OTHER,
    .decode = decode,
    .vectors = vectors,
};
