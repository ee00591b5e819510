/*
 * decode_cmd.c - headend decode: bytes of a meter to what they mean, without
 * server or database. HEX (or text) in the arguments gives a table for a
 * person; --jsonl answers each line of standard input with one line:
 *
 *   {"name","codec","hex" or "text","key","auth_key","port"}
 *   {"name","readings":[...],"events":[...],"identity":{...},"error":null}
 *
 * Values are exact decimals as strings, in canonical units. What a broken
 * telegram held before it broke is shown together with the error. Full wireless
 * frames teach the record lists that compact frames of later lines need.
 */
#include "codecs/registry.h"
#include "schema/normalise.h"
#include "schema/reading.h"
#include "server/base/buf.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/json.h"
#include "server/cli/cli.h"
#include <stdio.h>
#include <stdlib.h>

enum { KEY = 16, FORMATS_MAX = 256, ARENA_LIMIT = 64 << 20 };

const struct cli_arg decode_args[] = {
    {"codec", "NAME", false, "see `headend codecs list`; default: auto"},
    {"key", "HEX", false, "16 bytes, for encrypted telegrams"},
    {"auth-key", "HEX", false,
     "16 bytes, for telegrams that are authenticated"
     " with a second key (DLMS)"},
    {"port", "N", false, "LoRaWAN FPort"},
    {"text", NULL, false, "the argument is the payload itself, not hex"},
    {"jsonl", NULL, false, "JSON lines from standard input to standard output"},
    {0}};

/* What is asked and what came of it; dies with the arena. */
struct job {
    struct arena *arena;
    struct codec_input in;
    const struct codec *codec;
    uint8_t key[KEY], auth_key[KEY];
    struct decoded d;
    int err;
    struct str error; /* for a person; empty: none */
};

/* Record lists in the order they were learnt, for the life of the command. */
struct lessons {
    struct arena *arena;
    struct str formats[FORMATS_MAX];
    uint32_t n;
};

static void learn(struct lessons *l, struct str format)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (str_eq(l->formats[i], format))
            return;
    }
    struct str copy = {0};
    if (format.n && l->n < FORMATS_MAX)
        copy = arena_str(l->arena, format);
    if (copy.p)
        l->formats[l->n++] = copy;
}

static void refuse(struct job *j, int err, const char *text)
{
    j->err = err;
    j->error = str_of(text);
}

/* How the kinds that tell themselves apart begin; the radio frame, which only
 * its length betrays, comes last. */
static const struct {
    const char *codec;
    size_t n;
    const char *bytes;
} starts[] = {
    {"heo-json", 1, "{"},
    {"iec62056-21", 1, "/"},
    {"sml", 4, "\x1B\x1B\x1B\x1B"},
    {"dlms-push", 1, "\x7E"},
    {"dlms-push", 2, "\x00\x01"},
    {"mbus", 1, "\x68"},
    {"mbus", 1, "\x08"},
    {"mbus", 1, "\xE5"},
    {"mbus", 1, "\x10"},
};

static const struct codec *recognise(struct str payload)
{
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        if (payload.n >= starts[i].n &&
            memcmp(payload.p, starts[i].bytes, starts[i].n) == 0)
            return codec_find(str_of(starts[i].codec));
    }
    return codec_find(STR("wmbus"));
}

static void choose(struct job *j, struct str codec)
{
    bool automatic = codec.n == 0 || str_is(codec, "auto");

    j->codec = automatic ? recognise(j->in.payload) : codec_find(codec);
    if (!j->codec)
        refuse(j, ERR_UNKNOWN,
               "no such codec; `headend codecs list` shows them");
}

static void take_hex(struct job *j, struct str hex)
{
    uint8_t *p = arena_alloc(j->arena, hex.n / 2 + 1);
    int n = p ? hex_decode(hex, p, hex.n / 2 + 1) : ERR_FULL;

    if (n < 0)
        refuse(j, n, "the payload is not hexadecimal");
    else
        j->in.payload = (struct str){(char *)p, (size_t)n};
}

