/*
 * cosem.c - OBIS, units and values as tables. Where IEC 62056-61 leaves a
 * group to the maker, the quantity is Q_PARAMETER: the code itself is kept.
 */
#include "codecs/cosem.h"
#include "schema/reading.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* IEC 62056-6-2, enumeration of physical units. */
static const struct cosem_unit units[256] = {
    [1] = {UNIT_YEAR, 1, 0, NULL},        [2] = {UNIT_MONTH, 1, 0, NULL},
    [3] = {UNIT_D, 7, 0, NULL},           [4] = {UNIT_D, 1, 0, NULL},
    [5] = {UNIT_H, 1, 0, NULL},           [6] = {UNIT_MIN, 1, 0, NULL},
    [7] = {UNIT_S, 1, 0, NULL},           [8] = {UNIT_DEG, 1, 0, NULL},
    [9] = {UNIT_CEL, 1, 0, NULL},         [10] = {UNIT_NONE, 1, 0, "currency"},
    [11] = {UNIT_NONE, 1, 0, "m"},        [12] = {UNIT_NONE, 1, 0, "m/s"},
    [13] = {UNIT_M3, 1, 0, NULL},         [14] = {UNIT_M3, 1, 0, NULL},
    [15] = {UNIT_M3_H, 1, 0, NULL},       [16] = {UNIT_M3_H, 1, 0, NULL},
    [17] = {UNIT_NONE, 1, 0, "m3/d"},     [18] = {UNIT_NONE, 1, 0, "m3/d"},
    [19] = {UNIT_L, 1, 0, NULL},          [20] = {UNIT_KG, 1, 0, NULL},
    [21] = {UNIT_NONE, 1, 0, "N"},        [22] = {UNIT_NONE, 1, 0, "Nm"},
    [23] = {UNIT_PA, 1, 0, NULL},         [24] = {UNIT_BAR, 1, 0, NULL},
    [25] = {UNIT_J, 1, 0, NULL},          [26] = {UNIT_J_H, 1, 0, NULL},
    [27] = {UNIT_W, 1, 0, NULL},          [28] = {UNIT_VA, 1, 0, NULL},
    [29] = {UNIT_VAR, 1, 0, NULL},        [30] = {UNIT_WH, 1, 0, NULL},
    [31] = {UNIT_VAH, 1, 0, NULL},        [32] = {UNIT_VARH, 1, 0, NULL},
    [33] = {UNIT_A, 1, 0, NULL},          [34] = {UNIT_NONE, 1, 0, "C"},
    [35] = {UNIT_V, 1, 0, NULL},          [36] = {UNIT_NONE, 1, 0, "V/m"},
    [37] = {UNIT_NONE, 1, 0, "F"},        [38] = {UNIT_NONE, 1, 0, "Ohm"},
    [39] = {UNIT_NONE, 1, 0, "Ohm m2/m"}, [40] = {UNIT_NONE, 1, 0, "Wb"},
    [41] = {UNIT_NONE, 1, 0, "T"},        [42] = {UNIT_NONE, 1, 0, "A/m"},
    [43] = {UNIT_NONE, 1, 0, "H"},        [44] = {UNIT_HZ, 1, 0, NULL},
    [45] = {UNIT_NONE, 1, 0, "1/Wh"},     [46] = {UNIT_NONE, 1, 0, "1/varh"},
    [47] = {UNIT_NONE, 1, 0, "1/VAh"},    [48] = {UNIT_NONE, 1, 0, "V2h"},
    [49] = {UNIT_NONE, 1, 0, "A2h"},      [50] = {UNIT_NONE, 1, 0, "kg/s"},
    [51] = {UNIT_NONE, 1, 0, "S"},        [52] = {UNIT_K, 1, 0, NULL},
    [53] = {UNIT_NONE, 1, 0, "1/(V2h)"},  [54] = {UNIT_NONE, 1, 0, "1/(A2h)"},
    [55] = {UNIT_NONE, 1, 0, "1/m3"},     [56] = {UNIT_PERCENT, 1, 0, NULL},
    [57] = {UNIT_NONE, 1, 0, "Ah"},       [60] = {UNIT_NONE, 1, 0, "Wh/m3"},
    [61] = {UNIT_NONE, 1, 0, "J/m3"},     [62] = {UNIT_NONE, 1, 0, "mol%"},
    [63] = {UNIT_NONE, 1, 0, "g/m3"},     [64] = {UNIT_NONE, 1, 0, "Pa s"},
    [65] = {UNIT_NONE, 1, 0, "J/kg"},     [70] = {UNIT_DBM, 1, 0, NULL},
    [71] = {UNIT_NONE, 1, 0, "dBuV"},     [72] = {UNIT_NONE, 1, 0, "dB"},
    [254] = {UNIT_NONE, 1, 0, NULL},      [255] = {UNIT_NONE, 1, 0, NULL},
};

