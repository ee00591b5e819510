/*
 * dlms_push.c - what DLMS/COSEM meters push: data- and event-notification APDUs
 * over TCP (wrapper), HDLC or M-Bus, in one piece or in parts, clear or
 * ciphered.
 *
 * Source: IEC 62056-5-3 and Green Book 9.x:
 *   0F | u32 long-invoke-id | u8 length, date-time (none or 12) | body, A-XDR
 *   C2 | 00, or 01 and length, date-time | u16 class | logical name (6)
 *      | i8 attribute | value, A-XDR
 *   DB, DC: dlms_glo.c. Inside may also be a P1 telegram (Luxembourg).
 *
 * Without the authentication key a tag cannot be checked: the content is taken
 * when it is a notification to its last byte, and "authentication=not checked"
 * is kept with it. The invocation counter becomes the frame's sequence and its
 * security counter, for whoever refuses replays.
 */
#include "codecs/dlms.h"
#include "schema/reading.h"
#include "server/base/err.h"

enum {
    DATA_NOTIFICATION = 0x0F,
    EVENT_NOTIFICATION = 0xC2,
    GENERAL_GLO = 0xDB,
    GENERAL_DED = 0xDC,
    P1_TELEGRAM = '/'
};
enum { DATE_TIME = COSEM_TIME, LN = 6 };

extern const struct codec codec_iec62056_21;

struct push {
    const struct codec_input *in;
    struct decoded *d;
    uint32_t notifications;
};

/* length and 12 bytes, or length 0. */
static int take_time(struct push *p, struct bytes *in, size_t offset,
                     struct meter_time *ret)
{
    uint8_t n = bytes_u8(in);

    *ret = (struct meter_time){.dst = -1};
    if (n == AXDR_OCTETS) /* Kaifa tags it as an octet string */
        n = bytes_u8(in);
    const uint8_t *date = bytes_take(in, n);
    if (!date)
        return decoded_fail(p->d, ERR_SHORT, "DLMS: notification cut off",
                            offset);
    if ((n != 0 && n != DATE_TIME) ||
        (n == DATE_TIME && cosem_time(date, ret) < 0))
        return decoded_fail(p->d, ERR_FORMAT,
                            "DLMS: date-time of the notification", offset);
    return 0;
}

static int take_body(struct push *p, struct bytes *in, size_t offset,
                     struct axdr **body)
{
    int r = axdr_parse(p->d, in, offset + 1, body);

    if (r == 0 && bytes_left(in))
        return decoded_fail(p->d, ERR_FORMAT, "DLMS: bytes behind the body",
                            offset);
    return r;
}

static int notification(struct push *p, struct str apdu, size_t offset)
{
    struct bytes in = bytes_of(apdu.p + 1, apdu.n - 1);
    struct meter_time time;
    struct axdr *body;
    int r;

    bytes_take(&in, 4); /* long-invoke-id-and-priority */
    if ((r = take_time(p, &in, offset, &time)) < 0 ||
        (r = take_body(p, &in, offset, &body)) < 0)
        return r;
    return dlms_body(p->d, body, NULL, offset + 1, time,
                     p->notifications++ == 0);
}

static int event_notification(struct push *p, struct str apdu, size_t offset)
{
    struct bytes in = bytes_of(apdu.p + 1, apdu.n - 1);
    struct meter_time time = {.dst = -1};
    struct axdr *body;
    struct obis name;
    int r = 0;

    if (bytes_u8(&in))
        r = take_time(p, &in, offset, &time);
    bytes_take(&in, 2); /* class */
    const uint8_t *ln = bytes_take(&in, LN);
    bytes_u8(&in); /* attribute */
    if (r < 0)
        return r;
    if (in.ran_out)
        return decoded_fail(p->d, ERR_SHORT, "DLMS: event-notification cut off",
                            offset);
    if ((r = take_body(p, &in, offset, &body)) < 0)
        return r;
    memcpy(&name, ln, LN);
    return dlms_body(p->d, body, &name, offset + 1, time,
                     p->notifications++ == 0);
}

static int inside(struct push *p, struct str content, size_t offset)
{
    struct codec_input in = {.payload = content};

    if (content.n == 0)
        return ERR_DAMAGED;
    switch ((uint8_t)content.p[0]) {
    case DATA_NOTIFICATION:
        return notification(p, content, offset);
    case EVENT_NOTIFICATION:
        return event_notification(p, content, offset);
    case P1_TELEGRAM:
        p->notifications++;
        return codec_iec62056_21.decode(&in, p->d);
    default:
        return ERR_DAMAGED;
    }
}

