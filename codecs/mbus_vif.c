/*
 * mbus_vif.c - the VIF tables of EN 13757-3. Energies are given in kWh and GJ
 * and powers in kW, so that the value reads as the display shows it; that is
 * only another power of ten.
 */
#include "codecs/mbus_vif.h"

enum { VIF_PLAIN_TEXT = 0x7C, VIF_FB = 0x7B, VIF_FD = 0x7D };
enum { SECOND_LEVEL = 0x7D }; /* of table FD */
enum { VIFE_EXTENSION = 0x7C, VIFE_MANUFACTURER = 0x7F };

/* What the codes first..last of a row step through. */
enum vif_step {
    STEP_POWER,  /* 10^(code - first + exp10) of the unit */
    STEP_TIME,   /* s, min, h, d */
    STEP_LONG,   /* h, d, month, year */
    STEP_BINARY, /* 2^-12 of the unit */
    STEP_NONE,   /* they mean the same to us */
};

/* 2^-12 is 244140625 * 10^-12. */
enum { TWO_POW_M12 = 244140625, TWO_POW_M12_EXP = -12 };

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
#define LONG_TIMES(a, z, q)                                                    \
    {                                                                          \
        a, z, q, UNIT_H, 0, MBUS_SIGNED, STEP_LONG                             \
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

/* American units were withdrawn in 2018; older meters still send them. */
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
    ROW(0x21, 0x21, Q_VOLUME, UNIT_FT3, -1),
    ROW(0x22, 0x23, Q_VOLUME, UNIT_GAL, -1),
    ROW(0x24, 0x24, Q_FLOW, UNIT_GAL_MIN, -3),
    ROW(0x25, 0x25, Q_FLOW, UNIT_GAL_MIN, 0),
    ROW(0x26, 0x26, Q_FLOW, UNIT_GAL_H, 0),
    ROW(0x28, 0x29, Q_POWER, UNIT_KW, 2),
    ROW(0x2A, 0x2A, Q_PHASE_ANGLE, UNIT_DEG, -1), /* U to U */
    ROW(0x2B, 0x2B, Q_PHASE_ANGLE, UNIT_DEG, -1), /* U to I */
    ROW(0x2C, 0x2F, Q_FREQUENCY, UNIT_HZ, -3),
    ROW(0x30, 0x31, Q_POWER, UNIT_GJ_H, -1),
    ROW(0x34, 0x37, Q_APPARENT_POWER, UNIT_KVA, -3),
    ROW(0x58, 0x5B, Q_FLOW_TEMPERATURE, UNIT_DEGF, -3),
    ROW(0x5C, 0x5F, Q_RETURN_TEMPERATURE, UNIT_DEGF, -3),
    ROW(0x60, 0x63, Q_TEMPERATURE_DIFFERENCE, UNIT_DEGF, -3),
    ROW(0x64, 0x67, Q_EXTERNAL_TEMPERATURE, UNIT_DEGF, -3),
    /* rating factors of heat cost allocators: K, Kq, Kc, Kcr, Kch, Kt, KD */
    {0x68, 0x68, Q_PARAMETER, UNIT_NONE, 0, MBUS_SIGNED, STEP_BINARY},
    ROW(0x69, 0x69, Q_PARAMETER, UNIT_W, 0),
    {0x6A, 0x6E, Q_PARAMETER, UNIT_NONE, 0, MBUS_SIGNED, STEP_BINARY},
    ROW(0x70, 0x73, Q_PARAMETER, UNIT_DEGF, -3), /* temperature limit */
    ROW(0x74, 0x77, Q_PARAMETER, UNIT_CEL, -3),  /* temperature limit */
    ROW(0x78, 0x7F, Q_PARAMETER, UNIT_KW, -6),   /* cumulated maximum */
    {0},
};

