/*
 * heo_json.c - HEO G4/G6 gas meters over TCP: HEO-JSON, version 1.
 *
 * Source: our own proposal. The maker publishes no protocol, only a leaflet
 * with what the meter sends; the words and archive columns are from there.
 * The payload is one object: "hello" (who, clock, battery, signal, valve),
 * "data" (archive rows; of kind "event": ts, code, state), "alarm" (events),
 * "res" (outcome of a command). The talk around them ("ack", "nak", "cmd",
 * "bye") is shown and stores nothing.
 *
 * Decisions: v_work and v_std are independent cumulative registers (in the
 * leaflet's sample they do not obey V * W) and the sums are kept beside them as
 * channel B = 128. Numbers keep the decimals they were sent with, as a JSON
 * number or as text with a point or a comma. A time without zone is the
 * meter's local time. A member or column that is not known becomes a text.
 */
#include "codecs/heo_json.h"
#include "codecs/extras.h"
#include "schema/reading.h"
#include "server/base/err.h"

enum { DEPTH_MAX = 8, NAME_MAX_BYTES = 64, COLUMNS_MAX = 64 };

struct doc {
    struct decoded *d;
    struct str payload;
    const struct json *root;
};

/* What a number stands for. */
struct column {
    const char *name;
    enum quantity quantity;
    enum unit unit;
    struct obis obis;
    enum value_kind kind;
    uint32_t flags;
    int exp10; /* as the maker's archive prints it: 4706 and "4706,0000" are
                  one value and must be one capture; finer values stay */
};

static const struct column hello_columns[] = {
    {"bat",
     Q_BATTERY_PERCENT,
     UNIT_PERCENT,
     {0, 0, 96, 6, 1, 255},
     KIND_INSTANT,
     0,
     0},
    {"batv",
     Q_BATTERY_VOLTAGE,
     UNIT_V,
     {0, 0, 96, 6, 3, 255},
     KIND_INSTANT,
     0,
     -2},
    {"rssi", Q_SIGNAL, UNIT_DBM, {0, 0, 96, 12, 5, 255}, KIND_INSTANT, 0, 0},
    {0},
};

/* 1 open (connected), 0 closed */
static const struct column valve_column = {
    "valve", Q_VALVE, UNIT_NONE, {0, 0, 96, 3, 10, 255}, KIND_INSTANT, 0, 0};

static const struct column data_columns[] = {
    {"p_kpa", Q_PRESSURE, UNIT_KPA, {7, 0, 42, 0, 0, 255}, KIND_INSTANT, 0, -3},
    {"t_c",
     Q_FLOW_TEMPERATURE,
     UNIT_CEL,
     {7, 0, 41, 0, 0, 255},
     KIND_INSTANT,
     0,
     -2},
    {"w",
     Q_CONVERSION_FACTOR,
     UNIT_NONE,
     {7, 0, 52, 0, 0, 255},
     KIND_INSTANT,
     0,
     -4},
    {"v_work",
     Q_VOLUME,
     UNIT_M3,
     {7, 0, 3, 0, 0, 255},
     KIND_CUMULATIVE,
     MEASURED_UNCORRECTED,
     -4},
    {"v_std",
     Q_VOLUME,
     UNIT_M3,
     {7, 0, 13, 2, 0, 255},
     KIND_CUMULATIVE,
     MEASURED_BASE,
     -4},
    {"sum_v_work",
     Q_VOLUME,
     UNIT_M3,
     {7, 128, 3, 0, 0, 255},
     KIND_CUMULATIVE,
     MEASURED_UNCORRECTED,
     -4},
    {"sum_v_std",
     Q_VOLUME,
     UNIT_M3,
     {7, 128, 13, 2, 0, 255},
     KIND_CUMULATIVE,
     MEASURED_BASE,
     -4},
    {0},
};

