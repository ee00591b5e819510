/*
 * mbus_telegram.c - from the CI field on: headers and what they announce.
 *
 * Source: EN 13757-3, CI fields and headers, application errors; the word
 * "configuration" of EN 13757-7.
 */
#include "codecs/mbus_telegram.h"
#include "codecs/mbus.h"
#include "codecs/mbus_format.h"
#include "codecs/mbus_record.h"
#include "server/base/err.h"
#include "server/base/hex.h"

enum { CI_AFL = 0x90 };
enum header_kind { NO_HEADER = 0, SHORT_HEADER = 4, LONG_HEADER = 12 };

typedef int content_fn(struct mbus_telegram *t, const struct mbus_header *h);

static int fail(struct mbus_telegram *t, int err, const char *text, size_t at)
{
    return decoded_fail(t->d, err, text, at);
}

static struct str view(const struct mbus_telegram *t)
{
    return (struct str){(const char *)t->p, t->n};
}

int mbus_identify(struct decoded *d, const struct mbus_address *a)
{
    d->serial = arena_printf(d->arena, "%02X%02X%02X%02X", a->id[3], a->id[2],
                             a->id[1], a->id[0]);
    d->manufacturer =
        mbus_manufacturer(d->arena, (unsigned)a->manufacturer[0] |
                                        (unsigned)a->manufacturer[1] << 8);
    d->version = a->version;
    d->device_type = a->type;
    if (medium_of_device_type(a->type) != MEDIUM_OTHER)
        d->medium = medium_of_device_type(a->type);
    return d->serial.n ? 0 : decoded_fail(d, ERR_FULL, "frame too long", 0);
}

static int add_event(struct decoded *d, const char *code,
                     enum event_state state, struct str detail)
{
    return decoded_add_event(d, &(struct decoded_event){.code = str_of(code),
                                                        .state = state,
                                                        .time = {.dst = -1},
                                                        .detail = detail});
}

int mbus_status(struct decoded *d, uint8_t status)
{
    static const struct {
        uint8_t mask, is;
        const char *code;
    } rows[] = {
        {0x03, 0x01, "device.busy"},
        {0x03, 0x02, "device.app_error"},
        {0x03, 0x03, "device.alarm"},
        {0x04, 0x04, "battery.low"},
        {0x08, 0x08, "device.permanent_error"},
        {0x10, 0x10, "device.temporary_error"},
        {0x20, 0x20, "mfr.bit5"},
        {0x40, 0x40, "mfr.bit6"},
        {0x80, 0x80, "mfr.bit7"},
    };
    struct str detail = arena_printf(d->arena, "status 0x%02x", status);

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int r = 0;
        if ((status & rows[i].mask) == rows[i].is)
            r = add_event(d, rows[i].code, EVENT_START, detail);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Values stand as they came; the flag says that nothing vouches for them. */
static int mark(struct mbus_telegram *t, int r)
{
    for (uint32_t i = 0; t->unprotected && i < t->d->n_measurements; i++)
        t->d->measurements[i].quality |= QUALITY_UNPROTECTED;
    return r;
}

static int decode_records(struct mbus_telegram *t, const struct mbus_header *h)
{
    int r = mark(t, mbus_decode(view(t), h->content, t->d));

    if (r == 0 && t->wireless)
        t->d->format = mbus_format_of(t->d->arena, view(t), h->content);
    return r;
}

static void reverse(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        uint8_t swap = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = swap;
    }
}

/* CI 76: each value with its most significant byte first. */
static int decode_reversed(struct mbus_telegram *t, const struct mbus_header *h)
{
    struct bytes in = bytes_of(t->p, t->n);
    struct mbus_record record;
    const char *error;

    bytes_take(&in, h->content);
    while (mbus_record_next(&in, &in, &record, &error) > 0) {
        if (record.coding != MBUS_VARIABLE && record.coding != MBUS_SPECIAL)
            reverse(t->p + (record.data - t->p), record.size);
    }
    return decode_records(t, h);
}