static const struct vif_row table_fd[] = {
    ROW(0x00, 0x03, Q_CREDIT, UNIT_NONE, -3),
    ROW(0x04, 0x07, Q_DEBIT, UNIT_NONE, -3),
    BITS(0x08, 0x09, Q_PARAMETER), /* message number, device type */
    BITS(0x0A, 0x11, Q_IDENTIFICATION),
    BITS(0x12, 0x16, Q_PARAMETER), /* access codes, password */
    BITS(0x17, 0x17, Q_ERROR_FLAGS),
    BITS(0x18, 0x18, Q_ERROR_MASK),
    BITS(0x19, 0x19, Q_PARAMETER),
    BITS(0x1A, 0x1A, Q_DIGITAL_OUTPUT),
    BITS(0x1B, 0x1B, Q_DIGITAL_INPUT),
    BITS(0x1C, 0x23, Q_PARAMETER),
    TIMES(0x24, Q_PARAMETER), /* storage interval */
    ROW(0x28, 0x28, Q_PARAMETER, UNIT_MONTH, 0),
    ROW(0x29, 0x29, Q_PARAMETER, UNIT_YEAR, 0),
    BITS(0x2A, 0x2A, Q_PARAMETER),             /* operator's data */
    ROW(0x2B, 0x2B, Q_PARAMETER, UNIT_S, 0),   /* second of the minute */
    TIMES(0x2C, Q_PARAMETER),                  /* since last readout */
    OTHER(0x30, 0x30, Q_DATE, MBUS_TIME),      /* tariff start */
    ROW(0x31, 0x31, Q_PARAMETER, UNIT_MIN, 0), /* its duration */
    ROW(0x32, 0x32, Q_PARAMETER, UNIT_H, 0),
    ROW(0x33, 0x33, Q_PARAMETER, UNIT_D, 0),
    TIMES(0x34, Q_PARAMETER), /* its period */
    ROW(0x38, 0x38, Q_PARAMETER, UNIT_MONTH, 0),
    ROW(0x39, 0x39, Q_PARAMETER, UNIT_YEAR, 0),
    ROW(0x3A, 0x3A, Q_COUNT, UNIT_NONE, 0),
    OTHER(0x3B, 0x3B, Q_PARAMETER, MBUS_OPAQUE), /* a wireless telegram */
    TIMES(0x3C, Q_PARAMETER), /* nominal transmission period */
    ROW(0x40, 0x4F, Q_VOLTAGE, UNIT_V, -9),
    ROW(0x50, 0x5F, Q_CURRENT, UNIT_A, -12),
    BITS(0x60, 0x64, Q_PARAMETER),
    OTHER(0x65, 0x65, Q_DATE, MBUS_TIME), /* change of day */
    BITS(0x66, 0x67, Q_PARAMETER),
    LONG_TIMES(0x68, 0x6B, Q_PARAMETER),  /* since last cumulation */
    LONG_TIMES(0x6C, 0x6F, Q_PARAMETER),  /* battery operating time */
    OTHER(0x70, 0x70, Q_DATE, MBUS_TIME), /* battery change */
    ROW(0x71, 0x71, Q_SIGNAL, UNIT_DBM, 0),
    BITS(0x72, 0x73, Q_PARAMETER), /* summer time, listening windows */
    ROW(0x74, 0x74, Q_BATTERY_LIFE, UNIT_D, 0),
    BITS(0x75, 0x75, Q_PARAMETER),               /* stop counter */
    OTHER(0x76, 0x76, Q_PARAMETER, MBUS_OPAQUE), /* maker's container */
    {0},
};