/* The archive's own order, used where "cols" is not sent. */
static const char *const default_cols[] = {
    "ts", "p_kpa", "t_c", "w", "v_work", "v_std", "sum_v_work", "sum_v_std",
};

/* Where a value stands; 0 when the parser had to copy it. */
static size_t offset_of(const struct doc *doc, const struct json *v)
{
    uintptr_t p = v ? (uintptr_t)v->text.p : 0;
    uintptr_t start = (uintptr_t)doc->payload.p;

    return p >= start && p <= start + doc->payload.n ? p - start : 0;
}

static int fail(struct doc *doc, int err, const char *text,
                const struct json *at)
{
    return decoded_fail(doc->d, err, text, offset_of(doc, at));
}

static const struct column *find_column(const struct column *columns,
                                        struct str name)
{
    for (; columns->name; columns++) {
        if (str_is(name, columns->name))
            return columns;
    }
    return NULL;
}

static bool is_one_of(struct str name, const char *const *names)
{
    for (; *names; names++) {
        if (str_is(name, *names))
            return true;
    }
    return false;
}

/* All members that `known` does not name become texts of row 0. */
static int keep_unknown(struct doc *doc, const char *const *known)
{
    int r;

    json_each (member, doc->root) {
        if (is_one_of(member->name, known))
            continue;
        if (member->name.n > NAME_MAX_BYTES)
            return fail(doc, ERR_FORMAT, "member name over 64 bytes", member);
        if ((r = extras_add(doc->d, 0, member->name, member)) < 0)
            return r;
    }
    return 0;
}

/* Adds the number v; null and an empty text mean that there is none. */
static int add_number(struct doc *doc, uint32_t row, const struct column *c,
                      enum unit unit, const struct json *v)
{
    struct str text = str_trim(extras_text(v));
    struct measurement m = {.row = row,
                            .quantity = c->quantity,
                            .unit = unit,
                            .obis = c->obis,
                            .kind = c->kind,
                            .flags = c->flags};
    struct decimal one = {1, 0}, fixed; /* one of `unit` in canonical units */

    if (!v || v->type == JSON_NULL || (v->type == JSON_STRING && text.n == 0))
        return 0;
    if ((v->type != JSON_NUMBER && v->type != JSON_STRING) ||
        decimal_parse(text, &m.value) < 0)
        return fail(doc, ERR_FORMAT, "HEO-JSON: not a number, or too long", v);
    unit_convert(one, unit, &one);
    if (decimal_rescale(m.value, c->exp10 - one.exp10, &fixed) == 0)
        m.value = fixed;
    m.offset = (uint32_t)offset_of(doc, v);
    return decoded_add(doc->d, &m);
}

static int read_time(struct doc *doc, const struct json *v,
                     struct meter_time *ret)
{
    struct stamp st;

    if (!v || v->type != JSON_STRING || stamp_parse(str_trim(v->text), &st) < 0)
        return fail(doc, ERR_FORMAT, "HEO-JSON: time missing or not a time", v);
    *ret = (struct meter_time){
        .form = st.has_zone ? METER_TIME_UTC : METER_TIME_LOCAL,
        .us = st.us,
        .dst = -1,
    };
    return 0;
}

static int add_valve(struct doc *doc, const struct json *v)
{
    struct str text = extras_text(v);
    bool open = str_is(text, "open");
    struct measurement m = {.quantity = valve_column.quantity,
                            .unit = valve_column.unit,
                            .value = {open, 0},
                            .obis = valve_column.obis,
                            .kind = valve_column.kind};

    if (open || str_is(text, "closed") || str_is(text, "close"))
        return decoded_add(doc->d, &m);
    return extras_add(doc->d, 0, STR("valve"), v); /* "fault", "none", ... */
}

