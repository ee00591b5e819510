/*
 * iec62056_21_words.c - the words of a data line: identification numbers,
 * numbers, units and times (IEC 62056-21 clause 6.3; IEC 62056-61; VDEW
 * load-profile time stamps; DSMR P1 5.0 clause 6).
 */
#include "codecs/iec62056_21.h"
#include "server/base/clock.h"
#include "server/base/err.h"

static bool take_char(struct str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    s->p++;
    s->n--;
    return true;
}

/* 0..255, or in group C and D a letter of the reduced form. */
static bool take_group(struct str *s, bool letters, uint8_t *ret)
{
    static const struct {
        char letter;
        uint8_t group;
    } reduced[] = {{'C', 96}, {'F', 97}, {'L', 98}, {'P', 99}};
    int v = 0, n = 0;

    for (size_t i = 0; letters && i < 4; i++) {
        if (take_char(s, reduced[i].letter)) {
            *ret = reduced[i].group;
            return true;
        }
    }
    for (; s->n && n < 3 && s->p[0] >= '0' && s->p[0] <= '9'; n++) {
        v = v * 10 + (s->p[0] - '0');
        s->p++;
        s->n--;
    }
    *ret = (uint8_t)v;
    return n > 0 && v <= 255;
}

int iec_obis(struct str s, struct obis *ret)
{
    struct obis o = {1, 0, 0, 0, 0, 255};
    struct str full = s;
    bool whole = take_group(&full, false, &o.a) && take_char(&full, '-') &&
                 take_group(&full, false, &o.b) && take_char(&full, ':');

    if (whole)
        s = full;
    else
        o.a = 1, o.b = 0;
    if (!take_group(&s, true, &o.c) || !take_char(&s, '.') ||
        !take_group(&s, true, &o.d))
        return ERR_FORMAT;
    if (take_char(&s, '.') && !take_group(&s, false, &o.e))
        return ERR_FORMAT;
    if ((take_char(&s, '*') || take_char(&s, '&')) &&
        !take_group(&s, false, &o.f))
        return ERR_FORMAT;
    if (s.n)
        return ERR_FORMAT;
    if (!whole && o.c >= 96)
        o.a = 0;
    *ret = o;
    return 0;
}

int iec_number(struct str s, struct decimal *ret)
{
    if (s.n && s.p[0] == '+')
        return ERR_FORMAT;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == 'e' || s.p[i] == 'E')
            return ERR_FORMAT; /* a hexadecimal status, no power of ten */
    }
    return decimal_parse(s, ret);
}

struct cosem_unit iec_unit(struct arena *a, struct str s)
{
    static const struct {
        const char *text;
        enum unit unit;
        int exp10;
    } units[] = {
        {"kWh", UNIT_KWH, 0},     {"Wh", UNIT_WH, 0},
        {"MWh", UNIT_MWH, 0},     {"GWh", UNIT_MWH, 3},
        {"kvarh", UNIT_KVARH, 0}, {"varh", UNIT_VARH, 0},
        {"Mvarh", UNIT_KVARH, 3}, {"kVArh", UNIT_KVARH, 0},
        {"kVAh", UNIT_KVAH, 0},   {"VAh", UNIT_VAH, 0},
        {"MVAh", UNIT_KVAH, 3},   {"GJ", UNIT_GJ, 0},
        {"MJ", UNIT_GJ, -3},      {"kJ", UNIT_J, 3},
        {"J", UNIT_J, 0},         {"Gcal", UNIT_GCAL, 0},
        {"Mcal", UNIT_MCAL, 0},   {"m3", UNIT_M3, 0},
        {"m^3", UNIT_M3, 0},      {"dm3", UNIT_L, 0},
        {"l", UNIT_L, 0},         {"L", UNIT_L, 0},
        {"kW", UNIT_KW, 0},       {"W", UNIT_W, 0},
        {"MW", UNIT_MW, 0},       {"kvar", UNIT_KVAR, 0},
        {"var", UNIT_VAR, 0},     {"Mvar", UNIT_KVAR, 3},
        {"kVAr", UNIT_KVAR, 0},   {"kVA", UNIT_KVA, 0},
        {"VA", UNIT_VA, 0},       {"MVA", UNIT_KVA, 3},
        {"V", UNIT_V, 0},         {"kV", UNIT_V, 3},
        {"mV", UNIT_MV, 0},       {"A", UNIT_A, 0},
        {"kA", UNIT_A, 3},        {"mA", UNIT_A, -3},
        {"Hz", UNIT_HZ, 0},       {"deg", UNIT_DEG, 0},
        {"Deg", UNIT_DEG, 0},     {"C", UNIT_CEL, 0},
        {"K", UNIT_K, 0},         {"m3/h", UNIT_M3_H, 0},
        {"m3ph", UNIT_M3_H, 0},   {"l/h", UNIT_L_H, 0},
        {"bar", UNIT_BAR, 0},     {"mbar", UNIT_PA, 2},
        {"hPa", UNIT_PA, 2},      {"kPa", UNIT_KPA, 0},
        {"Pa", UNIT_PA, 0},       {"%", UNIT_PERCENT, 0},
        {"s", UNIT_S, 0},         {"min", UNIT_MIN, 0},
        {"h", UNIT_H, 0},         {"d", UNIT_D, 0},
        {"kg", UNIT_KG, 0},       {"dBm", UNIT_DBM, 0},
    };

