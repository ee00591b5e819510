/*
 * mbus_vif.c - the VIF tables of EN 13757-3. Energies are given in kWh and GJ
 * and powers in kW, so that the value reads as the display shows it; that is
 * only another power of ten.
 */
#include "codecs/mbus_vif.h"

enum { VIF_PLAIN_TEXT = 0x7C, VIF_FB = 0x7B, VIF_FD = 0x7D };
enum { VIFE_PHASE = 0x7C, VIFE_MANUFACTURER = 0x7F };

/* What the codes first..last of a row step through. */
enum vif_step {
    STEP_POWER, /* 10^(code - first + exp10) of the unit */
    STEP_TIME,  /* s, min, h, d */
    STEP_NONE,  /* they mean the same to us */
};

struct vif_row {
    uint8_t first, last;
    enum quantity quantity; /* Q_UNKNOWN ends a table */
    enum unit unit;
    int8_t exp10;
    enum mbus_reading reading;
    enum vif_step step;
};

#define ROW(a, z, q, unit, exp10)                                              \
    {                                                                          \
        a, z, q, unit, exp10, MBUS_SIGNED, STEP_POWER                          \
    }
#define TIMES(a, q)                                                            \
    {                                                                          \
        a, a + 3, q, UNIT_S, 0, MBUS_SIGNED, STEP_TIME                         \
    }
#define BITS(a, z, q)                                                          \
    {                                                                          \
        a, z, q, UNIT_NONE, 0, MBUS_UNSIGNED, STEP_NONE                        \
    }
#define OTHER(a, z, q, r)                                                      \
    {                                                                          \
        a, z, q, UNIT_NONE, 0, r, STEP_NONE                                    \
    }

static const struct vif_row primary[] = {
    ROW(0x00, 0x07, Q_ENERGY, UNIT_KWH, -6),
    ROW(0x08, 0x0F, Q_ENERGY, UNIT_GJ, -9),
    ROW(0x10, 0x17, Q_VOLUME, UNIT_M3, -6),
    ROW(0x18, 0x1F, Q_MASS, UNIT_KG, -3),
    TIMES(0x20, Q_ON_TIME),
    TIMES(0x24, Q_OPERATING_TIME),
    ROW(0x28, 0x2F, Q_POWER, UNIT_KW, -6),
    ROW(0x30, 0x37, Q_POWER, UNIT_GJ_H, -9),
    ROW(0x38, 0x3F, Q_FLOW, UNIT_M3_H, -6),
    ROW(0x40, 0x47, Q_FLOW, UNIT_M3_MIN, -7),
    ROW(0x48, 0x4F, Q_FLOW, UNIT_M3_S, -9),
    ROW(0x50, 0x57, Q_MASS_FLOW, UNIT_KG_H, -3),
    ROW(0x58, 0x5B, Q_FLOW_TEMPERATURE, UNIT_CEL, -3),
    ROW(0x5C, 0x5F, Q_RETURN_TEMPERATURE, UNIT_CEL, -3),
    ROW(0x60, 0x63, Q_TEMPERATURE_DIFFERENCE, UNIT_K, -3),
    ROW(0x64, 0x67, Q_EXTERNAL_TEMPERATURE, UNIT_CEL, -3),
    ROW(0x68, 0x6B, Q_PRESSURE, UNIT_BAR, -3),
    OTHER(0x6C, 0x6D, Q_DATE, MBUS_TIME),
    ROW(0x6E, 0x6E, Q_HCA, UNIT_HCA, 0),
    TIMES(0x70, Q_AVERAGING_DURATION),
    TIMES(0x74, Q_ACTUALITY_DURATION),
    OTHER(0x78, 0x78, Q_SERIAL, MBUS_FABRICATION),
    OTHER(0x79, 0x79, Q_SERIAL, MBUS_ENHANCED_ID),
    BITS(0x7A, 0x7A, Q_BUS_ADDRESS),
    BITS(0x7F, 0x7F, Q_MANUFACTURER),
    {0},
};