static int ciphered(struct push *p, struct str apdu, size_t offset)
{
    struct dlms_opened o;
    int r = dlms_open(p->d, p->in, apdu, offset, &o);

    if (r < 0)
        return r;
    struct str maker = {(const char *)o.title, 3};
    if (cosem_printable(maker))
        p->d->manufacturer = maker;
    p->d->sequence = p->d->security_counter = o.counter;
    r = inside(p, o.content, offset);
    if (r == ERR_DAMAGED || (r < 0 && o.guessed && r != ERR_FULL)) {
        p->d->wants = WANTS_KEY;
        return decoded_fail(p->d, ERR_DAMAGED,
                            "DLMS: no notification inside; another key?",
                            offset);
    }
    if (r < 0) /* offsets inside the content mean nothing outside */
        return decoded_fail(p->d, r, p->d->error, offset);
    /* the title is no number that a person reads on the meter: a text */
    r = cosem_add_text(
        p->d, 0, offset, "system-title",
        cosem_hex(p->d->arena,
                  (struct str){(const char *)o.title, DLMS_TITLE}));
    if (r >= 0 && o.unchecked)
        r = cosem_add_text(p->d, 0, offset, "authentication",
                           STR("not checked"));
    return r;
}

/* What else may come, and why it is not read. */
static const struct refusal {
    uint8_t from, to;
    const char *text;
} refusals[] = {
    {0x60, 0x63, "DLMS: an association request or response, no push"},
    {0xC0, 0xC7, "DLMS: a GET, SET or ACTION, no push"},
    {0xC8, 0xD7,
     "DLMS: service-specific ciphering: its system title is in an association"
     " that a push does not show"},
    {0xD8, 0xD8, "DLMS: an exception response, no push"},
    {0xD9, 0xDA, "DLMS: an access request or response, no push"},
    {0xDD, 0xDD, "DLMS: general-ciphering, whose key is agreed or wrapped"},
    {0xDF, 0xDF, "DLMS: general-signing (ECDSA, suites 1 and 2)"},
    {0x00, 0xFF, "DLMS: an APDU that is no data-notification"},
};

static int read_apdu(struct push *p, struct str apdu, size_t offset)
{
    const struct refusal *r = refusals;
    uint8_t tag = (uint8_t)apdu.p[0];

    if (tag == DATA_NOTIFICATION)
        return notification(p, apdu, offset);
    if (tag == EVENT_NOTIFICATION)
        return event_notification(p, apdu, offset);
    if (tag == GENERAL_GLO || tag == GENERAL_DED)
        return ciphered(p, apdu, offset);
    while (tag < r->from || tag > r->to)
        r++;
    return decoded_fail(p->d, ERR_UNSUPPORTED, r->text, offset);
}

/* What was deciphered or joined from parts has no place of its own in the
 * payload: its values stand where the APDU begins. */
static int take_apdu(void *arg, struct str apdu, size_t offset)
{
    struct push *p = arg;
    struct decoded *d = p->d;
    uint32_t before = d->n_measurements;
    uint8_t tag = (uint8_t)apdu.p[0];
    uintptr_t begin = (uintptr_t)p->in->payload.p, at = (uintptr_t)apdu.p;
    bool inside_payload = at >= begin && at < begin + p->in->payload.n;
    int r = read_apdu(p, apdu, offset);

    if (inside_payload && tag != GENERAL_GLO && tag != GENERAL_DED)
        return r;
    for (uint32_t i = before; i < d->n_measurements; i++)
        d->measurements[i].offset = (uint32_t)offset;
    return r;
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct push p = {.in = in, .d = d};
    int r = dlms_apdus(d, in->payload, take_apdu, &p);

    if (r >= 0 && p.notifications == 0)
        return decoded_fail(d, ERR_SHORT, "DLMS: no notification", 0);
    if (d->error_offset > in->payload.n) /* joined blocks, other offsets */
        d->error_offset = 0;
    return r;
}

const struct codec codec_dlms_push = {
    .abi = CODEC_ABI,
    .name = "dlms-push",
    .version = 2,
    .title = "DLMS/COSEM push: notifications over TCP, HDLC or M-Bus",
    .source = "IEC 62056-5-3, -6-2, -46, -47; Green Book ed. 8",
    .medium = MEDIUM_ELECTRICITY,
    .decode = decode,
    .vectors = dlms_push_vectors,
};