static int decode_hello(struct doc *doc)
{
    /* "auth" is checked by the session and proves nothing later */
    static const char *const known[] = {"t",    "v",    "sn",    "clk",  "bat",
                                        "batv", "rssi", "valve", "auth", NULL};
    const struct json *clk = json_get(doc->root, "clk");
    const struct json *valve = json_get(doc->root, "valve");
    int r = 0;

    if (clk && (r = read_time(doc, clk, &doc->d->clock)) < 0)
        return r;
    doc->d->rows[0].time = doc->d->clock;
    for (const struct column *c = hello_columns; c->name; c++) {
        r = add_number(doc, 0, c, c->unit, json_get(doc->root, c->name));
        if (r < 0)
            return r;
    }
    if (valve && (r = add_valve(doc, valve)) < 0)
        return r;
    return keep_unknown(doc, known);
}

/* The columns of the rows that are arrays. */
struct table {
    struct str names[COLUMNS_MAX];
    uint32_t n;
    enum unit volume; /* unit of the volumes */
};

static int read_table(struct doc *doc, struct table *t)
{
    const struct json *cols = json_get(doc->root, "cols");
    const struct json *unit = json_get(doc->root, "unit");

    *t = (struct table){.volume = UNIT_M3};
    if (unit && (unit_parse(json_str(unit), &t->volume) < 0 ||
                 unit_canonical(t->volume) != UNIT_M3))
        return fail(doc, ERR_FORMAT, "HEO-JSON: unit is no unit of volume",
                    unit);
    if (!cols) {
        for (; t->n < sizeof(default_cols) / sizeof(*default_cols); t->n++)
            t->names[t->n] = str_of(default_cols[t->n]);
        return 0;
    }
    if (cols->type != JSON_ARRAY || cols->count > COLUMNS_MAX)
        return fail(doc, ERR_FORMAT, "HEO-JSON: cols is no list of up to 64",
                    cols);
    json_each (name, cols) {
        if (name->type != JSON_STRING || name->text.n > NAME_MAX_BYTES)
            return fail(doc, ERR_FORMAT, "HEO-JSON: column name is no word",
                        name);
        for (uint32_t i = 0; i < t->n; i++) {
            if (str_eq(t->names[i], name->text))
                return fail(doc, ERR_FORMAT, "HEO-JSON: column named twice",
                            name);
        }
        t->names[t->n++] = name->text;
    }
    return 0;
}

static int add_cell(struct doc *doc, const struct table *t, uint32_t row,
                    struct str name, const struct json *v)
{
    const struct column *c = find_column(data_columns, name);

    if (str_is(name, "ts"))
        return 0;
    if (name.n > NAME_MAX_BYTES)
        return fail(doc, ERR_FORMAT, "member name over 64 bytes", v);
    if (!c)
        return extras_add(doc->d, row, name, v);
    return add_number(doc, row, c, c->unit == UNIT_M3 ? t->volume : c->unit, v);
}

/* The cell of a row under that name; NULL when there is none. */
static const struct json *cell(const struct table *t, const struct json *row,
                               const char *name)
{
    if (row->type == JSON_OBJECT)
        return json_get(row, name);
    for (uint32_t i = 0; i < t->n; i++) {
        if (str_is(t->names[i], name))
            return json_at(row, i);
    }
    return NULL;
}

static int decode_row(struct doc *doc, const struct table *t,
                      const struct json *row)
{
    struct meter_time time;
    uint32_t index, i = 0;
    int r;

    if (row->type != JSON_OBJECT &&
        (row->type != JSON_ARRAY || row->count > t->n))
        return fail(doc, ERR_FORMAT, "HEO-JSON: row does not fit its columns",
                    row);
    if ((r = read_time(doc, cell(t, row, "ts"), &time)) < 0 ||
        (r = decoded_add_row(doc->d, time, &index)) < 0)
        return r;
    json_each (v, row) {
        struct str name = row->type == JSON_OBJECT ? v->name : t->names[i++];

        if ((r = add_cell(doc, t, index, name, v)) < 0)
            return r;
    }
    return 0;
}