static const struct vif_row table_fb[] = {
    ROW(0x00, 0x01, Q_ENERGY, UNIT_KWH, 2),
    ROW(0x02, 0x03, Q_REACTIVE_ENERGY, UNIT_KVARH, 0),
    ROW(0x04, 0x05, Q_APPARENT_ENERGY, UNIT_KVAH, 0),
    ROW(0x08, 0x09, Q_ENERGY, UNIT_GJ, -1),
    ROW(0x0C, 0x0F, Q_ENERGY, UNIT_MCAL, -1),
    ROW(0x10, 0x11, Q_VOLUME, UNIT_M3, 2),
    ROW(0x14, 0x17, Q_REACTIVE_POWER, UNIT_KVAR, -3),
    ROW(0x18, 0x19, Q_MASS, UNIT_T, 2),
    ROW(0x1A, 0x1B, Q_HUMIDITY, UNIT_PERCENT, -1),
    ROW(0x20, 0x20, Q_VOLUME, UNIT_FT3, 0),
    ROW(0x22, 0x23, Q_VOLUME, UNIT_GAL, -1),
    ROW(0x28, 0x29, Q_POWER, UNIT_KW, 2),
    ROW(0x2A, 0x2A, Q_PHASE_ANGLE, UNIT_DEG, -1), /* U to U */
    ROW(0x2B, 0x2B, Q_PHASE_ANGLE, UNIT_DEG, -1), /* U to I */
    ROW(0x2C, 0x2F, Q_FREQUENCY, UNIT_HZ, -3),
    ROW(0x30, 0x31, Q_POWER, UNIT_GJ_H, -1),
    ROW(0x34, 0x37, Q_APPARENT_POWER, UNIT_KVA, -3),
    ROW(0x74, 0x77, Q_PARAMETER, UNIT_CEL, -3), /* temperature limit */
    ROW(0x78, 0x7F, Q_PARAMETER, UNIT_KW, -6),  /* cumulated maximum */
    {0},
};

static const struct vif_row table_fd[] = {
    ROW(0x00, 0x03, Q_CREDIT, UNIT_NONE, -3),
    ROW(0x04, 0x07, Q_DEBIT, UNIT_NONE, -3),
    BITS(0x08, 0x09, Q_PARAMETER), /* access number, medium */
    BITS(0x0A, 0x11, Q_IDENTIFICATION),
    BITS(0x12, 0x16, Q_PARAMETER),
    BITS(0x17, 0x17, Q_ERROR_FLAGS),
    BITS(0x18, 0x18, Q_ERROR_MASK),
    BITS(0x1A, 0x1A, Q_DIGITAL_OUTPUT),
    BITS(0x1B, 0x1B, Q_DIGITAL_INPUT),
    BITS(0x1C, 0x22, Q_PARAMETER),
    TIMES(0x24, Q_PARAMETER), /* storage interval */
    ROW(0x28, 0x28, Q_PARAMETER, UNIT_MONTH, 0),
    ROW(0x29, 0x29, Q_PARAMETER, UNIT_YEAR, 0),
    TIMES(0x2C, Q_PARAMETER),                  /* since last readout */
    OTHER(0x30, 0x30, Q_DATE, MBUS_TIME),      /* tariff start */
    ROW(0x31, 0x31, Q_PARAMETER, UNIT_MIN, 0), /* its duration */
    ROW(0x32, 0x32, Q_PARAMETER, UNIT_H, 0),
    ROW(0x33, 0x33, Q_PARAMETER, UNIT_D, 0),
    ROW(0x3A, 0x3A, Q_COUNT, UNIT_NONE, 0),
    TIMES(0x3C, Q_PARAMETER), /* nominal transmission period */
    ROW(0x40, 0x4F, Q_VOLTAGE, UNIT_V, -9),
    ROW(0x50, 0x5F, Q_CURRENT, UNIT_A, -12),
    BITS(0x60, 0x63, Q_PARAMETER),
    BITS(0x66, 0x67, Q_PARAMETER),
    TIMES(0x68, Q_PARAMETER),                /* since last cumulation */
    ROW(0x6C, 0x6C, Q_PARAMETER, UNIT_H, 0), /* battery operating time */
    ROW(0x6D, 0x6D, Q_PARAMETER, UNIT_D, 0),
    ROW(0x6E, 0x6E, Q_PARAMETER, UNIT_MONTH, 0),
    ROW(0x6F, 0x6F, Q_PARAMETER, UNIT_YEAR, 0),
    OTHER(0x70, 0x70, Q_DATE, MBUS_TIME), /* battery change */
    ROW(0x71, 0x71, Q_SIGNAL, UNIT_DBM, 0),
    ROW(0x74, 0x74, Q_BATTERY_LIFE, UNIT_D, 0),
    BITS(0x75, 0x75, Q_PARAMETER), /* stop counter */
    {0},
};

