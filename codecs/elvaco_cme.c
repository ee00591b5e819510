/*
 * elvaco_cme.c - what Elvaco's CMe gateways push of an M-Bus meter: the raw
 * value report (templates 1001, 2001, 3001, 4001), CSV.
 *
 * Source: Elvaco, report templates of HTTP, FTP and MQTT; the columns of other
 * templates are not public. A line for each telegram, with or without a header:
 *   serial-number;device-identification;created;value-data-count;mbus-raw-value
 * The last is the frame from its C field on, without checksum, in hex that may
 * hold blanks. Separated by ; , or tab; columns are found by the header's
 * names, else by their place. One payload tells of one meter.
 *
 * Readings get the time at which the gateway read them (`created`, local): it
 * is set by NTP, the meter's own clock is kept beside it as a text.
 */
#include "codecs/cosem.h"
#include "schema/reading.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/hex.h"

extern const struct codec codec_mbus;

enum { COLUMN_METER, COLUMN_CREATED, COLUMN_RAW, COLUMNS };
enum { FIELDS = 32, RAW_MOST = 512 };

struct report {
    const struct codec_input *in;
    struct decoded *d;
    char separator;
    int columns[COLUMNS]; /* which field */
    struct str meter;     /* of the first line; empty before */
};

static size_t offset_of(const struct report *r, struct str s)
{
    return (size_t)(s.p - r->in->payload.p);
}

/* The next stretch up to `separator`; false at the end. */
static bool next(struct str *rest, char separator, struct str *ret)
{
    if (rest->p == NULL)
        return false;
    const char *end = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
    *ret = *rest;
    if (end) {
        ret->n = (size_t)(end - rest->p);
        *rest = (struct str){end + 1, rest->n - ret->n - 1};
    } else {
        *rest = (struct str){0};
    }
    return true;
}

static int split(struct str line, char separator, struct str fields[FIELDS])
{
    int n = 0;

    while (n < FIELDS && next(&line, separator, &fields[n]))
        n++;
    return n;
}

/* True: the line was a header, and its columns are known now. */
static bool take_header(struct report *r, struct str line)
{
    static const char *const names[COLUMNS] = {"device-identification",
                                               "created", "mbus-raw-value"};
    static const char separators[] = {';', ',', '\t'};
    struct str fields[FIELDS];
    bool header = false;

    for (size_t i = 0; i < sizeof(separators); i++) {
        r->separator = separators[i];
        if (memchr(line.p, separators[i], line.n))
            break;
    }
    int n = split(line, r->separator, fields);
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < COLUMNS; c++) {
            if (!str_is(str_trim(fields[i]), names[c]))
                continue;
            r->columns[c] = i;
            header = true;
        }
    }
    return header;
}

/* Hex without its blanks, as bytes in the arena. */
static int take_raw(struct report *r, struct str field, struct str *ret)
{
    char hex[2 * RAW_MOST];
    size_t n = 0;

    for (size_t i = 0; i < field.n; i++) {
        if (field.p[i] == ' ' || field.p[i] == '\r')
            continue;
        if (n == sizeof(hex))
            return decoded_fail(r->d, ERR_FORMAT, "CMe: raw value too long",
                                offset_of(r, field));
        hex[n++] = field.p[i];
    }
    uint8_t *p = arena_alloc(r->d->arena, RAW_MOST);
    int size = p ? hex_decode((struct str){hex, n}, p, RAW_MOST) : ERR_FULL;
    if (size <= 0)
        return decoded_fail(r->d, ERR_FORMAT, "CMe: raw value is not hex",
                            offset_of(r, field));
    *ret = (struct str){(const char *)p, (size_t)size};
    return 0;
}

/* What one telegram held joins the report; its row 0 becomes `time`. */
static int join(struct report *r, const struct decoded *t,
                struct meter_time time, size_t at)
{
    struct decoded *d = r->d;
    uint32_t first;
    char clock[TIME_TEXT];
    int err = decoded_add_row(d, time, &first);

    for (uint32_t i = 1; i < t->n_rows && err >= 0; i++) {
        uint32_t row;
        err = decoded_add_row(d, t->rows[i].time, &row);
    }
    for (uint32_t i = 0; i < t->n_measurements && err >= 0; i++) {
        struct measurement m = t->measurements[i];
        m.row += first;
        m.offset = (uint32_t)at;
        err = decoded_add(d, &m);
    }
    for (uint32_t i = 0; i < t->n_events && err >= 0; i++)
        err = decoded_add_event(d, &t->events[i]);
    if (err >= 0 && t->clock.form != METER_TIME_NONE && !t->clock.invalid)
        err = cosem_add_text(d, first, at, "meter-clock",
                             str_of(time_text(t->clock.us, clock)));
    d->medium = t->medium;
    d->serial = t->serial;
    d->manufacturer = t->manufacturer;
    d->version = t->version;
    d->device_type = t->device_type;
    return err;
}

