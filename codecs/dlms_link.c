/*
 * dlms_link.c - from bytes of a channel to whole APDUs: TCP wrapper
 * (IEC 62056-47 clause 7), HDLC frames (IEC 62056-46 clause 6: frame format
 * type 3, header and frame check sequences CRC-16/X.25), M-Bus long frames and
 * general block transfer (Green Book, 9.4.6.13). No escapes: HDLC frames are
 * told by length.
 */
#include "codecs/crc16.h"
#include "codecs/dlms.h"
#include "server/base/err.h"

enum { MBUS_LEAST = 3, MBUS_HEAD = 5, MBUS_AROUND = 6 };
enum { FLAG = 0x7E, BLOCK_TRANSFER = 0xE0, WRAPPER = 8, LAST_BLOCK = 0x80 };

/* Parts that grow to one APDU; behind it the next one begins. */
struct joined {
    char *p;
    size_t from, n;
};

struct link {
    struct decoded *d;
    dlms_apdu_fn *fn;
    void *arg;
    size_t size;            /* of the payload: all parts together are smaller */
    struct joined segments; /* HDLC information fields */
    struct joined blocks;   /* content of general block transfer */
    size_t blocks_offset;
    unsigned block; /* number of the last block; 0: none open */
};

static int join(struct link *l, struct joined *j, struct str s, size_t at)
{
    if (!j->p)
        j->p = arena_alloc(l->d->arena, l->size);
    if (!j->p)
        return decoded_fail(l->d, ERR_FULL, "DLMS: frame too large", at);
    memcpy(j->p + j->from + j->n, s.p, s.n);
    j->n += s.n;
    return 0;
}

static struct str joined(struct joined *j)
{
    struct str whole = {j->p + j->from, j->n};

    j->from += j->n;
    j->n = 0;
    return whole;
}

/* E0 | control | u16 block | u16 acknowledged block | length | content. Block 1
 * begins anew: what was open before never ended. */
static int take_block(struct link *l, struct str apdu, size_t offset)
{
    struct bytes in = bytes_of(apdu.p + 1, apdu.n - 1);
    uint8_t control = bytes_u8(&in);
    unsigned number = bytes_u8(&in) * 256u;
    bool bad = false;

    number += bytes_u8(&in);
    bytes_take(&in, 2);
    uint32_t n = axdr_length(&in, &bad);
    const uint8_t *p = bytes_take(&in, n);
    if (!p || bad)
        return decoded_fail(l->d, bad ? ERR_FORMAT : ERR_SHORT,
                            "DLMS: block of a block transfer", offset);
    if (number == 1) {
        l->blocks.n = 0;
        l->blocks_offset = offset;
    } else if (l->block == 0 || number != l->block + 1) {
        return decoded_fail(l->d, ERR_SHORT,
                            "DLMS: a block of a block transfer is missing",
                            offset);
    }
    int r = join(l, &l->blocks, (struct str){(const char *)p, n}, offset);
    l->block = control & LAST_BLOCK ? 0 : number;
    if (r < 0 || l->block)
        return r;
    struct str whole = joined(&l->blocks);
    return whole.n ? l->fn(l->arg, whole, l->blocks_offset) : 0;
}

static int take_apdu(struct link *l, struct str apdu, size_t offset)
{
    if (apdu.n == 0)
        return 0;
    if ((uint8_t)apdu.p[0] == BLOCK_TRANSFER)
        return take_block(l, apdu, offset);
    return l->fn(l->arg, apdu, offset);
}

/* u16 version 1 | u16 source | u16 destination | u16 length, big-endian. */
static int take_wrappers(struct link *l, struct str s)
{
    int r = 0;

    for (size_t at = 0; at < s.n && r >= 0;) {
        const uint8_t *p = (const uint8_t *)s.p + at;
        size_t left = s.n - at;

        if (left < WRAPPER)
            return decoded_fail(l->d, ERR_SHORT,
                                "IEC 62056-47 7.3: wrapper cut off", s.n);
        size_t n = (size_t)p[6] << 8 | p[7];
        if (p[0] != 0 || p[1] != 1)
            return decoded_fail(l->d, ERR_FORMAT,
                                "IEC 62056-47 7.3: version of the wrapper", at);
        if (n > left - WRAPPER)
            return decoded_fail(l->d, ERR_SHORT,
                                "IEC 62056-47 7.3: APDU cut off", s.n);
        r = take_apdu(l, (struct str){s.p + at + WRAPPER, n}, at + WRAPPER);
        at += WRAPPER + n;
    }
    return r;
}

/* Addresses end with a byte whose lowest bit is set; at most four bytes. */
static bool pass_address(const uint8_t *p, size_t n, size_t *at)
{
    for (int i = 0; i < 4 && *at < n; i++) {
        if (p[(*at)++] & 1)
            return true;
    }
    return false;
}

static bool fcs_fits(const uint8_t *p, size_t n)
{
    uint16_t crc = crc16_x25(p, n);
    return p[n] == (crc & 0xFF) && p[n + 1] == crc >> 8;
}

/* The information field of a frame: behind addresses, control and HCS, and
 * behind the LLC header of a first segment. */
