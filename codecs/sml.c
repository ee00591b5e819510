/*
 * sml.c - Smart Message Language: what German electricity meters push through
 * their optical port, and OneMeter-like readers pass on.
 *
 * Source: BSI TR-03109-1 annex IV (SML 1.04). Transport, clause 8:
 *   1B1B1B1B 01010101 | messages, 1B1B1B1B doubled | 00 fill | 1B1B1B1B 1A
 *   u8 fill bytes, u16 CRC-16/X.25 over all before it, low byte first
 * Messages, clause 6: type-length bytes (bit 7: more; 6-4: type; low nibbles:
 * length with the TL bytes, or elements of a list), numbers big-endian of 1 to
 * 8 bytes, 01 an absent element. GetList.Res carries the values: 10^scaler and
 * the DLMS unit.
 *
 * A payload may hold several frames, and a dump may begin and end inside one.
 * A frame with a wrong CRC fails the whole payload; bytes between frames (a
 * frame without its start) are told as an event. The CRC of the single messages
 * is read only where there is no transport around them: some meters (Holley)
 * get it wrong. The last frame is "now"; values of earlier ones have rows of
 * their own where the meter tells the time, else they are extras. Signed values
 * are taken as coded, but for one known fault: DZG DVS-74 meters of two ranges
 * of numbers code their power in up to three bytes as if it were unsigned (a
 * negative one always takes four).
 */
#include "codecs/cosem.h"
#include "codecs/crc16.h"
#include "schema/reading.h"
#include "server/base/err.h"
#include <ctype.h>
#include <stdio.h>

enum { OCTETS = 0, BOOLEAN = 4, INTEGER = 5, UNSIGNED = 6, LIST = 7 };
enum { GET_LIST = 0x0701, ATTENTION = 0xFF01 };
enum { START = 8, ESCAPE = 4, END = 8 };

static const uint8_t start[START] = {0x1B, 0x1B, 0x1B, 0x1B, 1, 1, 1, 1};

/* A cursor over the messages of one frame; the first failure stays. */
struct sml {
    struct decoded *d;
    const uint8_t *p, *begin, *end;
    size_t offset; /* of `begin` in the payload */
    int err;
    bool newest; /* its values are "now" */
    bool faulty_dzg;
    uint32_t row;
    bool extra;
};

/* n: octets of a value, elements of a list. Absent: OCTETS with n = 0. */
struct item {
    int type;
    size_t n, offset;
    const uint8_t *p;
};

static size_t here(const struct sml *s)
{
    return s->offset + (size_t)(s->p - s->begin);
}

static void sml_fail(struct sml *s, int err, const char *text)
{
    if (s->err == 0)
        s->err = decoded_fail(s->d, err, text, here(s));
}

static void keep(struct sml *s, int r)
{
    if (r < 0 && s->err == 0)
        s->err = r;
}

/* Type and length; a list's elements follow, a value's octets are taken. */
static struct item sml_next(struct sml *s)
{
    struct item it = {.offset = here(s)};
    size_t tl = 0, n = 0;
    uint8_t b;

    do {
        if (s->err || s->p == s->end) {
            sml_fail(s, ERR_SHORT, "SML: type-length field cut off");
            return (struct item){0};
        }
        b = *s->p++;
        if (tl == 0)
            it.type = b >> 4 & 7;
        n = n << 4 | (b & 15);
        if (++tl > 4 || (tl > 1 && b & 0x70)) {
            sml_fail(s, ERR_FORMAT, "SML 6.3.1: type-length field");
            return (struct item){0};
        }
    } while (b & 0x80);
    it.p = s->p;
    it.n = n;
    if (it.type == LIST)
        return it;
    if (n < tl || (it.type != OCTETS && (it.type < BOOLEAN || n == tl))) {
        sml_fail(s, ERR_FORMAT, "SML 6.3.1: type or length");
        return (struct item){0};
    }
    it.n = n - tl;
    if (it.n > (size_t)(s->end - s->p)) {
        sml_fail(s, ERR_SHORT, "SML: value cut off");
        return (struct item){0};
    }
    if (it.type != OCTETS && it.n > 8) {
        sml_fail(s, ERR_FORMAT, "SML 6.2: number over 8 bytes");
        return (struct item){0};
    }
    s->p += it.n;
    return it;
}

