/*
 * elvaco_cmi41.c - Elvaco LoRaWAN modules for heat meters: CMi4110 (Landis+Gyr
 * UH50), CMi4130 (Itron CF), CMi4140 (Kamstrup), CMi4160 (Diehl Sharky).
 *
 * Source: Elvaco user's manuals CMi4130 (2020-06, tables 5 to 12), CMi4140
 * (2020-06, tables 6 to 8), CMi4160. FPort 2:
 *   0  u8  message format: 00-04 CMi4110, 05.. and 0F.. CMi4130, 15-1B CMi4140,
 *          1E-22 CMi4160, 3B-41 extended telegrams; FA the daily clock message
 *   1  M-Bus data records (EN 13757-3), or for format JSON a text:
 *      {"E":12345678,"U":"kWh","ID":87654321}
 * The formats differ in which records they hold, and a record names itself, so
 * any format whose bytes are records is read; that keeps later formats alive.
 * Error flags that are set become an event too. A record with "value during
 * error" marks a value or a clock in doubt.
 */
#include "codecs/extras.h"
#include "codecs/mbus.h"
#include "schema/reading.h"
#include "server/base/err.h"

enum { PORT = 2, TEXT_MAX = 64 };

/* Formats 02, 07, 11, 17, 20 ...: no record begins with a brace and a quote. */
static bool is_json(struct str payload)
{
    return payload.n > 2 && payload.p[1] == '{' && payload.p[2] == '"';
}

/* "U" as the modules write it; the unit and the power of ten we keep it in. */
static const struct json_unit {
    const char *text;
    enum unit unit;
    int exp10;
} json_units[] = {
    {"Wh", UNIT_KWH, -3},    {"kWh", UNIT_KWH, 0},   {"MWh", UNIT_KWH, 3},
    {"GWh", UNIT_KWH, 6},    {"J", UNIT_GJ, -9},     {"kJ", UNIT_GJ, -6},
    {"MJ", UNIT_GJ, -3},     {"GJ", UNIT_GJ, 0},     {"Cal", UNIT_MCAL, -6},
    {"kCal", UNIT_MCAL, -3}, {"MCal", UNIT_MCAL, 0}, {"GCal", UNIT_MCAL, 3},
};

static int add_energy(struct decoded *d, const struct json *doc)
{
    struct measurement m = {.quantity = Q_ENERGY, .obis = OBIS_NONE};
    struct str unit = json_str(json_get(doc, "U"));
    struct decimal v;

    if (decimal_parse(extras_text(json_get(doc, "E")), &v) < 0)
        return decoded_fail(d, ERR_FORMAT, "JSON format: E is no number", 1);
    for (size_t i = 0; i < sizeof(json_units) / sizeof(*json_units); i++) {
        if (!str_is(unit, json_units[i].text))
            continue;
        m.unit = json_units[i].unit;
        if (decimal_scale(v, 1, json_units[i].exp10, &m.value) < 0)
            return decoded_fail(d, ERR_FORMAT, "JSON format: E is too large",
                                1);
        return decoded_add(d, &m);
    }
    return decoded_fail(d, ERR_FORMAT, "JSON format: unit of E unknown", 1);
}

static int add_serial(struct decoded *d, const struct json *doc)
{
    struct measurement m = {.quantity = Q_SERIAL, .obis = OBIS_NONE};
    struct str id = extras_text(json_get(doc, "ID"));

    if (id.n == 0 || id.n > TEXT_MAX || decimal_parse(id, &m.value) < 0 ||
        m.value.exp10 != 0 || m.value.mantissa < 0)
        return decoded_fail(d, ERR_FORMAT, "JSON format: ID is no number", 1);
    d->serial = id;
    return decoded_add(d, &m);
}

static int decode_json(struct str text, struct decoded *d)
{
    struct json_limits limits = {.depth = 4, .nodes = 256};
    struct json_error why = {0};
    struct json *doc;
    int r = json_parse(d->arena, text, limits, &doc, &why);

    if (r < 0)
        return decoded_fail(d, r, why.text, why.offset + 1);
    if (doc->type != JSON_OBJECT)
        return decoded_fail(d, ERR_FORMAT, "JSON format: no object", 1);
    if ((r = add_energy(d, doc)) < 0 || (r = add_serial(d, doc)) < 0)
        return r;
    json_each (member, doc) {
        if (str_is(member->name, "E") || str_is(member->name, "U") ||
            str_is(member->name, "ID"))
            continue;
        if ((r = extras_add(d, 0, member->name, member)) < 0)
            return r;
    }
    return 0;
}

/* Flags that the meter has set; which they are, its own manual tells. */
static int add_errors(struct decoded *d)
{
    int r = 0;

    for (uint32_t i = 0; i < d->n_measurements && r >= 0; i++) {
        const struct measurement *m = &d->measurements[i];
        struct decoded_event e = {.code = STR("device.error"),
                                  .state = EVENT_START,
                                  .time = {.dst = -1}};

        if (m->quantity != Q_ERROR_FLAGS || m->value.mantissa <= 0)
            continue;
        e.detail = arena_printf(d->arena, "error flags %llX",
                                (long long)m->value.mantissa);
        r = decoded_add_event(d, &e);
    }
    return r;
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    if (in->port != 0 && in->port != PORT)
        return decoded_fail(d, ERR_UNSUPPORTED,
                            "Elvaco CMi41xx: meter data come on FPort 2", 0);
    if (is_json(in->payload))
        return decode_json((struct str){in->payload.p + 1, in->payload.n - 1},
                           d);
    if (in->payload.n == 1)
        return decoded_fail(d, ERR_SHORT,
                            "Elvaco CMi41xx: nothing behind the format", 1);
    int r = mbus_decode(in->payload, 1, d);
    return r < 0 ? r : add_errors(d);
}

