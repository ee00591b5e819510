/*
 * normalise.c - the derivation of OBIS codes A-B:C.D.E*F (IEC 62056-61,
 * EN 13757-1), as tables. What the standard leaves open is decided here, once:
 *
 *   B  the subunit (channel) of the telegram, so that the inputs of one device
 *      never fall on one register
 *   C  a quantity without a group C in its medium takes the manufacturer range:
 *      128 + its number in `quantities`, 160 + that number for the export
 *      direction; media without an A of their own are A = 15
 *   D  maximum and minimum: 6 and 3 for electricity, 5 and 4 elsewhere
 *   E  the tariff; voltage between phases a and b: 128 + ab
 *   F  the storage number (255 is "now"), whatever date the storage carries
 *
 * The export direction (VIFE 3C) of a heat meter is its cooling register,
 * A = 5. Gas volume that claims nothing is volume at metering conditions.
 */
#include "schema/normalise.h"
#include "server/base/err.h"

enum { D_MAX_ELECTRICITY = 6, D_MIN_ELECTRICITY = 3, D_MAX = 5, D_MIN = 4 };
enum { C_OWN = 128, C_OWN_EXPORT = 160, A_OTHER = 15 };
enum { FIRST_QUADRANT = 8, LAST_QUADRANT = 11, NET = 12, ABSOLUTE = 13 };
enum { LAST_CHANNEL = 63, LAST_TARIFF = 63, LAST_STORAGE = 254 };

static const uint8_t groups_a[MEDIUM_COUNT] = {
    [MEDIUM_OTHER] = A_OTHER, [MEDIUM_ELECTRICITY] = 1, [MEDIUM_GAS] = 7,
    [MEDIUM_HEAT] = 6,        [MEDIUM_COOLING] = 5,     [MEDIUM_WATER] = 8,
    [MEDIUM_HOT_WATER] = 9,   [MEDIUM_HCA] = 4,
};

/* Quantities of a medium: our number (1..31, 0: none) and how they behave. */
static const struct quantity_row {
    uint8_t number;
    enum value_kind kind;
} quantities[Q_QUANTITY_COUNT] = {
    [Q_ENERGY] = {1, KIND_CUMULATIVE},
    [Q_VOLUME] = {2, KIND_CUMULATIVE},
    [Q_MASS] = {3, KIND_CUMULATIVE},
    [Q_POWER] = {8, KIND_INSTANT},
    [Q_FLOW] = {9, KIND_INSTANT},
    [Q_FLOW_TEMPERATURE] = {10, KIND_INSTANT},
    [Q_RETURN_TEMPERATURE] = {11, KIND_INSTANT},
    [Q_TEMPERATURE_DIFFERENCE] = {12, KIND_INSTANT},
    [Q_PRESSURE] = {13, KIND_INSTANT},
    [Q_MASS_FLOW] = {14, KIND_INSTANT},
    [Q_EXTERNAL_TEMPERATURE] = {15, KIND_INSTANT},
    [Q_HUMIDITY] = {16, KIND_INSTANT},
    [Q_COUNT] = {17, KIND_CUMULATIVE},
    [Q_HCA] = {18, KIND_CUMULATIVE},
    [Q_VOLTAGE] = {19, KIND_INSTANT},
    [Q_CURRENT] = {20, KIND_INSTANT},
    [Q_FREQUENCY] = {21, KIND_INSTANT},
    [Q_REACTIVE_ENERGY] = {22, KIND_CUMULATIVE},
    [Q_APPARENT_ENERGY] = {23, KIND_CUMULATIVE},
    [Q_REACTIVE_POWER] = {24, KIND_INSTANT},
    [Q_APPARENT_POWER] = {25, KIND_INSTANT},
    [Q_POWER_FACTOR] = {26, KIND_INSTANT},
    [Q_PHASE_ANGLE] = {27, KIND_INSTANT},
    [Q_CONVERSION_FACTOR] = {28, KIND_INSTANT},
};

/* Where the standard has a group C for the quantity in this A; 0 in
 * `c_export`: it has none for that direction. */