/* *ret stays NULL when there is none. */
static void take_key(struct job *j, struct str hex, uint8_t bytes[KEY],
                     const uint8_t **ret)
{
    if (hex.n == 0)
        return;
    if (hex_decode(hex, bytes, KEY) == KEY)
        *ret = bytes;
    else
        refuse(j, ERR_FORMAT, "a key is not 16 bytes of hexadecimal");
}

static void run(struct job *j, struct str codec, struct lessons *l)
{
    if (!j->error.n)
        choose(j, codec);
    if (j->error.n)
        return;
    j->in.formats = l->formats;
    j->in.n_formats = l->n;
    j->err = codec_decode(j->codec, &j->in, j->arena, &j->d);
    if (j->err < 0)
        j->error = arena_printf(j->arena, "%s, at byte %u (%s)", j->d.error,
                                j->d.error_offset, err_name(j->err));
    if (j->err < 0 && !j->error.n)
        refuse(j, j->err, err_text(j->err));
    if (j->err == 0)
        learn(l, j->d.format);
}

/* The register, unit and value as the store would keep them; without a
 * register the canonical unit, or the one that was sent. */
static struct normal normal_of(const struct decoded *d,
                               const struct measurement *m)
{
    struct measured in = {.medium = d->medium,
                          .quantity = m->quantity,
                          .unit = m->unit,
                          .value = m->value,
                          .obis = m->obis,
                          .kind = m->kind,
                          .storage = m->storage,
                          .tariff = m->tariff,
                          .subunit = m->subunit,
                          .phase = m->phase,
                          .maximum = m->function == FUNCTION_MAX,
                          .minimum = m->function == FUNCTION_MIN,
                          .export_ = m->flags & MEASURED_EXPORT,
                          .uncorrected = m->flags & MEASURED_UNCORRECTED,
                          .base = m->flags & MEASURED_BASE};
    struct normal n;

    if (!(m->flags & MEASURED_RATE) && m->text.n == 0 &&
        normalise(&in, &n) == 0)
        return n;
    n = (struct normal){.obis = OBIS_NONE, .unit = m->unit, .value = m->value};
    if (m->value.mantissa != VALUE_NONE &&
        unit_convert(m->value, m->unit, &n.value) == 0)
        n.unit = unit_canonical(m->unit);
    return n;
}

static const char *function_name(enum function f)
{
    static const char *const names[] = {"inst", "max", "min", "error"};
    return (unsigned)f <= FUNCTION_ERROR ? names[f] : "?";
}

/* Local times have no Z; the empty text stands for none. */
static const char *meter_time(struct meter_time t, char text[TIME_TEXT])
{
    text[0] = 0;
    if (t.form == METER_TIME_NONE)
        return text;
    time_text(t.us, text);
    if (t.form == METER_TIME_LOCAL)
        text[strlen(text) - 1] = 0;
    return text;
}

static const struct word {
    uint32_t bit;
    const char *word;
} qualities[] = {
    {QUALITY_METER_ERROR, "meter-error"}, {QUALITY_UNIT_KEPT, "unit-kept"},
    {QUALITY_INVALID, "invalid"},         {QUALITY_UNPROTECTED, "unprotected"},
    {QUALITY_SUSPECT, "suspect"},
};

static void put_member(struct buf *o, const char *name, struct str value)
{
    buf_printf(o, ",\"%s\":", name);
    if (value.n)
        buf_json_str(o, value);
    else
        buf_z(o, "null");
}

static void put_qualities(struct buf *o, uint32_t quality)
{
    const char *comma = "";

    buf_z(o, ",\"quality\":[");
    for (size_t i = 0; i < sizeof qualities / sizeof *qualities; i++) {
        if (!(quality & qualities[i].bit))
            continue;
        buf_printf(o, "%s\"%s\"", comma, qualities[i].word);
        comma = ",";
    }
    buf_z(o, "]");
}