static bool absent(const struct item *it)
{
    return it->type == OCTETS && it->n == 0;
}

static uint64_t number(const struct item *it)
{
    bool minus = it->type == INTEGER && it->n && it->p[0] & 0x80;
    uint64_t v = minus ? UINT64_MAX : 0;

    for (size_t i = 0; i < it->n; i++)
        v = v << 8 | it->p[i];
    return v;
}

/* Passes over an element with all that is in it; no recursion. */
static void skip_rest(struct sml *s, const struct item *first)
{
    size_t open = first->type == LIST ? first->n : 0;

    while (open && !s->err) {
        struct item it = sml_next(s);
        open--;
        if (it.type == LIST)
            open += it.n;
    }
}

static void skip(struct sml *s)
{
    struct item it = sml_next(s);
    skip_rest(s, &it);
}

static size_t list(struct sml *s)
{
    struct item it = sml_next(s);

    if (it.type != LIST)
        sml_fail(s, ERR_FORMAT, "SML: a list is missing here");
    return s->err ? 0 : it.n;
}

static void list_of(struct sml *s, size_t n, const char *text)
{
    if (list(s) != n)
        sml_fail(s, ERR_FORMAT, text);
}

static struct item octets(struct sml *s)
{
    const struct item none = {0};
    struct item it = sml_next(s);

    if (it.type != OCTETS)
        sml_fail(s, ERR_FORMAT, "SML: an octet string is missing here");
    return s->err ? none : it;
}

static uint64_t uint_or_zero(struct sml *s)
{
    struct item it = sml_next(s);

    if (it.type != UNSIGNED && it.type != INTEGER && !absent(&it))
        sml_fail(s, ERR_FORMAT, "SML: a number is missing here");
    return s->err ? 0 : number(&it);
}

/* SML_Time: choice 1 secIndex, 2 timestamp (UTC), 3 timestamp with offset and
 * season in minutes; some meters send a bare secIndex. */
static struct meter_time sml_time(struct sml *s, int64_t *sec_index)
{
    struct meter_time t = {.dst = -1};
    struct item it = sml_next(s);

    if (it.type == UNSIGNED)
        *sec_index = (int64_t)(uint32_t)number(&it);
    if (it.type != LIST)
        return t;
    if (it.n != 2)
        sml_fail(s, ERR_FORMAT, "SML 6.2: time is a choice");
    uint64_t choice = uint_or_zero(s);
    if (choice == 1) {
        *sec_index = (int64_t)(uint32_t)uint_or_zero(s);
        return t;
    }
    if (choice == 3)
        list_of(s, 3, "SML 6.2: local timestamp");
    else if (choice != 2)
        sml_fail(s, ERR_FORMAT, "SML 6.2: unknown kind of time");
    t.form = METER_TIME_UTC;
    t.us = (int64_t)(uint32_t)uint_or_zero(s) * US_PER_S;
    if (choice == 3) {
        skip(s);
        t.dst = uint_or_zero(s) != 0;
    }
    if (t.us == 0) /* a clock that was never set */
        t = (struct meter_time){.dst = -1, .invalid = true};
    return t;
}

/* A server id of ten bytes is a meter number of DIN 43863-5: medium, three
 * letters of the maker, block, number ("1EMH0001234567"). */