struct cosem_unit cosem_unit(struct arena *a, uint8_t code)
{
    if (units[code].mul)
        return units[code];
    struct str text = arena_printf(a, "unit %u", code);
    return (struct cosem_unit){UNIT_NONE, 1, 0, text.p ? text.p : "unit"};
}

/* Which quantity a unit alone tells. */
static const enum quantity of_unit[UNIT_COUNT] = {
    [UNIT_KWH] = Q_ENERGY,
    [UNIT_WH] = Q_ENERGY,
    [UNIT_MWH] = Q_ENERGY,
    [UNIT_KVARH] = Q_REACTIVE_ENERGY,
    [UNIT_VARH] = Q_REACTIVE_ENERGY,
    [UNIT_KVAH] = Q_APPARENT_ENERGY,
    [UNIT_VAH] = Q_APPARENT_ENERGY,
    [UNIT_GJ] = Q_ENERGY,
    [UNIT_J] = Q_ENERGY,
    [UNIT_GCAL] = Q_ENERGY,
    [UNIT_MCAL] = Q_ENERGY,
    [UNIT_M3] = Q_VOLUME,
    [UNIT_L] = Q_VOLUME,
    [UNIT_FT3] = Q_VOLUME,
    [UNIT_GAL] = Q_VOLUME,
    [UNIT_KG] = Q_MASS,
    [UNIT_T] = Q_MASS,
    [UNIT_KW] = Q_POWER,
    [UNIT_W] = Q_POWER,
    [UNIT_MW] = Q_POWER,
    [UNIT_KVAR] = Q_REACTIVE_POWER,
    [UNIT_VAR] = Q_REACTIVE_POWER,
    [UNIT_KVA] = Q_APPARENT_POWER,
    [UNIT_VA] = Q_APPARENT_POWER,
    [UNIT_GJ_H] = Q_POWER,
    [UNIT_J_H] = Q_POWER,
    [UNIT_M3_H] = Q_FLOW,
    [UNIT_M3_MIN] = Q_FLOW,
    [UNIT_M3_S] = Q_FLOW,
    [UNIT_L_H] = Q_FLOW,
    [UNIT_KG_H] = Q_MASS_FLOW,
    [UNIT_K] = Q_TEMPERATURE_DIFFERENCE,
    [UNIT_KPA] = Q_PRESSURE,
    [UNIT_BAR] = Q_PRESSURE,
    [UNIT_PA] = Q_PRESSURE,
    [UNIT_V] = Q_VOLTAGE,
    [UNIT_MV] = Q_VOLTAGE,
    [UNIT_A] = Q_CURRENT,
    [UNIT_HZ] = Q_FREQUENCY,
    [UNIT_S] = Q_OPERATING_TIME,
    [UNIT_MIN] = Q_OPERATING_TIME,
    [UNIT_H] = Q_OPERATING_TIME,
    [UNIT_D] = Q_OPERATING_TIME,
    [UNIT_DEG] = Q_PHASE_ANGLE,
    [UNIT_DBM] = Q_SIGNAL,
    [UNIT_HCA] = Q_HCA,
    [UNIT_PULSE] = Q_COUNT,
    [UNIT_GCAL_H] = Q_POWER,
    [UNIT_MJ] = Q_ENERGY,
    [UNIT_KJ] = Q_ENERGY,
    [UNIT_MPA] = Q_PRESSURE,
    [UNIT_MBAR] = Q_PRESSURE,
    [UNIT_KV] = Q_VOLTAGE,
    [UNIT_MA] = Q_CURRENT,
};

enum { ANY = -1 };