static void put_reading(struct buf *o, const struct decoded *d,
                        const struct measurement *m)
{
    struct normal n = normal_of(d, m);
    char obis[OBIS_TEXT] = "", value[DECIMAL_TEXT] = "", time[TIME_TEXT];

    if (!obis_is_none(n.obis))
        obis_text(n.obis, obis);
    if (n.value.mantissa != VALUE_NONE)
        decimal_text(n.value, value);
    buf_z(o, "{\"quantity\":");
    buf_json_str(o, str_of(quantity_name(m->quantity)));
    put_member(o, "obis", str_of(obis));
    put_member(o, "value", str_of(value));
    put_member(o, "unit", str_of(unit_name(n.unit)));
    buf_printf(o, ",\"storage\":%u,\"tariff\":%u,\"function\":\"%s\"",
               m->storage, m->tariff, function_name(m->function));
    put_member(o, "time", str_of(meter_time(d->rows[m->row].time, time)));
    if (m->text.n)
        put_member(o, "text", m->text);
    put_qualities(o, m->quality | n.quality);
    buf_printf(o, ",\"offset\":%u}", m->offset);
}

static void put_event(struct buf *o, const struct decoded_event *e)
{
    char time[TIME_TEXT];

    buf_z(o, "{\"code\":");
    buf_json_str(o, e->code);
    put_member(o, "state", str_of(event_state_name(e->state)));
    put_member(o, "time", str_of(meter_time(e->time, time)));
    put_member(o, "detail", e->detail);
    buf_z(o, "}");
}

static void put_identity(struct buf *o, const struct decoded *d)
{
    char time[TIME_TEXT];

    buf_z(o, ",\"identity\":{\"medium\":");
    buf_json_str(o, str_of(medium_name(d->medium)));
    put_member(o, "id", d->serial);
    put_member(o, "manufacturer", d->manufacturer);
    if (d->version >= 0)
        buf_printf(o, ",\"version\":%d", d->version);
    if (d->device_type >= 0)
        buf_printf(o, ",\"device_type\":%d", d->device_type);
    put_member(o, "clock", str_of(meter_time(d->clock, time)));
    buf_z(o, "}");
}

static void put_answer(struct buf *o, struct str name, const struct job *j)
{
    buf_z(o, "{\"name\":");
    buf_json_str(o, name);
    buf_z(o, ",\"readings\":[");
    for (uint32_t i = 0; i < j->d.n_measurements; i++) {
        buf_z(o, i ? "," : "");
        put_reading(o, &j->d, &j->d.measurements[i]);
    }
    buf_z(o, "],\"events\":[");
    for (uint32_t i = 0; i < j->d.n_events; i++) {
        buf_z(o, i ? "," : "");
        put_event(o, &j->d.events[i]);
    }
    buf_z(o, "]");
    put_identity(o, &j->d);
    put_member(o, "error", j->error);
    buf_z(o, "}\n");
}

static void answer_line(struct arena *a, struct str line, struct lessons *l,
                        struct buf *o)
{
    struct job j = {.arena = a, .d = {.version = -1, .device_type = -1}};
    struct json_error why;
    struct json *ask = NULL;
    int64_t port = 0;

    if (json_parse(a, line, (struct json_limits){0}, &ask, &why) < 0) {
        refuse(&j, ERR_FORMAT, why.text);
        put_answer(o, STR(""), &j);
        return;
    }
    struct str hex = json_str(json_get(ask, "hex"));
    take_key(&j, json_str(json_get(ask, "key")), j.key, &j.in.key);
    take_key(&j, json_str(json_get(ask, "auth_key")), j.auth_key,
             &j.in.auth_key);
    if (hex.n)
        take_hex(&j, hex);
    else
        j.in.payload = json_str(json_get(ask, "text"));
    if (json_int(json_get(ask, "port"), &port) && port >= 0 && port <= 255)
        j.in.port = (int)port;
    run(&j, json_str(json_get(ask, "codec")), l);
    put_answer(o, json_str(json_get(ask, "name")), &j);
}

static int answer_lines(struct arena *a, struct lessons *l)
{
    struct buf o = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct str text = str_trim((struct str){line, (size_t)n});
        if (text.n == 0)
            continue;
        arena_reset(a);
        buf_clear(&o);
        answer_line(a, text, l, &o);
        if (fwrite(o.p, 1, o.n, stdout) != o.n || fflush(stdout) != 0)
            break;
    }
    buf_done(&o);
    free(line);
    return ferror(stdin) || ferror(stdout) ? cli_fail("standard input or output"
                                                      " failed")
                                           : 0;
}