static void identify(struct sml *s, struct item id)
{
    struct decoded *d = s->d;
    bool ten =
        id.n == 10 && isupper(id.p[2]) && isupper(id.p[3]) && isupper(id.p[4]);
    const uint8_t *p = id.p;

    if (id.n == 0 || d->serial.n)
        return;
    if (!ten) {
        d->serial = cosem_hex(d->arena, (struct str){(const char *)p, id.n});
        return;
    }
    d->serial = arena_printf(d->arena, "%X%.3s%02u%08u", p[1],
                             (const char *)p + 2, p[5],
                             (unsigned)p[6] << 24 | (unsigned)p[7] << 16 |
                                 (unsigned)p[8] << 8 | p[9]);
    d->manufacturer = (struct str){(const char *)p + 2, 3};
    enum medium m = cosem_medium(OBIS(p[1], 0, 0, 0, 0));
    if (m != MEDIUM_OTHER)
        d->medium = m;
}

struct entry {
    struct obis obis;
    struct item status, unit, scaler, value;
    struct meter_time time;
};

/* 81 81 C7 82 03: maker, 05: public key (the same in every frame). */
static bool is_maker(struct obis o, uint8_t e)
{
    return o.a == 0x81 && o.b == 0x81 && o.c == 0xC7 && o.d == 0x82 && o.e == e;
}

static int entry_text(struct sml *s, const struct entry *e, uint32_t row)
{
    struct str text = {(const char *)e->value.p, e->value.n};
    char name[OBIS_TEXT + 8];

    obis_text(e->obis, name);
    if (absent(&e->value) || is_maker(e->obis, 5))
        return 0;
    if (is_maker(e->obis, 3) && cosem_printable(text))
        s->d->manufacturer = text;
    if (e->obis.c == 96 && e->obis.d == 1 && e->obis.e == 0)
        identify(s, e->value);
    return cosem_add_text(s->d, row, e->value.offset, name, text);
}

/* Server ids 0A 01 "DZG" and the number, big-endian. */
static bool is_faulty_dzg(struct item id)
{
    static const uint8_t dzg[] = {0x0A, 0x01, 'D', 'Z', 'G', 0};
    uint32_t n = 0;

    if (id.n != 10 || memcmp(id.p, dzg, sizeof(dzg)) != 0)
        return false;
    for (int i = 6; i < 10; i++)
        n = n << 8 | id.p[i];
    return (n >= 42000000 && n < 49000000) || (n >= 55000000 && n < 59000000);
}

static bool is_power(struct obis o)
{
    return o.a == 1 && o.b == 0 && o.c == 16 && o.d == 7 && o.e == 0;
}

static int entry_number(struct sml *s, struct entry *e, uint32_t row)
{
    if (s->faulty_dzg && is_power(e->obis) && e->value.n <= 3)
        e->value.type = UNSIGNED;
    uint64_t raw = number(&e->value);
    int64_t scaler = (int64_t)number(&e->scaler);
    struct cosem_value v = {.obis = e->obis,
                            .row = row,
                            .offset = e->value.offset,
                            .extra = s->extra && row == 0};

    if (e->value.type == UNSIGNED && raw > INT64_MAX) {
        char name[OBIS_TEXT];
        return cosem_add_text(
            s->d, row, e->value.offset, obis_text(e->obis, name),
            arena_printf(s->d->arena, "%llu*10^%d", (unsigned long long)raw,
                         (int)(int8_t)scaler));
    }
    v.value = (struct decimal){(int64_t)raw, (int)(int8_t)scaler};
    if (v.value.mantissa == VALUE_NONE)
        v.value.exp10 = 0;
    v.unit = cosem_unit(s->d->arena,
                        absent(&e->unit) ? 255 : (uint8_t)number(&e->unit));
    return cosem_add(s->d, &v);
}

static int entry_status(struct sml *s, const struct entry *e)
{
    char name[OBIS_TEXT + 8], obis[OBIS_TEXT];

    if (absent(&e->status) || s->extra)
        return 0;
    snprintf(name, sizeof(name), "%s status", obis_text(e->obis, obis));
    return cosem_add_text(s->d, s->row, e->status.offset, name,
                          arena_printf(s->d->arena, "%llX",
                                       (unsigned long long)number(&e->status)));
}