/* The meter's words for what schema/event.c knows under another code. */
static const struct alarm_code {
    const char *word, *code;
} alarm_codes[] = {
    {"battery_cover_open", "tamper.battery_cover_open"},
    {"case_open", "tamper.case_open"},
    {"magnet", "tamper.magnet"},
    {"gas_leak", "gas.leak"},
    {"leak", "gas.leak"},
    {"flow_high", "gas.flow_high"},
    {"flow_reverse", "gas.flow_reverse"},
    {"temp_high", "gas.temp_high"},
    {"temp_low", "gas.temp_low"},
    {"sensor_fault", "gas.sensor_fault"},
    {"valve_open", "valve.open"},
    {"valve_closed", "valve.closed"},
    {"valve_fault", "valve.fault"},
    {"battery_low", "battery.low"},
    {"battery_critical", "battery.critical"},
    {"signal_low", "modem.signal_low"},
    {"clock_corrected", "clock.corrected"},
    {"params_changed", "params.changed"},
    {"archive_full", "archive.full"},
};

static struct str alarm_code(struct str word)
{
    for (size_t i = 0; i < sizeof(alarm_codes) / sizeof(*alarm_codes); i++) {
        if (str_is(word, alarm_codes[i].word))
            return str_of(alarm_codes[i].code);
    }
    return word;
}

static int read_state(struct doc *doc, const struct json *v,
                      enum event_state *ret)
{
    static const struct {
        const char *word;
        enum event_state state;
    } words[] = {{"1", EVENT_START},     {"0", EVENT_END},
                 {"true", EVENT_START},  {"false", EVENT_END},
                 {"start", EVENT_START}, {"end", EVENT_END},
                 {"pulse", EVENT_PULSE}};
    struct str text = extras_text(v);

    *ret = EVENT_PULSE;
    if (!v)
        return 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (str_is(text, words[i].word)) {
            *ret = words[i].state;
            return 0;
        }
    }
    return fail(doc, ERR_FORMAT, "HEO-JSON: state is neither 0 nor 1", v);
}

/* Further members of an alarm: "value=3 unit=m3/h". */
static int read_detail(struct doc *doc, const struct json *item,
                       struct str *ret)
{
    static const char *const known[] = {"ts", "code", "state", NULL};
    struct str all = {0};

    json_each (member, item) {
        struct str text = extras_text(member);

        if (is_one_of(member->name, known))
            continue;
        if (member->name.n > NAME_MAX_BYTES || !text.p || all.n + text.n > 1024)
            return fail(doc, ERR_FORMAT, "HEO-JSON: alarm member too large",
                        member);
        all = arena_printf(doc->d->arena, "%.*s%s%.*s=%.*s", STR_ARGS(all),
                           all.n ? " " : "", STR_ARGS(member->name),
                           STR_ARGS(text));
    }
    *ret = all;
    return 0;
}

/* One event: an item of an alarm, or a row of the archive of events. */
static int decode_event(struct doc *doc, const struct json *ts,
                        const struct json *code, const struct json *state,
                        const struct json *item)
{
    struct decoded_event e = {.time.dst = -1};
    int r;

    e.code = alarm_code(json_str(code));
    if (e.code.n == 0 || e.code.n > NAME_MAX_BYTES)
        return fail(doc, ERR_FORMAT, "HEO-JSON: event without code", item);
    if ((r = read_time(doc, ts, &e.time)) < 0 ||
        (r = read_state(doc, state, &e.state)) < 0)
        return r;
    if (item->type == JSON_OBJECT &&
        (r = read_detail(doc, item, &e.detail)) < 0)
        return r;
    return decoded_add_event(doc->d, &e);
}

