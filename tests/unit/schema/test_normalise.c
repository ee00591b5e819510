/* Measurements to registers: the OBIS table, exact units, no collisions. */
#include "schema/normalise.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#define HEAT  .medium = MEDIUM_HEAT
#define ELEC  .medium = MEDIUM_ELECTRICITY
#define GAS   .medium = MEDIUM_GAS
#define WATER .medium = MEDIUM_WATER

/* "obis kind unit value", or the error's name */
static const char *outcome(struct measured m)
{
    static char text[160];
    char obis[OBIS_TEXT], value[DECIMAL_TEXT] = "none";
    struct normal n;
    int r = normalise(&m, &n);

    if (r < 0)
        return err_name(r);
    if (n.value.mantissa != VALUE_NONE)
        decimal_text(n.value, value);
    snprintf(text, sizeof(text), "%s %s %s %s%s", obis_text(n.obis, obis),
             kind_name(n.kind), value, unit_name(n.unit),
             n.quality & QUALITY_UNIT_KEPT ? " kept" : "");
    return text;
}

static void registers_follow_the_obis_table(void **state)
{
    static const struct {
        struct measured m;
        const char *expect;
    } rows[] = {
        {{HEAT, Q_ENERGY, UNIT_KWH, {106895, 0}},
         "6-0:1.0.0 cumulative 106895 kWh"},
        {{HEAT, Q_VOLUME, UNIT_M3, {2013060, -3}},
         "6-0:2.0.0 cumulative 2013.060 m3"},
        {{HEAT, Q_MASS, UNIT_T, {2, 0}}, "6-0:3.0.0 cumulative 2000 kg"},
        {{HEAT, Q_POWER, UNIT_W, {4047, 0}}, "6-0:8.0.0 instant 4.047 kW"},
        {{HEAT, Q_FLOW, UNIT_L_H, {93, 0}}, "6-0:9.0.0 instant 0.093 m3/h"},
        {{HEAT, Q_FLOW_TEMPERATURE, UNIT_CEL, {784, -1}},
         "6-0:10.0.0 instant 78.4 Cel"},
        {{HEAT, Q_RETURN_TEMPERATURE, UNIT_CEL, {408, -1}},
         "6-0:11.0.0 instant 40.8 Cel"},
        {{HEAT, Q_TEMPERATURE_DIFFERENCE, UNIT_K, {376, -1}},
         "6-0:12.0.0 instant 37.6 K"},
        {{HEAT, Q_ENERGY, UNIT_KWH, {1, 0}, .storage = 1},
         "6-0:1.0.0*1 cumulative 1 kWh"},
        {{HEAT, Q_ENERGY, UNIT_KWH, {1, 0}, .tariff = 2},
         "6-0:1.0.2 cumulative 1 kWh"},
        {{HEAT, Q_POWER, UNIT_KW, {1, 0}, .maximum = true},
         "6-0:8.5.0 interval 1 kW"},
        {{HEAT, Q_POWER, UNIT_KW, {1, 0}, .minimum = true},
         "6-0:8.4.0 interval 1 kW"},
        {{HEAT, Q_ENERGY, UNIT_KWH, {1, 0}, .export_ = true},
         "5-0:1.0.0 cumulative 1 kWh"},
        {{HEAT, Q_VOLUME, UNIT_M3, {1, 0}, .subunit = 1},
         "6-1:2.0.0 cumulative 1 m3"},
        {{HEAT, Q_ENERGY, UNIT_MCAL, {5, 0}},
         "6-0:1.0.0 cumulative 0.005 Gcal"},
        {{.medium = MEDIUM_COOLING, Q_ENERGY, UNIT_GJ, {5, -2}},
         "5-0:1.0.0 cumulative 0.05 GJ"},
        {{ELEC, Q_ENERGY, UNIT_WH, {15, 2}}, "1-0:1.8.0 cumulative 1.5 kWh"},
        {{ELEC, Q_ENERGY, UNIT_KWH, {1, 0}, .tariff = 1},
         "1-0:1.8.1 cumulative 1 kWh"},
        {{ELEC, Q_ENERGY, UNIT_KWH, {1, 0}, .export_ = true},
         "1-0:2.8.0 cumulative 1 kWh"},
        {{ELEC, Q_REACTIVE_ENERGY, UNIT_KVARH, {1, 0}},
         "1-0:3.8.0 cumulative 1 kvarh"},
        {{ELEC, Q_POWER, UNIT_KW, {1, 0}}, "1-0:16.7.0 instant 1 kW"},
        {{ELEC, Q_POWER, UNIT_KW, {1, 0}, .maximum = true},
         "1-0:16.6.0 interval 1 kW"},
        {{ELEC, Q_VOLTAGE, UNIT_V, {236, 0}, .phase = 1},
         "1-0:32.7.0 instant 236 V"},
        {{ELEC, Q_CURRENT, UNIT_A, {5, 0}, .phase = 3},
         "1-0:71.7.0 instant 5 A"},
        {{ELEC, Q_CURRENT, UNIT_A, {5, 0}, .phase = 4},
         "1-0:91.7.0 instant 5 A"},
        {{ELEC, Q_POWER, UNIT_KW, {1, 0}, .phase = 2},
         "1-0:56.7.0 instant 1 kW"},
        {{ELEC, Q_VOLTAGE, UNIT_V, {400, 0}, .phase = 5},
         "1-0:12.7.140 instant 400 V"},
        {{ELEC, Q_PHASE_ANGLE, UNIT_DEG, {120, 0}, .phase = 5},
         "1-0:81.7.10 instant 120 deg"},
        {{ELEC, Q_REACTIVE_ENERGY, UNIT_KVARH, {1, 0}, .phase = 8},
         "1-0:5.8.0 cumulative 1 kvarh"},
        {{ELEC, Q_REACTIVE_POWER, UNIT_KVAR, {1, 0}, .phase = 11},
         "1-0:8.7.0 instant 1 kvar"},
        {{ELEC, Q_ENERGY, UNIT_KWH, {1, 0}, .phase = 10, .tariff = 2},
         "1-0:19.8.2 cumulative 1 kWh"},
        {{ELEC, Q_ENERGY, UNIT_KWH, {-1, 0}, .phase = 12},
         "1-0:16.8.0 cumulative -1 kWh"},
        {{ELEC, Q_ENERGY, UNIT_KWH, {1, 0}, .phase = 13},
         "1-0:15.8.0 cumulative 1 kWh"},
        {{ELEC, Q_FREQUENCY, UNIT_HZ, {5000, -2}},
         "1-0:14.7.0 instant 50.00 Hz"},
        {{GAS, Q_VOLUME, UNIT_M3, {1, 0}}, "7-0:3.0.0 cumulative 1 m3"},
        {{GAS, Q_VOLUME, UNIT_M3, {1, 0}, .base = true},
         "7-0:13.2.0 cumulative 1 m3"},
        {{GAS, Q_VOLUME, UNIT_M3, {1, 0}, .uncorrected = true},
         "7-0:3.0.0 cumulative 1 m3"},
        {{GAS, Q_PRESSURE, UNIT_BAR, {1, 0}}, "7-0:42.0.0 instant 100 kPa"},
        {{WATER, Q_VOLUME, UNIT_M3, {7704, -3}},
         "8-0:1.0.0 cumulative 7.704 m3"},
        {{.medium = MEDIUM_HOT_WATER, Q_VOLUME, UNIT_M3, {1, 0}},
         "9-0:1.0.0 cumulative 1 m3"},
        {{.medium = MEDIUM_HCA, Q_HCA, UNIT_HCA, {9, 0}},
         "4-0:1.0.0 cumulative 9 HCA"},
        {{HEAT, Q_SERIAL, UNIT_NONE, {69322582, 0}},
         "0-0:96.1.0 instant 69322582 1"},
        {{HEAT, Q_ERROR_FLAGS, UNIT_NONE, {0, 0}}, "0-0:97.97.0 instant 0 1"},
        {{HEAT, Q_OPERATING_TIME, UNIT_H, {2, 0}},
         "0-0:96.8.0 cumulative 7200 s"},
        {{HEAT, Q_ON_TIME, UNIT_D, {1, 0}}, "0-0:96.8.128 cumulative 86400 s"},
        {{GAS, Q_VALVE, UNIT_NONE, {1, 0}}, "0-0:96.3.10 instant 1 1"},
        {{WATER, Q_ENERGY, UNIT_KWH, {1, 0}}, "8-0:129.0.0 cumulative 1 kWh"},
        {{WATER, Q_VOLUME, UNIT_M3, {1, 0}, .export_ = true},
         "8-0:162.0.0 cumulative 1 m3"},
        {{.medium = MEDIUM_OTHER, Q_HUMIDITY, UNIT_PERCENT, {541, -1}},
         "15-0:144.0.0 instant 54.1 %"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct measured m = rows[i].m;
        m.obis = OBIS_NONE;
        assert_string_equal(outcome(m), rows[i].expect);
    }
}

static void what_has_no_register_is_said_so(void **state)
{
    static const struct measured rows[] = {
        {HEAT, Q_TEXT},
        {HEAT, Q_DATE},
        {HEAT, Q_UNKNOWN},
        {HEAT, Q_MANUFACTURER},
        {HEAT, Q_IDENTIFICATION},
        {HEAT, Q_ENERGY, .tariff = 64},
        {HEAT, Q_ENERGY, .subunit = 64},
        {HEAT, Q_ENERGY, .storage = 255},
        {HEAT, Q_ENERGY, .storage = UINT32_MAX},
        {HEAT, Q_ENERGY, .phase = 1},
        {ELEC, Q_FREQUENCY, .phase = 5},
        {ELEC, Q_VOLTAGE, .phase = 8},
        {ELEC, Q_REACTIVE_ENERGY, .phase = 12},
        {ELEC, Q_ENERGY, .phase = 9, .export_ = true},
        {ELEC, Q_ENERGY, .phase = 14},
        {ELEC, Q_PHASE_ANGLE},
        {WATER, Q_VOLUME, .base = true},
        {HEAT, Q_SERIAL, .tariff = 1},
        {HEAT, Q_BATTERY_LIFE, .maximum = true},
        {.medium = (enum medium)77, Q_ENERGY},
        {.medium = MEDIUM_HEAT, (enum quantity)777},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct measured m = rows[i];
        m.obis = OBIS_NONE;
        assert_string_equal(outcome(m), "ERR_UNKNOWN");
    }
}

static void a_given_obis_is_kept(void **state)
{
    struct measured m = {GAS,       Q_VOLUME,  UNIT_L,
                         {1500, 0}, OBIS_NONE, KIND_CUMULATIVE};

    (void)state;
    m.obis = OBIS(7, 128, 3, 0, 0);
    assert_string_equal(outcome(m), "7-128:3.0.0 cumulative 1.500 m3");
    m.storage = 3;
    assert_string_equal(outcome(m), "7-128:3.0.0*3 cumulative 1.500 m3");
    m.obis.f = 9;
    assert_string_equal(outcome(m), "7-128:3.0.0*9 cumulative 1.500 m3");
}

static void a_value_too_large_for_its_unit_keeps_the_unit(void **state)
{
    struct measured m = {
        HEAT, Q_OPERATING_TIME, UNIT_D, {INT64_MAX, 0}, OBIS_NONE};

    (void)state;
    assert_string_equal(outcome(m),
                        "0-0:96.8.0 cumulative 9223372036854775807 d kept");
}

static void an_absent_value_keeps_its_power_of_ten(void **state)
{
    struct measured m = {HEAT, Q_FLOW, UNIT_L_H, {VALUE_NONE, -1}, OBIS_NONE};
    struct normal n;

    (void)state;
    assert_int_equal(normalise(&m, &n), 0);
    assert_true(n.value.mantissa == VALUE_NONE);
    assert_int_equal(n.value.exp10, -4);
    assert_int_equal(n.unit, UNIT_M3_H);
}

/* Every plain combination of a medium: no two quantities, directions or
 * extremes may share one OBIS code and unit. */
static void different_measurements_never_share_a_register(void **state)
{
    enum { MOST = 8192 };
    static struct {
        struct obis obis;
        char who[64];
    } seen[MOST];

    (void)state;
    for (int medium = 0; medium < MEDIUM_COUNT; medium++) {
        size_t n = 0;

        for (int i = 0; i < Q_QUANTITY_COUNT * 2 * 3 * 8 * 2; i++) {
            struct measured m = {.medium = (enum medium)medium,
                                 .quantity = (enum quantity)(i / 96),
                                 .obis = OBIS_NONE,
                                 .export_ = i % 2,
                                 .maximum = i / 2 % 3 == 1,
                                 .minimum = i / 2 % 3 == 2,
                                 .phase = (uint8_t)(i / 6 % 8),
                                 .base = i / 48 % 2};
            struct normal got;

            if (normalise(&m, &got) < 0)
                continue;
            for (size_t k = 0; k < n; k++) {
                /* 1.6 and 2.6 hold maxima of power in kW and of energy in
                 * kWh: there the unit tells them apart */
                bool extreme = m.maximum || m.minimum;
                if (obis_eq(seen[k].obis, got.obis) &&
                    !(medium == MEDIUM_ELECTRICITY && extreme))
                    fail_msg("%s and %s", seen[k].who,
                             quantity_name(m.quantity));
            }
            assert_true(n < MOST);
            seen[n].obis = got.obis;
            snprintf(seen[n++].who, sizeof(seen[0].who), "%s",
                     quantity_name(m.quantity));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_follow_the_obis_table),
        cmocka_unit_test(what_has_no_register_is_said_so),
        cmocka_unit_test(a_given_obis_is_kept),
        cmocka_unit_test(a_value_too_large_for_its_unit_keeps_the_unit),
        cmocka_unit_test(an_absent_value_keeps_its_power_of_ten),
        cmocka_unit_test(different_measurements_never_share_a_register),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