/* A row of its own for a value that has another time than its list. */
static uint32_t entry_row(struct sml *s, struct meter_time t)
{
    uint32_t row = s->row;

    if (t.form != METER_TIME_NONE && t.us != s->d->rows[row].time.us)
        keep(s, decoded_add_row(s->d, t, &row));
    return row;
}

/* SML_ListEntry. */
static void sml_entry(struct sml *s)
{
    int64_t unused;
    struct entry e;

    list_of(s, 7, "SML 6.5.3: a list entry has seven elements");
    struct item name = octets(s);
    e.status = sml_next(s);
    skip_rest(s, &e.status);
    e.time = sml_time(s, &unused);
    e.unit = sml_next(s);
    e.scaler = sml_next(s);
    e.value = sml_next(s);
    skip_rest(s, &e.value);
    skip(s); /* signature */
    if (s->err)
        return;
    if (name.n != 6 || e.unit.type == LIST || e.scaler.type == LIST) {
        sml_fail(s, ERR_FORMAT, "SML 6.5.3: list entry");
        return;
    }
    memcpy(&e.obis, name.p, 6);
    uint32_t row = entry_row(s, e.time);
    if (e.status.type != LIST)
        keep(s, entry_status(s, &e));
    if (e.value.type == LIST) /* a time or a tuple */
        keep(s, cosem_add_text(s->d, row, e.value.offset, "list",
                               (struct str){(const char *)name.p, 6}));
    else if (e.value.type == OCTETS)
        keep(s, entry_text(s, &e, row));
    else
        keep(s, entry_number(s, &e, row));
}

/* The row of a list: "now" for the newest frame, its own where there is a
 * time, else extras of row 0. */
static void list_row(struct sml *s, struct meter_time t, int64_t sec_index)
{
    struct decoded *d = s->d;

    s->row = 0;
    s->extra = !s->newest && t.form == METER_TIME_NONE;
    if (s->newest) {
        d->rows[0].time = t;
        d->clock = t;
    } else if (!s->extra) {
        keep(s, decoded_add_row(d, t, &s->row));
    }
    if (s->newest && sec_index >= 0)
        keep(s, cosem_add_text(
                    d, 0, here(s), "seconds-index",
                    arena_printf(d->arena, "%lld", (long long)sec_index)));
}

/* SML_GetList.Res. */
static void get_list(struct sml *s)
{
    int64_t sec_index = -1;

    list_of(s, 7, "SML 6.5.3: GetList.Res has seven elements");
    octets(s); /* client */
    struct item server = octets(s);
    identify(s, server);
    s->faulty_dzg = is_faulty_dzg(server);
    octets(s); /* name of the list */
    struct meter_time t = sml_time(s, &sec_index);
    if (!s->err)
        list_row(s, t, sec_index);
    for (size_t n = list(s); n && !s->err; n--)
        sml_entry(s);
    skip(s); /* signature */
    skip(s); /* gateway time */
}

/* SML_Attention.Res: the meter refuses something; number and text. */
static void attention(struct sml *s)
{
    list_of(s, 4, "SML 6.5.10: Attention.Res has four elements");
    identify(s, octets(s));
    struct item code = octets(s), text = octets(s);
    skip(s);
    if (s->err)
        return;
    struct str detail = {(const char *)text.p, text.n};
    struct str hex =
        cosem_hex(s->d->arena, (struct str){(const char *)code.p, code.n});
    if (!cosem_printable(detail))
        detail = cosem_hex(s->d->arena, detail);
    struct decoded_event e = {.code = STR("device.app_error"),
                              .time = {.dst = -1},
                              .detail = arena_printf(s->d->arena, "%.*s %.*s",
                                                     STR_ARGS(hex),
                                                     STR_ARGS(detail))};
    keep(s, decoded_add_event(s->d, &e));
}