static const struct codec_vector vectors[] = {
    {.name = "CMi4160 standard, a public telegram",
     .hex = "1E 0406 8FA10100 0413 84B71E00 022B CF0F 023B 5D00 025A 1003 "
            "025E 9801 0779 82253269 A511 40 04 01FD17 00",
     .port = PORT,
     .expect = "heat; serial 69322582; manufacturer DME; energy 106895 kWh; "
               "volume 2013.060 m3; power 4.047 kW; flow 0.093 m3/h; "
               "flow-temperature 78.4 Cel; return-temperature 40.8 Cel; "
               "serial 69322582; error-flags 0"},
    {.name = "CMi4160 compact in MCal",
     .hex = "1F 04FB0D 10270000 0779 82253269 A511 40 04 01FD17 02",
     .port = PORT,
     .expect = "heat; serial 69322582; manufacturer DME; energy 10000 Mcal; "
               "serial 69322582; error-flags 2; event device.error start err"
               "or flags 2"},
    {.name = "CMi4110 standard, BCD",
     .hex = "00 0C06 78563412 0C14 21436500 0B2D 110000 0B3B 930000 0A5A 8407 "
            "0A5E 0804 0C78 78563412 02FD17 0100",
     .port = PORT,
     .expect = "heat; serial 12345678; energy 12345678 kWh; volume 6543.21 m"
               "3; power 1.1 kW; flow 0.093 m3/h; flow-temperature 78.4 Cel;"
               " return-temperature 40.8 Cel; serial 12345678; error-flags 1"
               "; event device.error start error flags 1"},
    {.name = "CMi4130 compact, alarm codes of 16 bit",
     .hex = "10 0406 8FA10100 0C78 78563412 02FD17 0080",
     .port = PORT,
     .expect = "heat; serial 12345678; energy 106895 kWh; serial 12345678; e"
               "rror-flags 32768; event device.error start error flags 8000"},
    {.name = "CMi4140 compact, info bits of 32 bit",
     .hex = "16 040E 8FA10100 0C78 78563412 04FD17 00000080",
     .port = PORT,
     .expect = "heat; serial 12345678; energy 106.895 GJ; serial 12345678; e"
               "rror-flags 2147483648; event device.error start error flags "
               "80000000"},
    {.name = "scheduled: clock and energy at midnight",
     .hex = "03 046D 00000F31 4406 8FA10100 0C78 78563412 02FD17 0000",
     .port = PORT,
     .expect = "heat; serial 12345678; clock 2024-01-15T00:00:00; energy "
               "[storage 1] 106895 kWh; serial 12345678; error-flags 0"},
    {.name = "clock message",
     .hex = "FA 046D 1E0C0F31",
     .port = PORT,
     .expect = "heat; clock 2024-01-15T12:30:00"},
    {.name = "clock message, meter distrusts its clock",
     .hex = "FA 346D 1E0C0F31",
     .port = PORT,
     .expect = "heat; clock 2024-01-15T12:30:00 invalid"},
    {.name = "energy during an error",
     .hex = "1E 3406 8FA10100 0779 82253269 A511 40 04 01FD17 01",
     .port = PORT,
     .expect = "heat; serial 69322582; manufacturer DME; energy [error] 1068"
               "95 kWh (meter error); serial 69322582; error-flags 1; event "
               "device.error start error flags 1"},
    {.name = "JSON, the manual's example",
     .text = "\x17{\"E\":12345678,\"U\":\"kWh\",\"ID\":87654321}",
     .port = PORT,
     .expect = "heat; serial 87654321; energy 12345678 kWh; serial 87654321"},
    {.name = "JSON with decimals in MJ and an unknown member",
     .text = "\x20{\"E\":1234.50,\"U\":\"MJ\",\"ID\":87654321,\"X\":1}",
     .port = PORT,
     .expect = "heat; serial 87654321; energy 1.23450 GJ; serial 87654321; "
               "text X=1"},
    {.name = "JSON cut off",
     .text = "\x20{\"E\":1234.50,\"U\":\"MJ\"",
     .port = PORT,
     .err = ERR_SHORT},
    {.name = "JSON with an unknown unit",
     .text = "\x20{\"E\":1,\"U\":\"BTU\",\"ID\":87654321}",
     .port = PORT,
     .err = ERR_FORMAT},
    {.name = "record cut off",
     .hex = "1E 0406 8FA101",
     .port = PORT,
     .err = ERR_SHORT},
    {.name = "format without content",
     .hex = "1E",
     .port = PORT,
     .err = ERR_SHORT},
    {.name = "another port",
     .hex = "1E 0406 8FA10100",
     .port = 10,
     .err = ERR_UNSUPPORTED},
    {.name = "a JSON format of another product",
     .text = "\x07{\"E\":\"12.5\",\"U\":\"MWh\",\"ID\":\"87654321\"}",
     .port = PORT,
     .expect = "heat; serial 87654321; energy 12500 kWh; serial 87654321"},
    {0},
};

const struct codec codec_elvaco_cmi41 = {
    .abi = CODEC_ABI,
    .name = "elvaco-cmi41",
    .version = 2,
    .title = "Elvaco CMi4110/4130/4140/4160, LoRaWAN",
    .source = "Elvaco user's manuals CMi4130/4140/4160; EN 13757-3",
    .medium = MEDIUM_HEAT,
    .decode = decode,
    .vectors = vectors,
};
