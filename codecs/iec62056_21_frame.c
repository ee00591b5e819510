/*
 * iec62056_21_frame.c - the frame around the data lines: blocks with a block
 * check character (IEC 62056-21 clause 6.2), plain read-outs that end with
 * "!", and DSMR P1 telegrams with their CRC behind it (DSMR P1 5.0, 6.2).
 */
#include "codecs/crc16.h"
#include "codecs/iec62056_21.h"
#include "server/base/err.h"

enum { STX = 2, ETX = 3, EOT = 4, BLOCKS_MAX = 64, IDENT_MAX = 64 };

static bool is_blank(char c)
{
    return c == '\r' || c == '\n' || c == ' ' || c == '\t' || c == 0;
}

/* Serial lines are 7E1: where every byte has even parity and some need its
 * bit, that bit is dropped. The text then lives in the arena. */
static int without_parity(struct decoded *d, struct str *s)
{
    bool needed = false;

    for (size_t i = 0; i < s->n; i++) {
        if (__builtin_parity((uint8_t)s->p[i]))
            return 0;
        needed |= (s->p[i] & 0x80) != 0;
    }
    if (!needed)
        return 0;
    struct str copy = arena_str(d->arena, *s);
    if (!copy.p)
        return decoded_fail(d, ERR_FULL, "IEC 62056-21: telegram too large", 0);
    for (size_t i = 0; i < copy.n; i++)
        ((char *)copy.p)[i] &= 0x7F;
    *s = copy;
    return 0;
}

/* STX data ETX|EOT BCC; the check is the exclusive or from behind STX to ETX.
 * *at is behind STX, and in the end behind BCC. 1: a further block follows. */
static int take_block(struct decoded *d, struct str s, size_t *at,
                      struct str *data)
{
    uint8_t bcc = 0;
    size_t from = *at, i = from;

    for (; i < s.n && s.p[i] != ETX && s.p[i] != EOT; i++)
        bcc ^= (uint8_t)s.p[i];
    if (s.n - i < 2)
        return decoded_fail(
            d, ERR_SHORT, "IEC 62056-21 6.2: no ETX and check character", s.n);
    bcc ^= (uint8_t)s.p[i];
    if (bcc != (uint8_t)s.p[i + 1])
        return decoded_fail(d, ERR_DAMAGED,
                            "IEC 62056-21 6.2: block check character", i + 1);
    *data = (struct str){s.p + from, i - from};
    *at = i + 2;
    return s.p[i] == EOT;
}

static int take_blocks(struct decoded *d, struct str s, size_t at,
                       struct iec_blocks *ret)
{
    int more = 1;

    for (; more == 1; ret->n++) {
        while (at < s.n && is_blank(s.p[at]))
            at++;
        if (at == s.n || s.p[at] != STX || ret->n == BLOCKS_MAX)
            return decoded_fail(d, at == s.n ? ERR_SHORT : ERR_FORMAT,
                                "IEC 62056-21 6.2: a block is missing here",
                                at);
        at++;
        if ((more = take_block(d, s, &at, &ret->data[ret->n])) < 0)
            return more;
    }
    ret->has_check = true;
    while (at < s.n && is_blank(s.p[at]))
        at++;
    return at == s.n ? 0
                     : decoded_fail(d, ERR_FORMAT,
                                    "IEC 62056-21: bytes behind the end", at);
}

/* A '!' at the begin of a line, or s.n. */
static size_t find_end(struct str s, size_t at)
{
    for (; at < s.n; at++) {
        if (s.p[at] == '!' &&
            (at == 0 || s.p[at - 1] == '\n' || s.p[at - 1] == '\r'))
            return at;
    }
    return s.n;
}

/* Behind '!': nothing, or one to four hex digits (some leave zeros out). */
static int check_crc(struct decoded *d, struct str s, size_t from, size_t end,
                     struct iec_blocks *ret)
{
    struct str tail = str_trim((struct str){s.p + end + 1, s.n - end - 1});
    unsigned sent = 0;

    while (tail.n && tail.p[tail.n - 1] == 0)
        tail.n--;
    if (tail.n == 0)
        return 0;
    for (size_t i = 0; i < tail.n; i++) {
        const char *digits = "0123456789ABCDEF0123456789abcdef", *x;
        x = tail.p[i] ? strchr(digits, tail.p[i]) : NULL;
        if (!x || tail.n > 4)
            return decoded_fail(d, ERR_FORMAT,
                                "IEC 62056-21: bytes behind the end", end + 1);
        sent = sent << 4 | (unsigned)((x - digits) & 15);
    }
    if (sent != crc16_arc(s.p + from, end + 1 - from))
        return decoded_fail(d, ERR_DAMAGED, "DSMR P1 6.2: CRC of the telegram",
                            end + 1);
    ret->has_check = true;
    return 0;
}

int iec_blocks(struct decoded *d, struct str s, struct iec_blocks *ret)
{
    size_t at = 0, begin, end;
    int r = without_parity(d, &s);

    if (r < 0)
        return r;
    *ret = (struct iec_blocks){0};
    ret->data = arena_alloc(d->arena, BLOCKS_MAX * sizeof(*ret->data));
    if (!ret->data)
        return decoded_fail(d, ERR_FULL, "IEC 62056-21: telegram too large", 0);
    while (at < s.n && is_blank(s.p[at]))
        at++;
    begin = at;
    ret->text = s.p;
    if (at < s.n && s.p[at] == '/') {
        size_t from = at + 1;

        while (at < s.n && s.p[at] != '\r' && s.p[at] != '\n')
            at++;
        if (at == s.n || at - from < 3 || at - from > IDENT_MAX)
            return decoded_fail(d, at == s.n ? ERR_SHORT : ERR_FORMAT,
                                "IEC 62056-21 6.3.2: identification", from);
        ret->ident = (struct str){s.p + from, at - from};
    }
    while (at < s.n && is_blank(s.p[at]))
        at++;
    if (at < s.n && s.p[at] == STX)
        return take_blocks(d, s, at, ret);
    end = find_end(s, at);
    if (end == s.n)
        return decoded_fail(d, ERR_SHORT,
                            "IEC 62056-21: the end line is missing", s.n);
    ret->data[0] = (struct str){s.p + at, end - at};
    ret->n = 1;
    ret->plain = true;
    return check_crc(d, s, begin, end, ret);
}