/* SML_Message. `bare`: nothing around it has been checked. */
static void sml_message(struct sml *s, bool bare)
{
    const uint8_t *from = s->p;

    list_of(s, 6, "SML 6.4: a message has six elements");
    skip(s); /* transaction, group, abort */
    skip(s);
    skip(s);
    list_of(s, 2, "SML 6.4: a body has a tag and a content");
    uint64_t tag = uint_or_zero(s);
    if (tag == GET_LIST)
        get_list(s);
    else if (tag == ATTENTION)
        attention(s);
    else
        skip(s);
    const uint8_t *to = s->p;
    uint64_t crc = uint_or_zero(s);
    uint16_t sum = crc16_x25(from, (size_t)(to - from));
    if (bare && !s->err && crc != (uint16_t)(sum << 8 | sum >> 8))
        sml_fail(s, ERR_DAMAGED, "SML 6.4: CRC of a message");
    if (!s->err && (s->p == s->end || *s->p != 0))
        sml_fail(s, ERR_FORMAT, "SML 6.4: end of message");
    s->p += !s->err;
}

static int sml_messages(struct decoded *d, struct str in, size_t offset,
                        bool newest, bool bare)
{
    const uint8_t *p = (const uint8_t *)in.p;
    struct sml s = {.d = d,
                    .p = p,
                    .begin = p,
                    .end = p + in.n,
                    .offset = offset,
                    .newest = newest};

    while (s.p < s.end && s.err == 0)
        sml_message(&s, bare);
    return s.err;
}

struct frame {
    size_t at, n; /* from the start sequence to the end of the CRC */
    size_t doubled;
};

/* 1 and the first frame from f->at on; 0: none; ERR_SHORT: one that does not
 * end; ERR_FORMAT, ERR_DAMAGED. f->at, f->n: where the trouble is. */
static int frame_next(struct str in, struct frame *f)
{
    const uint8_t *p = (const uint8_t *)in.p, *e;
    size_t at = f->at;

    e = at < in.n ? memmem(p + at, in.n - at, start, START) : NULL;
    if (!e)
        return 0;
    f->at = (size_t)(e - p);
    f->doubled = 0;
    for (at = f->at + START;; at += START, f->doubled++) {
        f->n = in.n - f->at;
        e = memmem(p + at, in.n - at, start, ESCAPE);
        if (!e || in.n - (size_t)(e - p) < END)
            return ERR_SHORT;
        at = (size_t)(e - p);
        f->n = at + END - f->at;
        if (e[ESCAPE] == 0x1A)
            break;
        if (memcmp(e + ESCAPE, start, ESCAPE) != 0)
            return ERR_FORMAT;
    }
    uint16_t crc = crc16_x25(p + f->at, f->n - 2);
    const uint8_t *sent = p + f->at + f->n - 2;
    return sent[0] == (crc & 0xFF) && sent[1] == crc >> 8 ? 1 : ERR_DAMAGED;
}

/* The messages of a frame: without escapes and fill bytes. */
static int frame_content(struct decoded *d, struct str in,
                         const struct frame *f, struct str *ret)
{
    const char *p = in.p + f->at;
    size_t n = f->n - START - END, fill = (uint8_t)p[f->n - 3];

    if (fill > 3 || fill > n)
        return decoded_fail(d, ERR_FORMAT, "SML 8: number of fill bytes",
                            f->at + f->n - 3);
    *ret = (struct str){p + START, n - fill};
    if (f->doubled == 0)
        return 0;
    char *out = arena_alloc(d->arena, n);
    size_t m = 0;
    if (!out)
        return decoded_fail(d, ERR_FULL, "SML: frame too large", f->at);
    for (size_t i = 0; i < n - fill; i++) {
        out[m++] = p[START + i];
        if (n - i >= START && memcmp(p + START + i, start, ESCAPE) == 0) {
            memcpy(out + m, start, ESCAPE - 1);
            m += ESCAPE - 1;
            i += START - 1;
        }
    }
    *ret = (struct str){out, m};
    return 0;
}