/* Where the unit is missing or ambiguous; the first fitting line counts. */
static const struct meaning {
    int a, c_from, c_to, d;
    enum quantity quantity;
} meanings[] = {
    {5, 10, 10, ANY, Q_FLOW_TEMPERATURE},
    {6, 10, 10, ANY, Q_FLOW_TEMPERATURE},
    {5, 11, 11, ANY, Q_RETURN_TEMPERATURE},
    {6, 11, 11, ANY, Q_RETURN_TEMPERATURE},
    {5, 12, 12, ANY, Q_TEMPERATURE_DIFFERENCE},
    {6, 12, 12, ANY, Q_TEMPERATURE_DIFFERENCE},
    {5, 1, 1, ANY, Q_ENERGY},
    {6, 1, 1, ANY, Q_ENERGY},
    {5, 2, 2, ANY, Q_VOLUME},
    {6, 2, 2, ANY, Q_VOLUME},
    {7, 41, 41, ANY, Q_FLOW_TEMPERATURE},
    {7, 42, 42, ANY, Q_PRESSURE},
    {7, 51, 53, ANY, Q_CONVERSION_FACTOR},
    {7, 1, 16, ANY, Q_VOLUME},
    {8, 3, 3, ANY, Q_FLOW_TEMPERATURE},
    {9, 3, 3, ANY, Q_FLOW_TEMPERATURE},
    {8, 1, 1, ANY, Q_VOLUME},
    {9, 1, 1, ANY, Q_VOLUME},
    {0, 96, 96, 1, Q_SERIAL},
    {0, 96, 96, 7, Q_COUNT},
    {0, 96, 96, 8, Q_OPERATING_TIME},
    {0, 97, 97, 97, Q_ERROR_FLAGS},
    {1, 1, 92, 32, Q_COUNT}, /* voltage sags and swells */
    {1, 1, 92, 36, Q_COUNT},
    {1, 81, 81, 7, Q_PHASE_ANGLE},
    {1, 91, 91, 7, Q_CURRENT},
    {1, 92, 92, 7, Q_VOLTAGE},
};

/* Electricity, group C modulo 20 (phases are +20, +40, +60): the quantity of
 * time integrals (D = 8, 9, 29 ...) and of averages and moments. */
static const struct {
    enum quantity integral, moment;
} electricity[20] = {
    [1] = {Q_ENERGY, Q_POWER},
    [2] = {Q_ENERGY, Q_POWER},
    [3] = {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER},
    [4] = {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER},
    [5] = {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER},
    [6] = {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER},
    [7] = {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER},
    [8] = {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER},
    [9] = {Q_APPARENT_ENERGY, Q_APPARENT_POWER},
    [10] = {Q_APPARENT_ENERGY, Q_APPARENT_POWER},
    [11] = {Q_UNKNOWN, Q_CURRENT},
    [12] = {Q_UNKNOWN, Q_VOLTAGE},
    [13] = {Q_UNKNOWN, Q_POWER_FACTOR},
    [14] = {Q_UNKNOWN, Q_FREQUENCY},
    [15] = {Q_ENERGY, Q_POWER},
    [16] = {Q_ENERGY, Q_POWER},
};

static bool is_integral(uint8_t d)
{
    return d == 8 || d == 9 || d == 10 || d == 17 || d == 18 || d == 19 ||
           d == 27 || d == 28 || d == 29 || d == 30;
}

enum quantity cosem_quantity(struct obis o, enum unit u)
{
    if (of_unit[u])
        return of_unit[u];
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++) {
        const struct meaning *m = &meanings[i];
        if (m->a == o.a && m->c_from <= o.c && o.c <= m->c_to &&
            (m->d == ANY || m->d == o.d))
            return m->quantity;
    }
    if (u == UNIT_CEL)
        return Q_EXTERNAL_TEMPERATURE;
    if (o.a != 1 || o.c == 0 || o.c >= 80 || o.d == 0)
        return Q_PARAMETER;
    enum quantity q = is_integral(o.d) ? electricity[o.c % 20].integral
                                       : electricity[o.c % 20].moment;
    return q ? q : Q_PARAMETER;
}

static bool counts_up(enum quantity q)
{
    return q == Q_ENERGY || q == Q_REACTIVE_ENERGY || q == Q_APPARENT_ENERGY ||
           q == Q_VOLUME || q == Q_MASS || q == Q_COUNT || q == Q_HCA ||
           q == Q_OPERATING_TIME;
}

static enum function extreme(struct obis o)
{
    if (o.a == 1 && o.c > 0 && o.c < 96)
        return o.d == 6   ? FUNCTION_MAX
               : o.d == 3 ? FUNCTION_MIN
                          : FUNCTION_INST;
    if (o.a == 5 || o.a == 6)
        return o.d == 5   ? FUNCTION_MAX
               : o.d == 4 ? FUNCTION_MIN
                          : FUNCTION_INST;
    return FUNCTION_INST;
}

enum value_kind cosem_kind(struct obis o, enum unit u)
{
    enum quantity q = cosem_quantity(o, u);

    if (extreme(o) != FUNCTION_INST)
        return KIND_INTERVAL;
    if (o.a != 1 || o.c == 0 || o.c >= 96)
        return counts_up(q) ? KIND_CUMULATIVE : KIND_INSTANT;
    if (o.d == 2 || o.d == 8 || o.d == 17 || q == Q_COUNT)
        return KIND_CUMULATIVE;
    if (o.d == 4 || o.d == 5 || is_integral(o.d))
        return KIND_INTERVAL; /* averages and integrals of a period */
    return KIND_INSTANT;
}