/* CI 77: the same for the fixed structure. */
static int decode_fixed_reversed(struct mbus_telegram *t,
                                 const struct mbus_header *h)
{
    static const struct {
        uint8_t at, size;
    } fields[] = {{0, 4}, {6, 2}, {8, 4}, {12, 4}};

    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        if (h->content + fields[i].at + fields[i].size <= t->n)
            reverse(t->p + h->content + fields[i].at, fields[i].size);
    }
    return mbus_fixed(t, h->content);
}

/* Signature of the record list, checksum of the full frame, data alone. */
static int decode_compact(struct mbus_telegram *t, const struct mbus_header *h)
{
    struct bytes in = bytes_of(t->p, t->n);
    uint16_t signature, crc, found;
    size_t from = h->content + 4;

    bytes_take(&in, h->content);
    signature = bytes_u16(&in);
    crc = bytes_u16(&in);
    if (in.ran_out)
        return fail(t, ERR_SHORT, "EN 13757-3 compact frame: no signature",
                    t->n);
    struct str list = mbus_format_find(t->in, signature);
    if (list.n == 0) {
        t->d->wants = WANTS_FORMAT;
        t->d->format =
            arena_str(t->d->arena, (struct str){(char *)t->p + h->content, 2});
        return fail(t, ERR_UNKNOWN,
                    "EN 13757-3 compact frame: no full frame has taught this "
                    "record list yet",
                    h->content);
    }
    int r = mbus_format_crc(list, view(t), from, &found);
    if (r < 0 || crc != found)
        return fail(t, r < 0 ? r : ERR_DAMAGED,
                    "EN 13757-3 compact frame: data do not fit the checksum "
                    "of the full frame",
                    h->content + 2);
    return mark(t, mbus_decode_compact(list, view(t), from, t->d));
}

/* Length, signature, list: believed only when the signature fits. */
static int decode_format(struct mbus_telegram *t, const struct mbus_header *h)
{
    struct bytes in = bytes_of(t->p, t->n);

    bytes_take(&in, h->content);
    size_t size = bytes_u8(&in);
    uint16_t signature = bytes_u16(&in);
    if (in.ran_out || size < 2 || bytes_left(&in) < size - 2)
        return fail(t, ERR_SHORT, "EN 13757-3 format frame: cut off", t->n);
    if (mbus_crc(in.p, size - 2) != signature)
        return fail(t, ERR_DAMAGED,
                    "EN 13757-3 format frame: signature does not fit the list",
                    h->content + 1);
    t->d->format =
        arena_str(t->d->arena, (struct str){(const char *)in.p, size - 2});
    return 0;
}

static int decode_error(struct mbus_telegram *t, const struct mbus_header *h)
{
    static const char *const texts[] = {
        "unspecified",
        "CI field not implemented",
        "buffer too long",
        "too many records",
        "ended too early",
        "more than ten DIFE",
        "more than ten VIFE",
        "reserved",
        "busy",
        "too many readouts",
    };
    uint8_t code = h->content < t->n ? t->p[h->content] : 0;
    const char *text =
        code < sizeof(texts) / sizeof(*texts) ? texts[code] : "reserved";

    return add_event(t->d, "device.app_error", EVENT_PULSE,
                     arena_printf(t->d->arena, "%u %s", code, text));
}

static int decode_alarm(struct mbus_telegram *t, const struct mbus_header *h)
{
    if (h->content >= t->n)
        return fail(t, ERR_SHORT, "EN 13757-3 alarm: no alarm byte", t->n);
    return add_event(
        t->d, "device.alarm", EVENT_PULSE,
        arena_printf(t->d->arena, "alarm 0x%02x", t->p[h->content]));
}

static int decode_nothing(struct mbus_telegram *t, const struct mbus_header *h)
{
    (void)t;
    (void)h;
    return 0;
}