/* Are the bytes behind the last frame the begin of another one? */
static bool is_tail(struct str in, size_t at)
{
    size_t n = in.n - at < START ? in.n - at : START;
    return memcmp(in.p + at, start, n) == 0;
}

/* Bytes of a frame whose start was damaged: the other frames stand. */
static int lost_bytes(struct decoded *d, size_t n)
{
    struct decoded_event e = {
        .code = STR("frame.bad_crc"),
        .time = {.dst = -1},
        .detail = arena_printf(d->arena, "%zu bytes in no frame", n)};
    return n ? decoded_add_event(d, &e) : 0;
}

/* Checks the frames of a payload and counts them in *n. */
static int check_frames(struct decoded *d, struct str in, size_t *n)
{
    struct frame f = {0};
    size_t end = 0, lost = 0;
    int r;

    for (*n = 0; (r = frame_next(in, &f)) == 1; f.at = end = f.at + f.n) {
        if (++*n > 1)
            lost += f.at - end;
    }
    if (r == ERR_DAMAGED)
        return decoded_fail(d, r, "SML 8: CRC of the frame", f.at);
    if (r == ERR_FORMAT)
        return decoded_fail(d, r, "SML 8: unknown escape sequence",
                            f.at + f.n - ESCAPE);
    if (*n == 0)
        return decoded_fail(d, ERR_SHORT, "SML: the frame does not end", in.n);
    if (r == ERR_SHORT)
        lost += f.at - end;
    else if (end < in.n && !is_tail(in, end))
        lost += in.n - end;
    return lost_bytes(d, lost);
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct frame f = {0};
    struct str p = in->payload, content;
    size_t frames;
    int r = 0;

    if (!memmem(p.p, p.n, start, START)) {
        if ((uint8_t)p.p[0] == 0x76)
            return sml_messages(d, p, 0, true, true);
        return decoded_fail(d, ERR_FORMAT, "SML 8: no start sequence", 0);
    }
    if ((r = check_frames(d, p, &frames)) < 0)
        return r;
    for (; frames > 0 && r >= 0 && frame_next(p, &f) == 1; f.at += f.n) {
        r = frame_content(d, p, &f, &content);
        if (r >= 0)
            r = sml_messages(d, content, f.at + START, --frames == 0, false);
    }
    return r;
}