static const struct group_c {
    uint8_t a;
    enum quantity quantity;
    uint8_t c, c_export, d;
} groups_c[] = {
    {1, Q_ENERGY, 1, 2, 8},
    {1, Q_REACTIVE_ENERGY, 3, 4, 8},
    {1, Q_APPARENT_ENERGY, 9, 10, 8},
    {1, Q_POWER, 16, 2, 7}, /* signed: import less export */
    {1, Q_REACTIVE_POWER, 3, 4, 7},
    {1, Q_APPARENT_POWER, 9, 10, 7},
    {1, Q_CURRENT, 11, 0, 7},
    {1, Q_VOLTAGE, 12, 0, 7},
    {1, Q_POWER_FACTOR, 13, 0, 7},
    {1, Q_FREQUENCY, 14, 0, 7},
    {1, Q_PHASE_ANGLE, 81, 0, 7},
    {4, Q_HCA, 1, 0, 0},
    {5, Q_ENERGY, 1, 0, 0},
    {5, Q_VOLUME, 2, 0, 0},
    {5, Q_MASS, 3, 0, 0},
    {5, Q_POWER, 8, 0, 0},
    {5, Q_FLOW, 9, 0, 0},
    {5, Q_FLOW_TEMPERATURE, 10, 0, 0},
    {5, Q_RETURN_TEMPERATURE, 11, 0, 0},
    {5, Q_TEMPERATURE_DIFFERENCE, 12, 0, 0},
    {5, Q_PRESSURE, 13, 0, 0},
    {6, Q_ENERGY, 1, 0, 0},
    {6, Q_VOLUME, 2, 0, 0},
    {6, Q_MASS, 3, 0, 0},
    {6, Q_POWER, 8, 0, 0},
    {6, Q_FLOW, 9, 0, 0},
    {6, Q_FLOW_TEMPERATURE, 10, 0, 0},
    {6, Q_RETURN_TEMPERATURE, 11, 0, 0},
    {6, Q_TEMPERATURE_DIFFERENCE, 12, 0, 0},
    {6, Q_PRESSURE, 13, 0, 0},
    {7, Q_VOLUME, 3, 6, 0},
    {7, Q_FLOW_TEMPERATURE, 41, 0, 0},
    {7, Q_PRESSURE, 42, 0, 0},
    {7, Q_FLOW, 43, 0, 0},
    {7, Q_CONVERSION_FACTOR, 52, 0, 0},
    {8, Q_VOLUME, 1, 0, 0},
    {8, Q_FLOW, 2, 0, 0},
    {8, Q_FLOW_TEMPERATURE, 3, 0, 0},
    {9, Q_VOLUME, 1, 0, 0},
    {9, Q_FLOW, 2, 0, 0},
    {9, Q_FLOW_TEMPERATURE, 3, 0, 0},
};

/* Registers of the device rather than of a medium: 0-B:C.D.E. Both times count
 * per tariff; on time starts at E = 128 (our choice). */
static const struct abstract {
    enum quantity quantity;
    uint8_t c, d, e;
    bool tariffs;
    enum value_kind kind;
} abstracts[] = {
    {Q_SERIAL, 96, 1, 0, false, KIND_INSTANT},
    {Q_ERROR_FLAGS, 97, 97, 0, false, KIND_INSTANT},
    {Q_OPERATING_TIME, 96, 8, 0, true, KIND_CUMULATIVE},
    {Q_ON_TIME, 96, 8, 128, true, KIND_CUMULATIVE},
    {Q_DIGITAL_INPUT, 96, 3, 1, false, KIND_INSTANT},
    {Q_DIGITAL_OUTPUT, 96, 3, 2, false, KIND_INSTANT},
    {Q_VALVE, 96, 3, 10, false, KIND_INSTANT},
    {Q_BATTERY_PERCENT, 96, 6, 1, false, KIND_INSTANT},
    {Q_BATTERY_VOLTAGE, 96, 6, 3, false, KIND_INSTANT},
    {Q_BATTERY_LIFE, 96, 6, 6, false, KIND_INSTANT},
    {Q_SIGNAL, 96, 12, 5, false, KIND_INSTANT},
};

static int derive_abstract(const struct abstract *a, const struct measured *m,
                           struct normal *ret)
{
    bool plain = !m->phase && !m->maximum && !m->minimum && !m->export_ &&
                 !m->uncorrected && !m->base;

    if (!plain || (m->tariff && !a->tariffs))
        return ERR_UNKNOWN;
    ret->obis =
        OBIS(0, (uint8_t)m->subunit, a->c, a->d, (uint8_t)(a->e + m->tariff));
    ret->kind = a->kind;
    return 0;
}

/* Energy and power that only one quadrant adds to, or both directions: groups
 * C of their own. */
static int place_sum(const struct measured *m, struct obis *o)
{
    static const struct {
        enum quantity energy, power;
        uint8_t quadrant_1, net, absolute; /* group C; 0: none */
    } rows[] = {
        {Q_ENERGY, Q_POWER, 17, 16, 15},
        {Q_REACTIVE_ENERGY, Q_REACTIVE_POWER, 5, 0, 0},
    };
    uint8_t c = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (m->quantity != rows[i].energy && m->quantity != rows[i].power)
            continue;
        if (m->phase <= LAST_QUADRANT)
            c = (uint8_t)(rows[i].quadrant_1 + m->phase - FIRST_QUADRANT);
        else
            c = m->phase == NET ? rows[i].net : rows[i].absolute;
    }
    o->c = c;
    return c && !m->export_ ? 0 : ERR_UNKNOWN;
}

/* Electricity: phase L1..L3 is C + 20, 40, 60, N (voltage and current only)
 * C + 80; between two phases it goes to E. ERR_UNKNOWN where OBIS has none. */