/* Behind FD FD. */
static const struct vif_row table_fd_second[] = {
    BITS(0x00, 0x00, Q_PARAMETER), /* selected application */
    ROW(0x02, 0x02, Q_BATTERY_LIFE, UNIT_MONTH, 0),
    ROW(0x03, 0x03, Q_BATTERY_LIFE, UNIT_YEAR, 0),
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

static const enum unit times[] = {UNIT_S, UNIT_MIN, UNIT_H, UNIT_D};

static struct mbus_meaning meaning_of_row(const struct vif_row *row,
                                          uint8_t code)
{
    static const enum unit long_times[] = {UNIT_H, UNIT_D, UNIT_MONTH,
                                           UNIT_YEAR};

    if (!row)
        return (struct mbus_meaning){.quantity = Q_UNKNOWN, .mul = 1};
    int step = code - row->first;
    struct mbus_meaning m = {.quantity = row->quantity,
                             .unit = row->unit,
                             .reading = row->reading,
                             .mul = 1};
    if (row->step == STEP_POWER) {
        m.exp10 = row->exp10 + step;
    } else if (row->step == STEP_TIME) {
        m.unit = times[step & 3];
    } else if (row->step == STEP_LONG) {
        m.unit = long_times[step & 3];
    } else if (row->step == STEP_BINARY) {
        m.mul = TWO_POW_M12;
        m.exp10 = TWO_POW_M12_EXP;
    }
    return m;
}

/* Units that only a plain text names, as sent: last character first. */
static struct mbus_meaning meaning_of_text(struct str reversed)
{
    struct mbus_meaning m = {.quantity = Q_UNKNOWN, .mul = 1};

    if (str_eq(reversed, STR("HR%"))) {
        m.quantity = Q_HUMIDITY;
        m.unit = UNIT_PERCENT;
    }
    return m;
}

/* Combinable VIFEs: the first row that fits. What is named by none makes the
 * value another thing than the register (an average, a rate, a limit). */
enum vife_effect {
    EFFECT_ABSENT,
    EFFECT_NONE,
    EFFECT_SCALE,    /* 10^(code - first + amount) */
    EFFECT_FLAG,     /* amount is the flag */
    EFFECT_TIME,     /* when it was so: the data are a date */
    EFFECT_DURATION, /* how long it was so: s, min, h, d */
    EFFECT_COUNT,    /* how often it was so */
    EFFECT_OPAQUE,   /* the data are no single number in this unit */
};

static const struct vife_row {
    uint8_t first, last;
    enum vife_effect effect;
    int8_t amount;
} vifes[] = {
    {0x00, 0x00, EFFECT_NONE, 0},
    {0x01, 0x11, EFFECT_ABSENT, 0}, /* record errors: not available */
    {0x13, 0x13, EFFECT_OPAQUE, 0}, /* inverse compact profile */
    {0x15, 0x1C, EFFECT_ABSENT, 0}, /* no data, overflow, data error */
    {0x1D, 0x1D, EFFECT_NONE, 0},   /* data conform to the standard */
    {0x1E, 0x1F, EFFECT_OPAQUE, 0}, /* compact profile */
    {0x39, 0x39, EFFECT_TIME, 0},   /* start of */
    {0x3A, 0x3A, EFFECT_FLAG, MEASURED_UNCORRECTED},
    {0x3B, 0x3B, EFFECT_NONE, 0}, /* only positive contributions */
    {0x3C, 0x3C, EFFECT_FLAG, MEASURED_EXPORT},
    {0x3D, 0x3D, EFFECT_OPAQUE, 0}, /* not the metric unit */
    {0x3E, 0x3E, EFFECT_FLAG, MEASURED_BASE},
    {0x3F, 0x3F, EFFECT_OPAQUE, 0}, /* OBIS declaration */
    {0x41, 0x41, EFFECT_COUNT, 0},  /* exceeds of the lower limit */
    {0x42, 0x43, EFFECT_TIME, 0},
    {0x46, 0x47, EFFECT_TIME, 0},
    {0x49, 0x49, EFFECT_COUNT, 0}, /* of the upper limit */
    {0x4A, 0x4B, EFFECT_TIME, 0},
    {0x4E, 0x4F, EFFECT_TIME, 0},
    {0x50, 0x67, EFFECT_DURATION, 0},
    {0x6A, 0x6B, EFFECT_TIME, 0},
    {0x6E, 0x6F, EFFECT_TIME, 0},
    {0x70, 0x77, EFFECT_SCALE, -6},
    {0x7D, 0x7D, EFFECT_SCALE, 3},
    {0x00, 0x7F, EFFECT_FLAG, MEASURED_RATE},
};

/* The data tell about the register something that is not its value. */
static void become(struct mbus_meaning *m, enum quantity quantity,
                   enum unit unit, enum mbus_reading reading)
{
    m->quantity = quantity;
    m->unit = unit;
    m->reading = reading;
    m->exp10 = 0;
    m->mul = 1;
    m->flags |= MEASURED_RATE;
}

static void apply_vife(struct mbus_meaning *m, uint8_t code)
{
    const struct vife_row *row = vifes;

    while (code < row->first || code > row->last)
        row++;
    switch (row->effect) {
    case EFFECT_ABSENT:
        m->absent = true;
        break;
    case EFFECT_NONE:
        break;
    case EFFECT_SCALE:
        m->exp10 += code - row->first + row->amount;
        break;
    case EFFECT_FLAG:
        m->flags |= (uint32_t)row->amount;
        break;
    case EFFECT_TIME:
        become(m, Q_DATE, UNIT_NONE, MBUS_TIME);
        break;
    case EFFECT_DURATION:
        m->duration = times[code & 3];
        m->flags |= MEASURED_RATE;
        break;
    case EFFECT_COUNT:
        become(m, Q_PARAMETER, UNIT_NONE, MBUS_SIGNED);
        break;
    case EFFECT_OPAQUE:
        m->reading = MBUS_OPAQUE;
        m->flags |= MEASURED_RATE;
        break;
    }
}

/* Behind FC: phases 1 to 7, quadrants 8 to B, C import less export, 10 the sum
 * of both; 11 and 12: the data are unsigned. */
static void apply_extension(struct mbus_meaning *m, uint8_t code)
{
    if (code >= 0x01 && code <= 0x0C)
        m->phase = code;
    else if (code == 0x10)
        m->phase = PHASE_ABSOLUTE;
    else if (code == 0x11 || code == 0x12)
        m->reading = m->reading == MBUS_SIGNED ? MBUS_UNSIGNED : m->reading;
    else
        m->flags |= MEASURED_RATE;
}

/* The VIF, or the VIFEs that stand for it: *used of them. */
static struct mbus_meaning meaning_of_vif(const struct mbus_record *r,
                                          uint32_t *used)
{
    const struct vif_row *table = r->vif == VIF_FB ? table_fb : table_fd;
    uint8_t code;

    if (r->vif == VIF_PLAIN_TEXT)
        return meaning_of_text(r->unit_text);
    if (r->n_vife == 0 || (r->vif != VIF_FB && r->vif != VIF_FD))
        return meaning_of_row(find_row(primary, r->vif), r->vif);
    code = r->vife[(*used)++] & 0x7F;
    if (r->vif == VIF_FD && code == SECOND_LEVEL && r->n_vife > 1) {
        table = table_fd_second;
        code = r->vife[(*used)++] & 0x7F;
    }
    return meaning_of_row(find_row(table, code), code);
}

struct mbus_meaning mbus_meaning(const struct mbus_record *r)
{
    uint32_t i = 0;
    struct mbus_meaning m = meaning_of_vif(r, &i);

    if (m.quantity == Q_MANUFACTURER || m.quantity == Q_UNKNOWN)
        i = r->vif == VIF_PLAIN_TEXT ? i : r->n_vife; /* not ours to read */
    for (; i < r->n_vife; i++) {
        uint8_t code = r->vife[i] & 0x7F;

        if (code == VIFE_MANUFACTURER) { /* the rest is the maker's */
            m.flags |= MEASURED_RATE;
            break;
        }
        if (code == VIFE_EXTENSION && i + 1 < r->n_vife)
            apply_extension(&m, r->vife[++i] & 0x7F);
        else
            apply_vife(&m, code);
    }
    return m;
}