/* No standard says what it means: kept for those who know. */
static int decode_opaque(struct mbus_telegram *t, const struct mbus_header *h)
{
    int r = wmbus_maker(t, h->ci);

    if (r != ERR_UNSUPPORTED)
        return r;
    r = mbus_add_manufacturer(t->d, t->p + h->content, t->n - h->content,
                              h->content);
    struct str text =
        arena_printf(t->d->arena,
                     "EN 13757-3 CI %02X: manufacturer specific, no standard "
                     "tells its content",
                     t->p[h->ci]);

    return r < 0 ? r : fail(t, ERR_UNSUPPORTED, text.p, h->ci);
}

static int decode_fixed(struct mbus_telegram *t, const struct mbus_header *h)
{
    return mbus_fixed(t, h->content);
}

enum link { ANY_LINK, WIRE, RADIO };

/* CI field to header and content; `refusal` where we read no further. */
static const struct ci_row {
    uint8_t first, last;
    enum link link;
    enum header_kind header;
    content_fn *content;
    const char *refusal;
} rows[] = {
    {0x69, 0x69, ANY_LINK, NO_HEADER, decode_format, NULL},
    {0x6A, 0x6A, ANY_LINK, SHORT_HEADER, decode_format, NULL},
    {0x6B, 0x6B, ANY_LINK, LONG_HEADER, decode_format, NULL},
    {0x6E, 0x6E, ANY_LINK, SHORT_HEADER, decode_error, NULL},
    {0x6F, 0x6F, ANY_LINK, LONG_HEADER, decode_error, NULL},
    {0x70, 0x70, ANY_LINK, NO_HEADER, decode_error, NULL},
    {0x71, 0x71, ANY_LINK, NO_HEADER, decode_alarm, NULL},
    {0x72, 0x72, ANY_LINK, LONG_HEADER, decode_records, NULL},
    {0x73, 0x73, WIRE, NO_HEADER, decode_fixed, NULL},
    {0x73, 0x73, RADIO, LONG_HEADER, decode_compact, NULL},
    {0x74, 0x74, ANY_LINK, SHORT_HEADER, decode_alarm, NULL},
    {0x75, 0x75, ANY_LINK, LONG_HEADER, decode_alarm, NULL},
    {0x76, 0x76, WIRE, LONG_HEADER, decode_reversed, NULL},
    {0x77, 0x77, WIRE, NO_HEADER, decode_fixed_reversed, NULL},
    {0x78, 0x78, ANY_LINK, NO_HEADER, decode_records, NULL},
    {0x79, 0x79, ANY_LINK, NO_HEADER, decode_compact, NULL},
    {0x7A, 0x7A, ANY_LINK, SHORT_HEADER, decode_records, NULL},
    {0x7B, 0x7B, ANY_LINK, SHORT_HEADER, decode_compact, NULL},
    {0x80, 0x80, ANY_LINK, LONG_HEADER, decode_nothing, NULL},
    {0x8A, 0x8A, ANY_LINK, SHORT_HEADER, decode_nothing, NULL},
    {0x8B, 0x8B, ANY_LINK, LONG_HEADER, decode_nothing, NULL},
    {0xA0, 0xB7, ANY_LINK, NO_HEADER, decode_opaque, NULL},
    {0x00, 0x1F, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI 00 to 1F: a segment of a DLMS message, not M-Bus records"},
    {0x50, 0x65, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI: a command to a meter, not an answer"},
    {0x66, 0x68, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI 66 to 68: which application is selected, no readings"},
    {0x6C, 0x6D, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI 6C, 6D: clock synchronisation, a command to a meter"},
    {0x7C, 0x7D, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI 7C, 7D: COSEM content is not supported"},
    {0x7E, 0x7F, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI 7E, 7F: OBIS and SML content is not supported"},
    {0x81, 0x89, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI 81 to 89: network layer is not supported"},
    {0x8C, 0x8F, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-4 CI 8C to 8F: a second extended link layer"},
    {0xB8, 0xBF, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI B8 to BF: baud rate, a command to a meter"},
    {0xC0, 0xC2, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI C0 to C2: image transfer, no readings"},
    {0xC3, 0xC5, ANY_LINK, NO_HEADER, NULL,
     "EN 13757-3 CI C3 to C5: security information, no readings"},
    {0},
};

static const struct ci_row *find_row(uint8_t ci, bool wireless)
{
    for (const struct ci_row *row = rows; row->last; row++) {
        if (ci < row->first || ci > row->last)
            continue;
        if (row->link == ANY_LINK || (row->link == RADIO) == wireless)
            return row;
    }
    return NULL;
}

/* Identification, manufacturer, version and device type in front of access
 * number, status and configuration: the long header has both halves. */
static int read_header(struct mbus_telegram *t, size_t ci,
                       const struct ci_row *row, struct mbus_header *h)
{
    uint8_t *p = t->p + ci + 1;

    *h = (struct mbus_header){
        .meter = t->sender, .ci = ci, .content = ci + 1 + (size_t)row->header};
    if (h->content > t->n)
        return fail(t, ERR_SHORT, "EN 13757-3: header cut off", t->n);
    if (row->header == LONG_HEADER) {
        if (row->content == decode_reversed) {
            reverse(p, 4);
            reverse(p + 4, 2);
            reverse(p + 10, 2);
        }
        memcpy(h->meter.id, p, 4);
        memcpy(h->meter.manufacturer, p + 4, 2);
        h->meter.version = p[6];
        h->meter.type = p[7];
        p += 8;
    }
    if (row->header != NO_HEADER) {
        h->access = p[0];
        h->status = p[1];
        h->config = (uint16_t)(p[2] | p[3] << 8);
    }
    return 0;
}

/* Under a security mode that is reserved, as old meters send it: what reads as
 * nothing but good records is shown beside the error, for a person to judge. */
static void show_clear(struct mbus_telegram *t, const struct ci_row *row,
                       const struct mbus_header *h)
{
    struct decoded *d = t->d;
    const char *error = d->error;
    uint32_t offset = d->error_offset;
    bool good = row->content == decode_records;

    t->unprotected = true;
    good = good && decode_records(t, h) == 0;
    for (uint32_t i = 0; i < d->n_measurements; i++)
        good = good && d->measurements[i].quantity != Q_UNKNOWN &&
               !(d->measurements[i].quality & QUALITY_INVALID);
    if (!good)
        d->n_measurements = 0;
    d->format = (struct str){0};
    d->error = error;
    d->error_offset = offset;
}

int mbus_telegram(struct mbus_telegram *t, size_t at)
{
    struct mbus_header h;
    int r;

    if (at < t->n && t->p[at] == CI_AFL) {
        at++;
        if ((r = mbus_afl(t, &at)) < 0)
            return r;
    }
    if (at >= t->n)
        return fail(t, ERR_SHORT, "EN 13757-3: no CI field", t->n);
    const struct ci_row *row = find_row(t->p[at], t->wireless);
    if (!row || row->refusal)
        return fail(t, ERR_UNSUPPORTED,
                    row ? row->refusal : "EN 13757-3 CI: reserved", at);
    if ((r = read_header(t, at, row, &h)) < 0)
        return r;
    if ((t->wireless || row->header == LONG_HEADER) &&
        (r = mbus_identify(t->d, &h.meter)) < 0)
        return r;
    if ((r = mbus_status(t->d, h.status)) < 0)
        return r;
    t->d->status = row->header != NO_HEADER;
    r = mbus_open(t, &h);
    if (r < 0 && h.reserved)
        show_clear(t, row, &h);
    return r < 0 ? r : row->content(t, &h);
}