static const struct codec_vector vectors[] = {
    {.name = "readings, negative power, status word",
     .hex = "1B1B1B1B0101010176030007620062007263010176010102010B0A014845"
            "440000BC614E010163127D0076030007620062007263070177010B0A0148"
            "45440000BC614E070100620AFFFF7262016500000E107377070100603201"
            "FF01010101044845440177070100010800FF63018201621E52FF6500BC61"
            "4E0177070100100700FF0101621B520053FE9C01010163484E0076030007"
            "6200620072630201710163E8AE001B1B1B1B1A00760C",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; text s"
               "econds-index=3600; text 1-0:96.50.1=HED; text 1-0:1.8.0 stat"
               "us=182; energy 1-0:1.8.0 1234567.8 Wh; power 1-0:16.7.0 -356"
               " W"},
    {.name = "timestamp, escaped 1B1B1B1B, odd widths",
     .hex = "1B1B1B1B0101010176030007620062007263070177010B0A014845440000"
            "BC614E070100620AFFFF726202656968D6C07377070100010800FF010162"
            "1E52FF561B1B1B1B1B1B1B1B1B0177070100020801FF0101621E52036400"
            "000701770701000E0700FF0101622C52FF6301F301010163E5B300000000"
            "1B1B1B1B1A03538A",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; clock "
               "2026-01-15T12:00:00Z; energy 1-0:1.8.0 11641887823.5 Wh; ene"
               "rgy 1-0:2.8.1 7000 Wh; frequency 1-0:14.7.0 49.9 Hz"},
    {.name = "two frames by seconds index and the begin of a third",
     .hex = "1B1B1B1B0101010176030007620062007263070177010B0A014845440000"
            "BC614E070100620AFFFF72620165000000017177070100010800FF010162"
            "1E52006300640101016371CF000000001B1B1B1B1A03607A1B1B1B1B0101"
            "010176030007620062007263070177010B0A014845440000BC614E070100"
            "620AFFFF72620165000000027177070100010800FF0101621E5200630065"
            "010101633C20000000001B1B1B1B1A0353011B1B1B1B010101017602",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; energy"
               " 1-0:1.8.0 [extra] 100 Wh; text seconds-index=2; energy 1-0:"
               "1.8.0 101 Wh"},
    {.name = "two frames with timestamps",
     .hex = "1B1B1B1B0101010176030007620062007263070177010B0A014845440000"
            "BC614E070100620AFFFF726202656968D6C07177070100010800FF010162"
            "1E520063006401010163ACEA000000001B1B1B1B1A03589F1B1B1B1B0101"
            "010176030007620062007263070177010B0A014845440000BC614E070100"
            "620AFFFF726202656968D6C17177070100010800FF0101621E5200630065"
            "010101634A5F000000001B1B1B1B1A03A35D",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; clock "
               "2026-01-15T12:00:01Z; @2026-01-15T12:00:00Z; energy 1-0:1.8."
               "0 100 Wh; @now; energy 1-0:1.8.0 101 Wh"},
    {.name =
         "bare message, local time, number beyond int64, unit of no register",
     .hex = "76030007620062007263070177010B0A014845440000BC614E070100620A"
            "FFFF017477070100010800FF0172620373656968C8B053003C530000621E"
            "52006300640177070100100700FF0101621B52FE69FFFFFFFFFFFFFFFF01"
            "77070100600100FF010101010B0A014845440000BC614E01770701002607"
            "00FF0101622652006205010101630C2100",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; @2026-"
               "01-15T11:00:00Z; energy 1-0:1.8.0 100 Wh; @now; text 1-0:16."
               "7.0=18446744073709551615*10^-2; text 1-0:96.1.0=0A0148454400"
               "00BC614E; parameter 1-0:38.7.0 5 Ohm"},
    {.name = "attention",
     .hex = "1B1B1B1B0101010176030007620062007263FF01740B0A014845440000BC"
            "614E078181C7C7FE0305627573790163A36D000000001B1B1B1B1A039913",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; event "
               "device.app_error pulse 8181C7C7FE03 busy"},
    {.name = "one bit changed",
     .hex = "1B1B1B1B0101010176030007620062007263010176010102010B0A014845"
            "440000BC614E010163127D0076030007620062007263070177010B0A0148"
            "44440000BC614E070100620AFFFF7262016500000E107377070100603201"
            "FF01010101044845440177070100010800FF63018201621E52FF6500BC61"
            "4E0177070100100700FF0101621B520053FE9C01010163484E0076030007"
            "6200620072630201710163E8AE001B1B1B1B1A00760C",
     .err = ERR_DAMAGED},
    {.name = "frame cut off",
     .hex = "1B1B1B1B0101010176030007620062007263010176010102010B0A014845"
            "440000BC614E010163127D0076030007620062007263070177010B0A0148"
            "45440000BC614E070100620AFFFF7262016500000E107377070100603201"
            "FF01010101044845440177070100010800FF63018201621E52FF6500BC61"
            "4E0177070100100700FF0101621B520053FE9C01010163484E0076030007"
            "6200620072630201710163E8AE",
     .err = ERR_SHORT},
    {.name = "no start sequence",
     .hex = "7776030007620062007263010176010102010B0A014845440000BC614E01"
            "0163127D0076030007620062007263070177010B0A014845440000BC614E"
            "070100620AFFFF7262016500000E107377070100603201FF010101010448"
            "45440177070100010800FF63018201621E52FF6500BC614E017707010010"
            "0700FF0101621B520053FE9C01010163484E007603000762006200726302"
            "01710163E8AE001B1B1B1B1A00760C",
     .err = ERR_FORMAT},
    {.name = "bare message, wrong CRC",
     .hex = "76030007620062007263070177010B0A014845440000BC614E070100620A"
            "FFFF017477070100010800FF0172620373656968C8B053003C530000621E"
            "52006300640177070100100700FF0101621B52FE69FFFFFFFFFFFFFFFF01"
            "77070100600100FF010101010B0A014845440000BC614E01770701002607"
            "00FF0101622652006205010101630C0000",
     .err = ERR_DAMAGED},
    {.name = "type 1 is none",
     .hex = "1B1B1B1B01010101761200001B1B1B1B1A0246AA",
     .err = ERR_FORMAT},
    {.name = "value longer than the frame",
     .hex = "1B1B1B1B0101010176030007620062007263010176010102010B0A014845"
            "440000BC614E010163691B1B1B1B1A009D6C",
     .err = ERR_SHORT},
    {.name = "bytes between frames",
     .hex = "1B1B1B1B0101010176030007620062007263FF01740B0A014845440000BC"
            "614E078181C7C7FE0305627573790163A36D000000001B1B1B1B1A039913"
            "00001B1B1B1B0101010176030007620062007263FF01740B0A0148454400"
            "00BC614E078181C7C7FE0305627573790163A36D000000001B1B1B1B1A03"
            "9913",
     .expect = "electricity; serial 1HED0012345678; manufacturer HED; event "
               "frame.bad_crc pulse 2 bytes in no frame; event device.app_er"
               "ror pulse 8181C7C7FE03 busy; event device.app_error pulse 81"
               "81C7C7FE03 busy"},
    {.name = "a second frame damaged",
     .hex = "1B1B1B1B0101010176030007620062007263FF01740B0A014845440000BC"
            "614E078181C7C7FE0305627573790163A36D000000001B1B1B1B1A039913"
            "1B1B1B1B0101010176030007620062007263010176010102010B0A014845"
            "440000BC614E010163127D0076030007620062007263070177010B0A0148"
            "44440000BC614E070100620AFFFF7262016500000E107377070100603201"
            "FF01010101044845440177070100010800FF63018201621E52FF6500BC61"
            "4E0177070100100700FF0101621B520053FE9C01010163484E0076030007"
            "6200620072630201710163E8AE001B1B1B1B1A00760C",
     .err = ERR_DAMAGED},
    {.name = "a DZG meter that codes its power as if unsigned",
     .hex = "1B1B1B1B0101010176030007620062007263070177010B0A01445A470002"
            "80DE8101017177070100100700FF0101621B52FE538B2801010163000000"
            "1B1B1B1B1A000DC4",
     .expect = "electricity; serial 1DZG0042000001; manufacturer DZG; power "
               "1-0:16.7.0 356.24 W"},
    {.name = "the same meter feeds in",
     .hex = "1B1B1B1B0101010176030007620062007263070177010B0A01445A470002"
            "80DE8101017177070100100700FF0101621B52FE55FFFE13930101016300"
            "000000001B1B1B1B1A0288BF",
     .expect = "electricity; serial 1DZG0042000001; manufacturer DZG; power "
               "1-0:16.7.0 -1260.61 W"},
    {.name = "a DZG meter without the fault",
     .hex = "1B1B1B1B0101010176030007620062007263070177010B0A01445A470003"
            "93870101017177070100100700FF0101621B52FE538B2801010163000000"
            "1B1B1B1B1A00E353",
     .expect = "electricity; serial 1DZG0060000001; manufacturer DZG; power "
               "1-0:16.7.0 -299.12 W"},
    {0},
};

const struct codec codec_sml = {
    .abi = CODEC_ABI,
    .name = "sml",
    .version = 2,
    .title = "SML: electricity meters, transport frames or messages",
    .source = "BSI TR-03109-1 annex IV (SML 1.04); IEC 62056-61",
    .medium = MEDIUM_ELECTRICITY,
    .decode = decode,
    .vectors = vectors,
};