static int place_phase(const struct measured *m, struct obis *o)
{
    /* 81.7.ab: a and b count U1..U3 as 0..2 and I1..I3 as 4..6; the first
     * three are current to voltage of one phase, the others voltages. */
    static const uint8_t angle[] = {0, 40, 51, 62, 0, 10, 21, 20};
    static const uint8_t between[] = {128 + 12, 128 + 23, 128 + 31};
    uint8_t phase = m->phase;

    if (o->a != 1 || phase > ABSOLUTE)
        return phase ? ERR_UNKNOWN : 0;
    if (phase >= FIRST_QUADRANT)
        return o->c < C_OWN ? place_sum(m, o) : ERR_UNKNOWN;
    if (m->quantity == Q_PHASE_ANGLE) {
        o->e = angle[phase];
        return angle[phase] && !m->tariff ? 0 : ERR_UNKNOWN;
    }
    if (phase == 0)
        return 0;
    if (o->c >= C_OWN)
        return ERR_UNKNOWN;
    if (phase <= 3) {
        o->c = (uint8_t)(o->c + 20 * phase);
        return 0;
    }
    if (phase == 4 && (m->quantity == Q_VOLTAGE || m->quantity == Q_CURRENT)) {
        o->c = (uint8_t)(o->c + 80);
        return 0;
    }
    if (phase > 4 && m->quantity == Q_VOLTAGE && !m->tariff) {
        o->e = between[phase - 5];
        return 0;
    }
    return ERR_UNKNOWN;
}

/* Gas at base conditions: converter volume 13.2, flow 43.2. */
static int place_condition(const struct measured *m, struct obis *o)
{
    bool gas = o->a == 7 && o->c < C_OWN && !m->export_ &&
               (m->quantity == Q_VOLUME || m->quantity == Q_FLOW);

    if (m->base) {
        o->c = m->quantity == Q_VOLUME ? 13 : o->c;
        o->d = 2;
    }
    return gas || (!m->base && !m->uncorrected) ? 0 : ERR_UNKNOWN;
}

static const struct group_c *find_group(uint8_t a, enum quantity q)
{
    for (size_t i = 0; i < sizeof(groups_c) / sizeof(*groups_c); i++) {
        if (groups_c[i].a == a && groups_c[i].quantity == q)
            return &groups_c[i];
    }
    return NULL;
}

static int derive_medium(const struct measured *m, struct normal *ret)
{
    const struct quantity_row *q = &quantities[m->quantity];
    bool cooling = m->medium == MEDIUM_HEAT && m->export_;
    bool export_ = m->export_ && !cooling;
    bool extreme = m->maximum || m->minimum;
    uint8_t a = cooling ? 5 : groups_a[m->medium];
    const struct group_c *g = find_group(a, m->quantity);
    struct obis o = OBIS(a, (uint8_t)m->subunit, 0, 0, (uint8_t)m->tariff);
    int r;

    if (q->number == 0)
        return ERR_UNKNOWN;
    /* D of gas, water and HCA has no extremes: those go to our own range */
    if (g && ((export_ && !g->c_export) || (extreme && a != 1 && a > 6)))
        g = NULL;
    if (g) {
        o.c = export_ ? g->c_export : g->c;
        o.d = g->d;
    } else {
        o.c = (uint8_t)((export_ ? C_OWN_EXPORT : C_OWN) + q->number);
    }
    bool electric = a == 1 && g;
    if (m->maximum)
        o.d = electric ? D_MAX_ELECTRICITY : D_MAX;
    else if (m->minimum)
        o.d = electric ? D_MIN_ELECTRICITY : D_MIN;
    if ((r = place_phase(m, &o)) < 0 || (r = place_condition(m, &o)) < 0)
        return r;
    ret->obis = o;
    ret->kind = extreme ? KIND_INTERVAL : q->kind;
    return 0;
}

static int derive(const struct measured *m, struct normal *ret)
{
    if (!obis_is_none(m->obis)) {
        ret->obis = m->obis;
        ret->kind = m->kind;
        return 0;
    }
    if ((unsigned)m->medium >= MEDIUM_COUNT ||
        (unsigned)m->quantity >= Q_QUANTITY_COUNT ||
        m->subunit > LAST_CHANNEL || m->tariff > LAST_TARIFF)
        return ERR_UNKNOWN;
    for (size_t i = 0; i < sizeof(abstracts) / sizeof(*abstracts); i++) {
        if (abstracts[i].quantity == m->quantity)
            return derive_abstract(&abstracts[i], m, ret);
    }
    return derive_medium(m, ret);
}

int normalise(const struct measured *m, struct normal *ret)
{
    struct normal n = {0};
    /* an absent value keeps its power of ten, so that its column does not
     * change when it comes and goes */
    bool absent = m->value.mantissa == VALUE_NONE;
    struct decimal value = {absent ? 0 : m->value.mantissa, m->value.exp10};

    if (m->storage > LAST_STORAGE || derive(m, &n) < 0)
        return ERR_UNKNOWN;
    if (m->storage > 0 && n.obis.f == 255)
        n.obis.f = (uint8_t)m->storage;
    n.unit = unit_canonical(m->unit);
    if (unit_convert(value, m->unit, &n.value) < 0 ||
        n.value.mantissa == VALUE_NONE) {
        n.unit = m->unit;
        n.value = value;
        n.quality = QUALITY_UNIT_KEPT;
    }
    if (absent)
        n.value.mantissa = VALUE_NONE;
    *ret = n;
    return 0;
}
