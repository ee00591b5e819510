/*
 * decode_show.c - what came of a decode job: a JSON line for a program, a table
 * for a person. Values in canonical units, exact.
 */
#include "schema/normalise.h"
#include "schema/reading.h"
#include "server/base/buf.h"
#include "server/base/hex.h"
#include "server/cli/decode.h"
#include <stdio.h>

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

static void put_raw(struct buf *o, const char *name, struct str json)
{
    if (json.n)
        buf_printf(o, ",\"%s\":%.*s", name, STR_ARGS(json));
}

/* A payload codec's own result. */
static void put_result(struct buf *o, const struct script_result *r)
{
    put_raw(o, "object", r->data.n ? r->data : STR("null"));
    put_raw(o, "errors", r->errors);
    put_raw(o, "warnings", r->warnings);
    put_raw(o, "normalized", r->normalized);
}

void decode_put_answer(struct buf *o, struct str name, const struct job *j)
{
    buf_z(o, "{\"name\":");
    buf_json_str(o, name);
    if (j->scripted)
        put_result(o, &j->result);
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

enum { SHOWN = 8 }; /* bytes of a reading */

static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.n && i < 16; i++) {
        if ((uint8_t)s.p[i] > '~' ||
            ((uint8_t)s.p[i] < ' ' && !strchr("\r\n\t\2", s.p[i])))
            return false;
    }
    return s.n > 0;
}

/* What the payload holds from a reading on to the next one. Nothing where it is
 * encrypted: those bytes say nothing. */
static const char *reading_bytes(const struct job *j, uint32_t i,
                                 char out[2 * SHOWN + 2])
{
    const struct measurement *m = &j->d.measurements[i];
    struct str s = j->in.payload;
    size_t end = s.n;

    out[0] = 0;
    if (j->in.key || j->scripted || m->offset >= s.n)
        return out;
    while (++i < j->d.n_measurements) {
        if (j->d.measurements[i].offset <= m->offset)
            continue;
        end = j->d.measurements[i].offset;
        break;
    }
    if (end > s.n)
        end = s.n;
    const char *at = s.p + m->offset;
    size_t n = end - m->offset, used = 0;
    if (is_text(s)) {
        while (used < n && used < 2 * SHOWN && at[used] != '\r' &&
               at[used] != '\n') {
            bool printable = at[used] >= ' ' && at[used] <= '~';
            out[used] = printable ? at[used] : '.';
            used++;
        }
        if (n > 2 * SHOWN && used == 2 * SHOWN)
            out[used++] = '+';
    } else {
        hex_encode(at, n < SHOWN ? n : SHOWN, out);
        used = strlen(out);
        if (n > SHOWN)
            out[used++] = '+';
    }
    out[used] = 0;
    return out;
}

static void print_reading(const struct job *j, uint32_t i)
{
    struct arena *a = j->arena;
    const struct decoded *d = &j->d;
    const struct measurement *m = &d->measurements[i];
    char bytes[2 * SHOWN + 2];
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
    meter_time(d->rows[m->row].time, time);
    printf("%6u  %-17s %-36.*s %16s %-6s %-14s %s%s%.*s", m->offset,
           reading_bytes(j, i, bytes), STR_ARGS(what), value,
           n.unit == UNIT_NONE ? "" : unit_name(n.unit), obis, time,
           time[0] && m->text.n ? " " : "", STR_ARGS(m->text));
    for (size_t q = 0; q < sizeof qualities / sizeof *qualities; q++) {
        if ((m->quality | n.quality) & qualities[q].bit)
            printf(" (%s)", qualities[q].word);
    }
    putchar('\n');
}

static void print_result(const struct script_result *r)
{
    printf("object   %.*s\n", STR_ARGS(r->data));
    if (r->warnings.n)
        printf("warnings %.*s\n", STR_ARGS(r->warnings));
    if (r->normalized.n)
        printf("normal   %.*s\n", STR_ARGS(r->normalized));
}

static void print_event(const struct decoded_event *e)
{
    const struct event_type *type = event_type(e->code);
    char time[TIME_TEXT];

    meter_time(e->time, time);
    printf("event    %.*s %s, %s%s%s%s%.*s%s%s\n", STR_ARGS(e->code),
           event_state_name(e->state),
           severity_name(type ? type->severity : SEVERITY_WARNING),
           *time ? ", " : "", time, e->detail.n ? ", " : "",
           STR_ARGS(e->detail), type ? ": " : "", type ? type->text : "");
}

int decode_print_table(const struct job *j)
{
    const struct decoded *d = &j->d;

    if (j->codec)
        print_head(j);
    if (j->scripted)
        print_result(&j->result);
    if (d->n_measurements)
        printf("\noffset  %-17s %-36s %16s %-6s %-14s %s\n", "bytes", "meaning",
               "value", "unit", "register", "time");
    for (uint32_t i = 0; i < d->n_measurements; i++)
        print_reading(j, i);
    for (uint32_t i = 0; i < d->n_events; i++)
        print_event(&d->events[i]);
    if (!j->error.n)
        return 0;
    fflush(stdout);
    return cli_fail("%.*s", STR_ARGS(j->error));
}