static int take_frame(struct link *l, const uint8_t *p, size_t n, size_t offset)
{
    bool segmented = p[0] & 0x08;
    size_t at = 2;

    if (!fcs_fits(p, n - 2))
        return decoded_fail(l->d, ERR_DAMAGED,
                            "IEC 62056-46 6.4.4: frame check sequence", offset);
    if (!pass_address(p, n, &at) || !pass_address(p, n, &at) || at + 3 > n)
        return decoded_fail(l->d, ERR_FORMAT,
                            "IEC 62056-46 6.4.2: addresses of the frame",
                            offset);
    if (++at + 2 == n)
        return 0; /* no information: SNRM, RR and their like */
    if (at + 4 > n || !fcs_fits(p, at))
        return decoded_fail(l->d, ERR_DAMAGED,
                            "IEC 62056-46 6.4.4: header check sequence",
                            offset);
    at += 2;
    struct str info = {(const char *)p + at, n - 2 - at};
    if (l->segments.n == 0 && info.n >= 3 && (uint8_t)info.p[0] == 0xE6 &&
        ((uint8_t)info.p[1] | 1) == 0xE7 && info.p[2] == 0) {
        info.p += 3;
        info.n -= 3;
        at += 3;
    }
    if (!segmented && l->segments.n == 0)
        return take_apdu(l, info, offset + at);
    int r = join(l, &l->segments, info, offset);
    if (r < 0 || segmented)
        return r;
    return take_apdu(l, joined(&l->segments), offset);
}

/* 68 L L 68 | C A CI STSAP DTSAP, data | sum | 16 (EN 13757-2, EN 13757-3 table
 * of CI: 00 to 1F are transport, bit 4 the last segment, low nibble its
 * number). Sagemcom sends 257 as L = 1: fewer than C, A and CI cannot be. */
static int take_mbus(struct link *l, struct str s)
{
    unsigned expected = 0;
    int r = 0;

    for (size_t at = 0; at < s.n && r >= 0;) {
        const uint8_t *p = (const uint8_t *)s.p + at;
        size_t left = s.n - at, n = left > 1 ? p[1] : 0;
        uint8_t sum = 0;

        n += n < MBUS_LEAST ? 256 : 0;
        if (left < n + MBUS_AROUND)
            return decoded_fail(l->d, ERR_SHORT, "EN 13757-2: frame cut off",
                                s.n);
        for (size_t i = 0; i < n; i++)
            sum = (uint8_t)(sum + p[4 + i]);
        if (p[0] != 0x68 || p[3] != 0x68 || p[1] != p[2] || p[n + 5] != 0x16)
            return decoded_fail(l->d, ERR_FORMAT,
                                "EN 13757-2: start, length or stop", at);
        if (p[n + 4] != sum)
            return decoded_fail(l->d, ERR_DAMAGED, "EN 13757-2: checksum", at);
        if (p[6] > 0x1F || n < MBUS_HEAD)
            return decoded_fail(l->d, ERR_UNSUPPORTED,
                                "EN 13757-3: this CI carries no DLMS", at + 6);
        if ((p[6] & 15) == 0) { /* what was open never ended */
            expected = 0;
            l->segments.n = 0;
        }
        if ((p[6] & 15) != expected++ % 16)
            return decoded_fail(l->d, ERR_SHORT, "DLMS: a segment is missing",
                                at + 6);
        r = join(l, &l->segments,
                 (struct str){(const char *)p + 4 + MBUS_HEAD, n - MBUS_HEAD},
                 at);
        if (r >= 0 && p[6] & 0x10) {
            r = take_apdu(l, joined(&l->segments), at + 4 + MBUS_HEAD);
            expected = 0;
        }
        at += n + MBUS_AROUND;
    }
    return r;
}

/* 7E | A, S, length of 11 bits | ... | FCS | 7E; flags may be shared. */
static int take_frames(struct link *l, struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    int r = 0;

    for (size_t at = 0; r >= 0;) {
        while (at < s.n && p[at] == FLAG)
            at++;
        if (at == s.n)
            return 0;
        size_t left = s.n - at;
        if (left < 2)
            return decoded_fail(l->d, ERR_SHORT, "HDLC: frame cut off", s.n);
        size_t n = (size_t)(p[at] & 7) << 8 | p[at + 1];
        if (p[at] >> 4 != 0xA || n < 7)
            return decoded_fail(l->d, ERR_FORMAT,
                                "IEC 62056-46 6.4.1: frame format", at);
        if (n >= left) /* the closing flag too */
            return decoded_fail(l->d, ERR_SHORT, "HDLC: frame cut off", s.n);
        if (p[at + n] != FLAG)
            return decoded_fail(l->d, ERR_DAMAGED,
                                "IEC 62056-46 6.4.1: length of the frame", at);
        r = take_frame(l, p + at, n, at);
        at += n;
    }
    return r;
}

int dlms_apdus(struct decoded *d, struct str s, dlms_apdu_fn *fn, void *arg)
{
    struct link l = {.d = d, .fn = fn, .arg = arg, .size = s.n};
    uint8_t first = (uint8_t)s.p[0];
    int r;

    if (first == FLAG)
        r = take_frames(&l, s);
    else if (first == 0)
        r = take_wrappers(&l, s);
    else if (first == 0x68)
        r = take_mbus(&l, s);
    else
        r = take_apdu(&l, s, 0);
    if (r >= 0 && (l.block || l.segments.n))
        return decoded_fail(d, ERR_SHORT, "DLMS: the last block is missing",
                            s.n);
    return r;
}