enum medium cosem_medium(struct obis o)
{
    static const enum medium of_a[] = {
        [1] = MEDIUM_ELECTRICITY, [4] = MEDIUM_HCA, [5] = MEDIUM_COOLING,
        [6] = MEDIUM_HEAT,        [7] = MEDIUM_GAS, [8] = MEDIUM_WATER,
        [9] = MEDIUM_HOT_WATER,
    };
    return o.a < sizeof(of_a) / sizeof(*of_a) ? of_a[o.a] : MEDIUM_OTHER;
}

int cosem_add(struct decoded *d, const struct cosem_value *v)
{
    enum unit u = v->unit.unit;
    struct measurement m = {.row = v->row,
                            .quantity = cosem_quantity(v->obis, u),
                            .unit = u,
                            .value = v->value,
                            .obis = v->obis,
                            .kind = cosem_kind(v->obis, u),
                            .function = extreme(v->obis),
                            .storage = v->obis.f == 255 ? 0 : v->obis.f,
                            .flags = v->extra ? MEASURED_RATE : 0,
                            .offset = (uint32_t)v->offset,
                            .text = str_of(v->unit.text)};
    char obis[OBIS_TEXT];

    if (v->value.mantissa != VALUE_NONE &&
        decimal_scale(v->value, v->unit.mul, v->unit.exp10, &m.value) < 0) {
        struct str digits = arena_printf(
            d->arena, "%lld*%de%d %s", (long long)v->value.mantissa,
            v->unit.mul, v->value.exp10 + v->unit.exp10, unit_name(u));
        return cosem_add_text(d, v->row, v->offset, obis_text(v->obis, obis),
                              digits);
    }
    return decoded_add(d, &m);
}

bool cosem_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.p[i] < ' ' || s.p[i] == 0x7F)
            return false;
    }
    return str_utf8(s);
}

struct str cosem_hex(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, 2 * s.n + 1);

    if (!out)
        return (struct str){0};
    for (size_t i = 0; i < s.n; i++) {
        out[2 * i] = "0123456789ABCDEF"[(uint8_t)s.p[i] >> 4];
        out[2 * i + 1] = "0123456789ABCDEF"[(uint8_t)s.p[i] & 15];
    }
    return (struct str){out, 2 * s.n};
}

int cosem_add_text(struct decoded *d, uint32_t row, size_t offset,
                   const char *name, struct str value)
{
    struct measurement m = {.row = row,
                            .quantity = Q_TEXT,
                            .value = {VALUE_NONE, 0},
                            .obis = OBIS_NONE,
                            .offset = (uint32_t)offset};

    if (!cosem_printable(value))
        value = cosem_hex(d->arena, value);
    m.text = arena_printf(d->arena, "%s=%.*s", name, STR_ARGS(value));
    if (!m.text.p)
        return decoded_fail(d, ERR_FULL, "too many texts in one frame", offset);
    return decoded_add(d, &m);
}

struct decimal cosem_double(double v, int digits_max)
{
    struct decimal ret = {VALUE_NONE, 0};
    char text[40] = "";

    if (!isfinite(v))
        return ret;
    for (int digits = 0; digits < digits_max; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits, v);
        if (digits_max <= 9 ? strtof(text, NULL) == (float)v
                            : strtod(text, NULL) == v)
            break;
    }
    if (decimal_parse(str_of(text), &ret) < 0)
        return (struct decimal){VALUE_NONE, 0};
    if (ret.exp10 > 0) /* 1e2 is 100: no power of ten was coded */
        decimal_rescale(ret, 0, &ret);
    return ret;
}

int cosem_time(const uint8_t p[COSEM_TIME], struct meter_time *ret)
{
    int year = p[0] << 8 | p[1], second = p[7] == 0xFF ? 0 : p[7];
    int deviation = (int16_t)(p[9] << 8 | p[10]);
    uint8_t status = p[11];
    struct meter_time t = {.form = METER_TIME_LOCAL, .dst = -1};

    *ret = (struct meter_time){.dst = -1};
    if (year == 0xFFFF || p[2] > 12 || p[3] > 31 || p[5] == 0xFF)
        return 0; /* not specified, or "the last day" and its like */
    if (civil_us(year, p[2], p[3], p[5], p[6] == 0xFF ? 0 : p[6], second,
                 &t.us) < 0)
        return ERR_FORMAT;
    if (p[8] < 100)
        t.us += p[8] * (US_PER_S / 100);
    if (status != 0xFF) {
        t.invalid = status & 0x01;
        t.dst = status & 0x80 ? 1 : 0;
    }
    if (deviation >= -720 && deviation <= 840) {
        t.form = METER_TIME_UTC; /* UTC = local + deviation */
        t.us += deviation * 60 * US_PER_S;
    }
    *ret = t;
    return 0;
}