static int take_line(struct report *r, struct str line)
{
    struct codec_input in = {.key = r->in->key,
                             .formats = r->in->formats,
                             .n_formats = r->in->n_formats};
    struct str fields[FIELDS];
    struct stamp stamp;
    struct decoded t;
    int n = split(line, r->separator, fields);

    for (int c = 0; c < COLUMNS; c++) {
        if (r->columns[c] >= n)
            return decoded_fail(r->d, ERR_SHORT, "CMe: a column is missing",
                                offset_of(r, line) + line.n);
    }
    struct str meter = str_trim(fields[r->columns[COLUMN_METER]]);
    struct str created = str_trim(fields[r->columns[COLUMN_CREATED]]);
    struct str raw = fields[r->columns[COLUMN_RAW]];
    if (r->meter.n && !str_eq(meter, r->meter))
        return decoded_fail(r->d, ERR_UNSUPPORTED,
                            "CMe: a report of several meters: one payload is"
                            " one meter's",
                            offset_of(r, meter));
    r->meter = meter;
    if (stamp_parse(created, &stamp) < 0)
        return decoded_fail(r->d, ERR_FORMAT, "CMe: created is no time",
                            offset_of(r, created));
    int err = take_raw(r, raw, &in.payload);
    if (err < 0 || (err = decoded_init(&t, r->d->arena)) < 0)
        return err;
    if ((err = codec_mbus.decode(&in, &t)) < 0)
        return decoded_fail(r->d, err, t.error ? t.error : err_text(err),
                            offset_of(r, raw));
    return join(
        r, &t,
        (struct meter_time){stamp.has_zone ? METER_TIME_UTC : METER_TIME_LOCAL,
                            stamp.us, false, -1},
        offset_of(r, raw));
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct report r = {.in = in, .d = d, .columns = {1, 2, 4}};
    struct str rest = in->payload, line;
    bool first = true;
    uint32_t telegrams = 0;
    int err = 0;

    while (err >= 0 && next(&rest, '\n', &line)) {
        if (str_trim(line).n == 0)
            continue;
        if (!first || !take_header(&r, line)) {
            err = take_line(&r, line);
            telegrams++;
        }
        first = false;
    }
    if (err >= 0 && telegrams == 0)
        return decoded_fail(d, ERR_SHORT, "CMe: a header and nothing else",
                            in->payload.n);
    return err;
}

static const struct codec_vector vectors[] = {
    {.name = "the public example",
     .text = "00000161;05047168;2009-12-17 00:00:00;00;08147268710405ac484"
             "103470000000c1480769604046dba092e1a426c2a194c140000000042ec7"
             "e3f1c0fc010010c",
     .expect = "gas; serial 05047168; manufacturer REL; @2009-12-17T00:00:00"
               "; volume 49676.80 m3; @2009-09-10T00:00:00; volume [storage "
               "1] 0.00 m3; date [storage 1, extra] 2009-12-31; @2009-12-17T"
               "00:00:00; manufacturer c010010c"},
    {.name = "a header, two telegrams",
     .text = "serial-number;device-identification;created;value-data-count"
             ";mbus-raw-value\r\n0016123456;12345678;2026-01-15 12:00:00;0"
             "0;08057278563412 2D2C1B07550000000413181E0000025B1500\r\n001"
             "6123456;12345678;2026-01-15 13:00:00;00;08057278563412 2D2C1"
             "B07550000000413181E0000025B1500\r\n",
     .expect = "water; serial 12345678; manufacturer KAM; @2026-01-15T12:00:"
               "00; volume 7.704 m3; flow-temperature 21 Cel; @2026-01-15T13"
               ":00:00; volume 7.704 m3; flow-temperature 21 Cel"},
    {.name = "columns in another order, commas",
     .text = "created,mbus-raw-value,device-identification\n2026-01-15 12:"
             "00:00,08057278563412 2D2C1B07550000000413181E0000025B1500,12"
             "345678\n",
     .expect = "water; serial 12345678; manufacturer KAM; @2026-01-15T12:00:"
               "00; volume 7.704 m3; flow-temperature 21 Cel"},
    {.name = "two meters",
     .text = "00000161;05047168;2009-12-17 00:00:00;00;08147268710405ac484"
             "103470000000c1480769604046dba092e1a426c2a194c140000000042ec7"
             "e3f1c0fc010010c\n00000161;05047169;2009-12-17 00:00:00;00;08"
             "147268710405ac484103470000000c1480769604046dba092e1a426c2a19"
             "4c140000000042ec7e3f1c0fc010010c",
     .err = ERR_UNSUPPORTED},
    {.name = "a column is missing",
     .text = "00000161;05047168;2009-12-17 00:00:00;00",
     .err = ERR_SHORT},
    {.name = "raw value cut off",
     .text = "00000161;05047168;2009-12-17 00:00:00;00;08147268710405ac484"
             "103470000000c1480769604046dba092e1a426c2a194c140000000042ec7"
             "e3f1c0fc010010",
     .err = ERR_FORMAT},
    {.name = "a record of the telegram cut off",
     .text = "00000161;05047168;2009-12-17 00:00:00;00;08147268710405ac484"
             "103470000000c1480769604046dba092e1a426c2",
     .err = ERR_FORMAT},
    {.name = "created is no time",
     .text = "00000161;05047168;2009-13-17 00:00:00;00;08147268710405ac484"
             "103470000000c1480769604046dba092e1a426c2a194c140000000042ec7"
             "e3f1c0fc010010c",
     .err = ERR_FORMAT},
    {.name = "a header alone",
     .text = "serial-number;device-identification;created;value-data-count"
             ";mbus-raw-value\r\n",
     .err = ERR_SHORT},
    {0},
};

const struct codec codec_elvaco_cme = {
    .abi = CODEC_ABI,
    .name = "elvaco-cme",
    .version = 1,
    .title = "Elvaco CMe gateways, raw value report",
    .source = "Elvaco report templates x001; EN 13757-3",
    .medium = MEDIUM_OTHER,
    .decode = decode,
    .vectors = vectors,
};