    if (s.n == 0)
        return (struct cosem_unit){UNIT_NONE, 1, 0, NULL};
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (str_is(s, units[i].text))
            return (struct cosem_unit){units[i].unit, 1, units[i].exp10, NULL};
    }
    struct str kept = arena_printf(a, "%.*s", STR_ARGS(s));
    return (struct cosem_unit){UNIT_NONE, 1, 0, kept.p ? kept.p : "unit"};
}

/* Pairs of digits, `separator` between them or nothing; how many. */
static size_t pairs(struct str s, char separator, int *out, size_t max)
{
    size_t n = 0;

    while (s.n >= 2 && n < max) {
        int high = s.p[0] - '0', low = s.p[1] - '0';
        if (high < 0 || high > 9 || low < 0 || low > 9)
            return 0;
        out[n++] = high * 10 + low;
        s.p += 2;
        s.n -= 2;
        if (separator && s.n && !take_char(&s, separator))
            return 0;
    }
    return s.n ? 0 : n;
}

int iec_time(struct str s, struct meter_time *ret)
{
    struct meter_time t = {.form = METER_TIME_LOCAL, .dst = -1};
    int v[6] = {0};

    if (s.n && (s.p[s.n - 1] == 'W' || s.p[s.n - 1] == 'S')) {
        t.dst = s.p[s.n - 1] == 'S';
        s.n--;
    } else if (s.n % 2 == 1 && s.p[0] >= '0' && s.p[0] <= '2') {
        if (s.p[0] == '2')
            t.form = METER_TIME_UTC;
        else
            t.dst = s.p[0] == '1';
        s.p++;
        s.n--;
    }
    size_t n = pairs(s, 0, v, 6);
    if (n < 5 || civil_us(2000 + v[0], v[1], v[2], v[3], v[4], v[5], &t.us) < 0)
        return ERR_FORMAT;
    *ret = t;
    return 0;
}

static size_t three(struct str s, char separator, int *v)
{
    bool separate = s.n == 8;

    if (s.n == 7) { /* season or weekday first */
        s.p++;
        s.n--;
    }
    return pairs(s, separate ? separator : 0, v, 3);
}

int iec_date(struct str s, int64_t *day_us)
{
    int v[3] = {0};

    if (three(s, '-', v) != 3)
        return ERR_FORMAT;
    return civil_us(2000 + v[0], v[1], v[2], 0, 0, 0, day_us);
}

int iec_day_time(struct str s, int64_t *us)
{
    int v[3] = {0};

    if (three(s, ':', v) != 3 || v[0] > 23 || v[1] > 59 || v[2] > 59)
        return ERR_FORMAT;
    *us = (v[0] * 3600 + v[1] * 60 + v[2]) * US_PER_S;
    return 0;
}