static const struct vif_row *find_row(const struct vif_row *rows, uint8_t code)
{
    for (; rows->quantity != Q_UNKNOWN; rows++) {
        if (code >= rows->first && code <= rows->last)
            return rows;
    }
    return NULL;
}

static struct mbus_meaning meaning_of_row(const struct vif_row *row,
                                          uint8_t code)
{
    static const enum unit times[] = {UNIT_S, UNIT_MIN, UNIT_H, UNIT_D};

    if (!row)
        return (struct mbus_meaning){.quantity = Q_UNKNOWN};
    int step = code - row->first;
    struct mbus_meaning m = {
        .quantity = row->quantity, .unit = row->unit, .reading = row->reading};
    if (row->step == STEP_POWER)
        m.exp10 = row->exp10 + step;
    else if (row->step == STEP_TIME)
        m.unit = times[step & 3];
    return m;
}

/* Units that only a plain text names, as sent: last character first. */
static struct mbus_meaning meaning_of_text(struct str reversed)
{
    if (str_eq(reversed, STR("HR%")))
        return (struct mbus_meaning){.quantity = Q_HUMIDITY,
                                     .unit = UNIT_PERCENT};
    return (struct mbus_meaning){.quantity = Q_UNKNOWN};
}

/* Combinable VIFEs: what stands in none of these rows makes the value another
 * thing than the register (a rate, a limit, a duration): MEASURED_RATE. */
enum vife_effect {
    EFFECT_ABSENT,
    EFFECT_NONE,
    EFFECT_SCALE, /* 10^(code - first + amount) */
    EFFECT_FLAG,  /* amount is the flag */
};

static const struct vife_row {
    uint8_t first, last;
    enum vife_effect effect;
    int8_t amount;
} vifes[] = {
    {0x00, 0x00, EFFECT_NONE, 0},
    {0x01, 0x11, EFFECT_ABSENT, 0}, /* record errors: not available */
    {0x15, 0x18, EFFECT_ABSENT, 0}, /* no data, overflow, data error */
    {0x3A, 0x3A, EFFECT_FLAG, MEASURED_UNCORRECTED},
    {0x3B, 0x3B, EFFECT_NONE, 0}, /* only positive contributions */
    {0x3C, 0x3C, EFFECT_FLAG, MEASURED_EXPORT},
    {0x3E, 0x3E, EFFECT_FLAG, MEASURED_BASE},
    {0x70, 0x77, EFFECT_SCALE, -6},
    {0x7D, 0x7D, EFFECT_SCALE, 3},
};

static void apply_vife(struct mbus_meaning *m, uint8_t code)
{
    for (size_t i = 0; i < sizeof(vifes) / sizeof(*vifes); i++) {
        const struct vife_row *row = &vifes[i];

        if (code < row->first || code > row->last)
            continue;
        if (row->effect == EFFECT_ABSENT)
            m->absent = true;
        else if (row->effect == EFFECT_SCALE)
            m->exp10 += code - row->first + row->amount;
        else if (row->effect == EFFECT_FLAG)
            m->flags |= (uint32_t)row->amount;
        return;
    }
    m->flags |= MEASURED_RATE;
}

struct mbus_meaning mbus_meaning(const struct mbus_record *r)
{
    uint32_t i = 0;
    struct mbus_meaning m;

    if (r->vif == VIF_PLAIN_TEXT) {
        m = meaning_of_text(r->unit_text);
    } else if (r->n_vife > 0 && (r->vif == VIF_FB || r->vif == VIF_FD)) {
        uint8_t code = r->vife[i++] & 0x7F;
        m = meaning_of_row(
            find_row(r->vif == VIF_FB ? table_fb : table_fd, code), code);
    } else {
        m = meaning_of_row(find_row(primary, r->vif), r->vif);
    }
    if (m.quantity == Q_MANUFACTURER || m.quantity == Q_UNKNOWN)
        i = r->vif == VIF_PLAIN_TEXT ? i : r->n_vife; /* not ours to read */
    for (; i < r->n_vife; i++) {
        uint8_t code = r->vife[i] & 0x7F;

        if (code == VIFE_MANUFACTURER) { /* the rest is the maker's */
            m.flags |= MEASURED_RATE;
            break;
        }
        if (code == VIFE_PHASE && i + 1 < r->n_vife) {
            uint8_t phase = r->vife[++i] & 0x7F;
            if (phase >= 1 && phase <= 7)
                m.phase = phase;
            else
                m.flags |= MEASURED_RATE;
            continue;
        }
        apply_vife(&m, code);
    }
    return m;
}
