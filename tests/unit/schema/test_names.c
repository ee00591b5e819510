/* The tables of units, quantities, media, kinds and events. */
#include "schema/event.h"
#include "schema/frame.h"
#include "schema/quantity.h"
#include "schema/reading.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_unit_reads_back_by_its_name(void **state)
{
    enum unit u;

    (void)state;
    for (int i = 0; i < UNIT_COUNT; i++) {
        assert_int_equal(unit_parse(str_of(unit_name((enum unit)i)), &u), 0);
        assert_int_equal(u, i);
    }
    assert_string_equal(err_name(unit_parse(STR("furlong"), &u)),
                        "ERR_UNKNOWN");
    assert_string_equal(unit_name((enum unit)999), "?");
}

static void a_canonical_unit_is_its_own_canon(void **state)
{
    (void)state;
    for (int i = 0; i < UNIT_COUNT; i++) {
        enum unit c = unit_canonical((enum unit)i);
        assert_int_equal(unit_canonical(c), c);
    }
}

static void conversions_are_exact(void **state)
{
    static const struct {
        int64_t mantissa;
        int exp10;
        enum unit from;
        const char *text;
    } rows[] = {
        {2013060, -3, UNIT_M3, "2013.060"}, {1500, 0, UNIT_L, "1.500"},
        {1, 0, UNIT_MWH, "1000"},           {1013, -3, UNIT_BAR, "101.3"},
        {90, 0, UNIT_MIN, "5400"},          {2, 0, UNIT_YEAR, "24"},
        {5, 0, UNIT_M3_S, "18000"},         {1, 0, UNIT_FT3, "0.028316846592"},
        {784, -1, UNIT_CEL, "78.4"},        {-83, 0, UNIT_DBM, "-83"},
    };
    char text[DECIMAL_TEXT];
    struct decimal d;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct decimal v = {rows[i].mantissa, rows[i].exp10};
        assert_int_equal(unit_convert(v, rows[i].from, &d), 0);
        assert_string_equal(decimal_text(d, text), rows[i].text);
    }
    struct decimal huge = {INT64_MAX, 0};
    assert_string_equal(err_name(unit_convert(huge, UNIT_D, &d)), "ERR_RANGE");
}

static void media_and_quantities_have_distinct_names(void **state)
{
    enum medium m;

    (void)state;
    for (int i = 0; i < MEDIUM_COUNT; i++) {
        assert_int_equal(medium_parse(str_of(medium_name((enum medium)i)), &m),
                         0);
        assert_int_equal(m, i);
    }
    assert_string_equal(err_name(medium_parse(STR("plasma"), &m)),
                        "ERR_UNKNOWN");
    for (int i = 0; i < Q_QUANTITY_COUNT; i++) {
        for (int k = 0; k < i; k++)
            assert_string_not_equal(quantity_name((enum quantity)i),
                                    quantity_name((enum quantity)k));
    }
    assert_string_equal(quantity_name((enum quantity) - 1), "?");
    assert_string_equal(kind_name(KIND_CUMULATIVE), "cumulative");
    assert_string_equal(kind_name((enum value_kind)3), "?");
}

static void device_types_fall_to_their_medium(void **state)
{
    (void)state;
    assert_int_equal(medium_of_device_type(0x04), MEDIUM_HEAT);
    assert_int_equal(medium_of_device_type(0x0C), MEDIUM_HEAT);
    assert_int_equal(medium_of_device_type(0x0D), MEDIUM_HEAT);
    assert_int_equal(medium_of_device_type(0x0B), MEDIUM_COOLING);
    assert_int_equal(medium_of_device_type(0x06), MEDIUM_HOT_WATER);
    assert_int_equal(medium_of_device_type(0x16), MEDIUM_WATER);
    assert_int_equal(medium_of_device_type(0x31), MEDIUM_OTHER);
    assert_int_equal(medium_of_device_type(0xFF), MEDIUM_OTHER);
}

static void known_events_have_a_severity(void **state)
{
    (void)state;
    assert_int_equal(event_type(STR("tamper.magnet"))->severity,
                     SEVERITY_CRITICAL);
    assert_int_equal(event_type(STR("battery.low"))->severity,
                     SEVERITY_WARNING);
    assert_int_equal(event_type(STR("command.done"))->severity, SEVERITY_INFO);
    assert_null(event_type(STR("no.such.code")));
    assert_null(event_type(STR("")));
    assert_string_equal(severity_name(SEVERITY_CRITICAL), "critical");
    assert_string_equal(severity_name((enum severity)9), "?");
    assert_string_equal(event_state_name(EVENT_END), "end");
    assert_string_equal(event_state_name((enum event_state)9), "?");
}

static void a_profile_is_named_by_its_content(void **state)
{
    struct capture_object a[] = {
        {OBIS(6, 0, 1, 0, 0), UNIT_KWH, KIND_CUMULATIVE, 0},
        {OBIS(6, 0, 2, 0, 0), UNIT_M3, KIND_CUMULATIVE, -3},
    };
    struct capture_object b[2];
    int64_t id = profile_id(a, 2);

    (void)state;
    assert_true(id > 0);
    assert_int_equal(profile_id(a, 2), id);
    assert_int_not_equal(profile_id(a, 1), id);
    for (int change = 0; change < 4; change++) {
        memcpy(b, a, sizeof(b));
        if (change == 0)
            b[1].obis.f = 1;
        else if (change == 1)
            b[1].unit = UNIT_L;
        else if (change == 2)
            b[1].kind = KIND_INTERVAL;
        else
            b[1].exp10 = -2;
        assert_int_not_equal(profile_id(b, 2), id);
    }
    /* stored in databases: this number never changes */
    assert_true(profile_id(a, 2) == INT64_C(8742535724508824600));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_reads_back_by_its_name),
        cmocka_unit_test(a_canonical_unit_is_its_own_canon),
        cmocka_unit_test(conversions_are_exact),
        cmocka_unit_test(media_and_quantities_have_distinct_names),
        cmocka_unit_test(device_types_fall_to_their_medium),
        cmocka_unit_test(known_events_have_a_severity),
        cmocka_unit_test(a_profile_is_named_by_its_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