static int decode_data(struct doc *doc)
{
    /* hour is the usual archive; another kind is kept as a text */
    static const char *const known[] = {"t",    "v",    "sn",   "seq", "rows",
                                        "cols", "unit", "kind", NULL};
    const struct json *rows = json_get(doc->root, "rows");
    const struct json *kind = json_get(doc->root, "kind");
    struct table t;
    int r;

    if (!rows || rows->type != JSON_ARRAY)
        return fail(doc, ERR_FORMAT, "HEO-JSON: data without rows", rows);
    if ((r = read_table(doc, &t)) < 0)
        return r;
    if (str_is(json_str(kind), "event")) {
        json_each (row, rows) {
            if ((r = decode_event(doc, cell(&t, row, "ts"),
                                  cell(&t, row, "code"), cell(&t, row, "state"),
                                  row)) < 0)
                return r;
        }
        return keep_unknown(doc, known);
    }
    if (kind && !str_is(json_str(kind), "hour") &&
        (r = extras_add(doc->d, 0, STR("kind"), kind)) < 0)
        return r;
    json_each (row, rows) {
        if ((r = decode_row(doc, &t, row)) < 0)
            return r;
    }
    return keep_unknown(doc, known);
}

static int decode_alarm(struct doc *doc)
{
    static const char *const known[] = {"t", "v", "sn", "seq", "items", NULL};
    const struct json *items = json_get(doc->root, "items");
    int r;

    if (!items || items->type != JSON_ARRAY)
        return fail(doc, ERR_FORMAT, "HEO-JSON: alarm without items", items);
    json_each (item, items) {
        if ((r = decode_event(doc, json_get(item, "ts"), json_get(item, "code"),
                              json_get(item, "state"), item)) < 0)
            return r;
    }
    return keep_unknown(doc, known);
}

static int decode_res(struct doc *doc)
{
    static const char *const known[] = {"t",  "v",   "sn", "id",
                                        "ok", "err", NULL};
    const struct json *ok = json_get(doc->root, "ok");
    struct str id = json_str(json_get(doc->root, "id"));
    struct str why = extras_text(json_get(doc->root, "err"));
    struct decoded_event e = {.state = EVENT_PULSE, .time.dst = -1};

    if (id.n == 0 || id.n > NAME_MAX_BYTES)
        return fail(doc, ERR_FORMAT, "HEO-JSON: res without id", doc->root);
    if (!ok || (ok->type != JSON_TRUE && ok->type != JSON_FALSE))
        return fail(doc, ERR_FORMAT, "HEO-JSON: res without ok", ok);
    e.code =
        ok->type == JSON_TRUE ? STR("command.done") : STR("command.failed");
    e.detail = why.n ? arena_printf(doc->d->arena, "%.*s: %.*s", STR_ARGS(id),
                                    STR_ARGS(why))
                     : id;
    int r = decoded_add_event(doc->d, &e);
    return r < 0 ? r : keep_unknown(doc, known);
}

/* The rest of a session, either way: nothing to store, all to be seen. */
static int decode_talk(struct doc *doc)
{
    static const char *const known[] = {"t", "v", "sn", "seq", NULL};

    return keep_unknown(doc, known);
}