static void print_head(const struct job *j)
{
    const struct decoded *d = &j->d;
    char time[TIME_TEXT];

    printf("codec    %s v%u, %s\n", j->codec->name, j->codec->version,
           j->codec->title);
    printf("medium   %s\n", medium_name(d->medium));
    if (d->serial.n)
        printf("serial   %.*s\n", STR_ARGS(d->serial));
    if (d->manufacturer.n)
        printf("maker    %.*s\n", STR_ARGS(d->manufacturer));
    if (d->version >= 0)
        printf("version  %d\n", d->version);
    if (d->clock.form != METER_TIME_NONE)
        printf("clock    %s%s\n", meter_time(d->clock, time),
               d->clock.invalid ? " (invalid)" : "");
}

static void print_reading(struct arena *a, const struct decoded *d,
                          const struct measurement *m)
{
    struct normal n = normal_of(d, m);
    struct str what = arena_printf(a, "%s%.*s", quantity_name(m->quantity),
                                   STR_ARGS(decoded_modifiers(a, m)));
    char obis[OBIS_TEXT] = "", value[DECIMAL_TEXT] = "", time[TIME_TEXT];

    if (!obis_is_none(n.obis))
        obis_text(n.obis, obis);
    if (n.value.mantissa != VALUE_NONE)
        decimal_text(n.value, value);
    else if (m->text.n == 0)
        snprintf(value, sizeof value, "none");
    printf("%6u  %-40.*s %18s %-6s %-14s %s%.*s", m->offset, STR_ARGS(what),
           value, n.unit == UNIT_NONE ? "" : unit_name(n.unit), obis,
           meter_time(d->rows[m->row].time, time), STR_ARGS(m->text));
    for (size_t i = 0; i < sizeof qualities / sizeof *qualities; i++) {
        if ((m->quality | n.quality) & qualities[i].bit)
            printf(" (%s)", qualities[i].word);
    }
    putchar('\n');
}

static int print_table(const struct job *j)
{
    const struct decoded *d = &j->d;

    if (j->codec)
        print_head(j);
    if (d->n_measurements)
        printf("\noffset  %-40s %18s %-6s %-14s %s\n", "meaning", "value",
               "unit", "register", "time");
    for (uint32_t i = 0; i < d->n_measurements; i++)
        print_reading(j->arena, d, &d->measurements[i]);
    for (uint32_t i = 0; i < d->n_events; i++)
        printf("event    %.*s %s %.*s\n", STR_ARGS(d->events[i].code),
               event_state_name(d->events[i].state),
               STR_ARGS(d->events[i].detail));
    if (!j->error.n)
        return 0;
    fflush(stdout);
    return cli_fail("%.*s", STR_ARGS(j->error));
}

static int show_one(struct cli *c, struct arena *a, struct lessons *l)
{
    struct job j = {.arena = a, .d = {.version = -1, .device_type = -1}};
    const char *key = cli_get(c, decode_args, "key");
    const char *auth_key = cli_get(c, decode_args, "auth-key");
    const char *codec = cli_get(c, decode_args, "codec");
    const char *port = cli_get(c, decode_args, "port");
    char *end = NULL;

    if (port) {
        j.in.port = (int)strtol(port, &end, 10);
        if (!*port || *end || j.in.port < 0 || j.in.port > 255)
            return cli_fail("--port %s: a number from 0 to 255", port);
    }
    take_key(&j, str_of(key), j.key, &j.in.key);
    take_key(&j, str_of(auth_key), j.auth_key, &j.in.auth_key);
    if (cli_get(c, decode_args, "text"))
        j.in.payload = str_of(c->free[0]);
    else
        take_hex(&j, str_of(c->free[0]));
    run(&j, str_of(codec), l);
    return print_table(&j);
}

int cmd_decode(struct cli *c)
{
    struct arena *a = arena_new(ARENA_LIMIT);
    struct lessons l = {.arena = arena_new(0)};
    bool lines = cli_get(c, decode_args, "jsonl") != NULL;
    int status = 2;

    if (lines == (c->n_free > 0))
        cli_fail("either HEX or --jsonl; see `headend help decode`");
    else
        status = lines ? answer_lines(a, &l) : show_one(c, a, &l);
    arena_free(l.arena);
    arena_free(a);
    return status;
}