static int read_serial(struct doc *doc)
{
    const struct json *sn = json_get(doc->root, "sn");
    struct str text = str_trim(extras_text(sn));

    if (!sn)
        return 0;
    if ((sn->type != JSON_STRING && sn->type != JSON_NUMBER) || text.n == 0 ||
        text.n > NAME_MAX_BYTES)
        return fail(doc, ERR_FORMAT, "HEO-JSON: sn is no serial number", sn);
    doc->d->serial = text;
    return 0;
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    static const struct {
        const char *t;
        int (*decode)(struct doc *doc);
    } messages[] = {{"hello", decode_hello}, {"data", decode_data},
                    {"alarm", decode_alarm}, {"res", decode_res},
                    {"bye", decode_talk},    {"ack", decode_talk},
                    {"nak", decode_talk},    {"cmd", decode_talk}};
    struct json_limits limits = {.depth = DEPTH_MAX};
    struct json_error why = {0};
    struct doc doc = {.d = d, .payload = in->payload};
    struct json *root;
    int64_t version = 1;
    int r = json_parse(d->arena, in->payload, limits, &root, &why);

    if (r < 0)
        return decoded_fail(d, r, why.text, why.offset);
    doc.root = root;
    const struct json *v = json_get(root, "v");
    struct str t = json_str(json_get(root, "t"));
    if (root->type != JSON_OBJECT || t.n == 0)
        return decoded_fail(d, ERR_FORMAT, "HEO-JSON: no member t", 0);
    if (v && (!json_int(v, &version) || version != 1))
        return fail(&doc, ERR_UNSUPPORTED, "HEO-JSON: only version 1", v);
    if ((r = read_serial(&doc)) < 0)
        return r;
    json_int(json_get(root, "seq"), &d->sequence);
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
        if (str_is(t, messages[i].t))
            return messages[i].decode(&doc);
    }
    return fail(&doc, ERR_UNSUPPORTED, "HEO-JSON: unknown message t",
                json_get(root, "t"));
}

static const struct codec_vector vectors[] = {
    {.name = "hello",
     .text = "{\"t\":\"hello\",\"v\":1,\"sn\":\"24000123\",\"model\":\"H"
             "EO-G4\",\"fw\":\"1.4.2\",\"clk\":\"2024-01-11T12:00:05+03:"
             "00\",\"bat\":87,\"batv\":3.52,\"rssi\":-83,\"valve\":\"ope"
             "n\",\"auth\":\"00ff\"}",
     .expect = "gas; serial 24000123; clock 2024-01-11T09:00:05Z; "
               "battery-percent 0-0:96.6.1 87 %; battery-voltage 0-0:96.6.3 "
               "3.52 V; signal 0-0:96.12.5 -83 dBm; valve 0-0:96.3.10 1; "
               "text model=HEO-G4; text fw=1.4.2"},
    {.name = "hello, valve out of order, no zone",
     .text = "{\"t\":\"hello\",\"sn\":24000123,\"clk\":\"11.01.2024 9:00"
             ":05\",\"valve\":\"fault\"}",
     .expect = "gas; serial 24000123; clock 2024-01-11T09:00:05; text "
               "valve=fault"},
    {.name = "hourly archive, columns in their usual order",
     .text = "{\"t\":\"data\",\"seq\":417,\"kind\":\"hour\",\"rows\":[[\""
             "2024-01-11T12:00:00+03:00\",1.000,23.21,0.9500,4706.0000,9"
             "412.0000,0.0000,0.0000]]}",
     .expect = "gas; @2024-01-11T09:00:00Z; pressure 7-0:42.0.0 1.000 kPa; "
               "flow-temperature 7-0:41.0.0 23.21 Cel; conversion-factor "
               "7-0:52.0.0 0.9500; volume 7-0:3.0.0 [uncorrected] 4706.0000 "
               "m3; volume 7-0:13.2.0 [base] 9412.0000 m3; volume "
               "7-128:3.0.0 [uncorrected] 0.0000 m3; volume 7-128:13.2.0 "
               "[base] 0.0000 m3"},
    {.name = "the leaflet's notation",
     .text = "{\"t\":\"data\",\"seq\":1,\"rows\":[[\"11.01.2024 9:00:00\""
             ",\"1,0000\",\"23,21\",\"0,9500\",\"4706,0000\",\"9412,0000"
             "\",\"0,0000\",\"0,0000\"],[\"11.01.2024 10:00:00\",\"1,000"
             "0\",null,\"\",\"4708,0000\",\"9416,0000\",\"0,0000\",\"0,0"
             "000\"]]}",
     .expect = "gas; @2024-01-11T09:00:00; pressure 7-0:42.0.0 1.000 kPa; "
               "flow-temperature 7-0:41.0.0 23.21 Cel; conversion-factor "
               "7-0:52.0.0 0.9500; volume 7-0:3.0.0 [uncorrected] 4706.0000 "
               "m3; volume 7-0:13.2.0 [base] 9412.0000 m3; volume "
               "7-128:3.0.0 [uncorrected] 0.0000 m3; volume 7-128:13.2.0 "
               "[base] 0.0000 m3; @2024-01-11T10:00:00; pressure 7-0:42.0.0 "
               "1.000 kPa; volume 7-0:3.0.0 [uncorrected] 4708.0000 m3; "
               "volume 7-0:13.2.0 [base] 9416.0000 m3; volume 7-128:3.0.0 "
               "[uncorrected] 0.0000 m3; volume 7-128:13.2.0 [base] 0.0000 "
               "m3"},
    {.name = "named columns, rows as objects, unknown column",
     .text = "{\"t\":\"data\",\"kind\":\"day\",\"cols\":[\"ts\",\"v_work"
             "\",\"z\"],\"rows\":[[\"2024-01-11T00:00:00Z\",1.5,0.998],{"
             "\"ts\":\"2024-01-12T00:00:00Z\",\"v_work\":2.50,\"note\":{"
             "\"a\":[true]}}]}",
     .expect = "gas; text kind=day; @2024-01-11T00:00:00Z; volume 7-0:3.0.0 "
               "[uncorrected] 1.5000 m3; text z=0.998; @2024-01-12T00:00:00Z; "
               "volume 7-0:3.0.0 [uncorrected] 2.5000 m3; text note.a.0=true"},
    {.name = "volumes in litres",
     .text = "{\"t\":\"data\",\"unit\":\"l\",\"cols\":[\"ts\",\"v_work\""
             "],\"rows\":[[\"2024-01-11T00:00:00Z\",1500]]}",
     .expect = "gas; @2024-01-11T00:00:00Z; volume 7-0:3.0.0 [uncorrected] "
               "1500.0 l"},
    {.name = "alarms",
     .text = "{\"t\":\"alarm\",\"seq\":418,\"items\":[{\"ts\":\"2024-01-"
             "11T12:00:00Z\",\"code\":\"battery_cover_open\",\"state\":1"
             "},{\"ts\":\"2024-01-11T12:05:00Z\",\"code\":\"magnet\",\"s"
             "tate\":0,\"value\":3},{\"ts\":\"2024-01-11 12:06:00\",\"co"
             "de\":\"odd_word\"}]}",
     .expect = "gas; event tamper.battery_cover_open start "
               "@2024-01-11T12:00:00Z; event tamper.magnet end "
               "@2024-01-11T12:05:00Z value=3; event odd_word pulse "
               "@2024-01-11T12:06:00"},
    {.name = "command carried out",
     .text = "{\"t\":\"res\",\"id\":\"c-9\",\"ok\":true}",
     .expect = "gas; event command.done pulse c-9"},
    {.name = "command refused",
     .text = "{\"t\":\"res\",\"id\":\"c-9\",\"ok\":false,\"err\":\"denie"
             "d\"}",
     .expect = "gas; event command.failed pulse c-9: denied"},
    {.name = "cut off",
     .text = "{\"t\":\"data\",\"rows\":[[\"2024-01-11T00:00:00Z\",1.5",
     .err = ERR_SHORT},
    {.name = "no message", .text = "{\"sn\":\"1\"}", .err = ERR_FORMAT},
    {.name = "not an object", .text = "[1]", .err = ERR_FORMAT},
    {.name = "unknown message",
     .text = "{\"t\":\"song\"}",
     .err = ERR_UNSUPPORTED},
    {.name = "another version",
     .text = "{\"t\":\"hello\",\"v\":2,\"sn\":\"1\"}",
     .err = ERR_UNSUPPORTED},
    {.name = "row without time",
     .text = "{\"t\":\"data\",\"cols\":[\"v_work\"],\"rows\":[[1]]}",
     .err = ERR_FORMAT},
    {.name = "row with more values than columns",
     .text = "{\"t\":\"data\",\"cols\":[\"ts\"],\"rows\":[[\"2024-01-11T"
             "00:00:00Z\",1]]}",
     .err = ERR_FORMAT},
    {.name = "day that does not exist",
     .text = "{\"t\":\"data\",\"rows\":[[\"30.02.2024 9:00:00\",1]]}",
     .err = ERR_FORMAT},
    {.name = "a word for a number",
     .text = "{\"t\":\"data\",\"rows\":[[\"2024-01-11T00:00:00Z\",\"much"
             "\"]]}",
     .err = ERR_FORMAT},
    {.name = "more digits than can be exact",
     .text = "{\"t\":\"data\",\"rows\":[[\"2024-01-11T00:00:00Z\",1.1234"
             "5678901234567890123]]}",
     .err = ERR_FORMAT},
    {.name = "nested too deep",
     .text = "{\"t\":\"data\",\"x\":[[[[[[[[[[1]]]]]]]]]],\"rows\":[]}",
     .err = ERR_FULL},
    {.name = "archive of events",
     .text = "{\"t\":\"data\",\"seq\":5,\"kind\":\"event\",\"cols\":[\"ts"
             "\",\"code\",\"state\"],\"rows\":[[\"2024-01-11T12:00:00+03:0"
             "0\",\"case_open\",1],[\"2024-01-11T12:05:00+03:00\",\"case_o"
             "pen\",0]]}",
     .expect = "gas; event tamper.case_open start @2024-01-11T09:00:00Z; eve"
               "nt tamper.case_open end @2024-01-11T09:05:00Z"},
    {.name = "archive of events as objects",
     .text = "{\"t\":\"data\",\"seq\":6,\"kind\":\"event\",\"rows\":[{\"ts"
             "\":\"2024-01-11T12:00:00+03:00\",\"code\":\"magnet\",\"value"
             "\":3}]}",
     .expect = "gas; event tamper.magnet pulse @2024-01-11T09:00:00Z value=3"},
    {.name = "daily archive",
     .text = "{\"t\":\"data\",\"seq\":7,\"kind\":\"day\",\"rows\":[[\"2024"
             "-01-11T00:00:00+03:00\",1,23.21,0.95,4706,9412,0,0]]}",
     .expect = "gas; text kind=day; @2024-01-10T21:00:00Z; pressure 7-0:42.0"
               ".0 1.000 kPa; flow-temperature 7-0:41.0.0 23.21 Cel; convers"
               "ion-factor 7-0:52.0.0 0.9500; volume 7-0:3.0.0 [uncorrected]"
               " 4706.0000 m3; volume 7-0:13.2.0 [base] 9412.0000 m3; volume"
               " 7-128:3.0.0 [uncorrected] 0.0000 m3; volume 7-128:13.2.0 [b"
               "ase] 0.0000 m3"},
    {.name = "the end of a session",
     .text = "{\"t\":\"bye\"}",
     .expect = "gas"},
    {.name = "a command, seen on the line",
     .text = "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"valve\",\"pos\":\"clo"
             "se\"}",
     .expect = "gas; text id=c-9; text op=valve; text pos=close"},
    {.name = "an event without its time",
     .text = "{\"t\":\"data\",\"seq\":8,\"kind\":\"event\",\"rows\":[{\"co"
             "de\":\"magnet\"}]}",
     .err = ERR_FORMAT},
    {0},
};

const struct codec codec_heo_json = {
    .abi = CODEC_ABI,
    .name = "heo-json",
    .version = 2,
    .title = "HEO G4/G6 gas meter, HEO-JSON v1 over TCP",
    .source = "our own proposal after the maker's leaflet",
    .medium = MEDIUM_GAS,
    .decode = decode,
    .encode = heo_encode,
    .vectors = vectors,
};
