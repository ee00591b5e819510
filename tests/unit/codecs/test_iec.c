/* IEC 62056-21 and P1 beyond their vectors: damage, words, profiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/iec62056_21.h"
#include "damage.h"

static void a_telegram_that_lost_its_end_fails(void **state)
{
    (void)state;
    every_cut_fails("iec62056-21", "P1 version 5 with CRC", 2);
    every_cut_fails("iec62056-21", "mode C, history, maximum, half clocks", 0);
    every_cut_fails("iec62056-21", "7E1 with parity", 0);
}

/* The CRC covers all from "/" to "!"; the BCC all behind STX, and its own bit
 * 7 is parity on the wire. */
static void a_telegram_with_one_bit_changed_fails(void **state)
{
    struct telegram p1 = telegram("iec62056-21", "P1 version 5 with CRC");
    struct telegram c =
        telegram("iec62056-21", "mode C, history, maximum, half clocks");
    const char *stx = memchr(c.p, 2, c.n);

    (void)state;
    every_flip_fails("iec62056-21", "P1 version 5 with CRC", 1, p1.n - 6);
    every_flip_fails("iec62056-21", "mode C, history, maximum, half clocks",
                     (size_t)(stx - c.p) + 1, c.n);
    free(p1.p);
    free(c.p);
}

static void identifications_are_whole_or_reduced(void **state)
{
    static const struct {
        const char *text;
        struct obis obis;
    } good[] = {
        {"1-0:1.8.0", {1, 0, 1, 8, 0, 255}},
        {"1-0:1.8.0*255", {1, 0, 1, 8, 0, 255}},
        {"0-1:24.2.1", {0, 1, 24, 2, 1, 255}},
        {"1.8.1*05", {1, 0, 1, 8, 1, 5}},
        {"1.8.1&12", {1, 0, 1, 8, 1, 12}},
        {"14.7", {1, 0, 14, 7, 0, 255}},
        {"F.F", {0, 0, 97, 97, 0, 255}},
        {"C.1.0", {0, 0, 96, 1, 0, 255}},
        {"P.01", {0, 0, 99, 1, 0, 255}},
    };
    static const char *const bad[] = {"",        "1",       "1.8.",
                                      "1-0:1",   "1.256.0", "1.8.0*",
                                      "1.8.0.1", "7:310.0", "X.1"};
    struct obis o;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(iec_obis(str_of(good[i].text), &o), 0);
        assert_true(obis_eq(o, good[i].obis));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_string_equal(err_name(iec_obis(str_of(bad[i]), &o)),
                            "ERR_FORMAT");
}

static void times_are_dates_that_exist(void **state)
{
    static const struct {
        const char *text, *time;
        enum time_form form;
        int dst;
    } good[] = {
        {"260715140000S", "2026-07-15T14:00:00Z", METER_TIME_LOCAL, 1},
        {"260115140000W", "2026-01-15T14:00:00Z", METER_TIME_LOCAL, 0},
        {"2601151400", "2026-01-15T14:00:00Z", METER_TIME_LOCAL, -1},
        {"1260715140000", "2026-07-15T14:00:00Z", METER_TIME_LOCAL, 1},
        {"2260715140000", "2026-07-15T14:00:00Z", METER_TIME_UTC, -1},
    };
    static const char *const bad[] = {
        "",         "2601151460",    "2602301400", "260115140000X",
        "26011514", "3260715140000", "0000000000"};
    char text[TIME_TEXT];
    struct meter_time t;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(iec_time(str_of(good[i].text), &t), 0);
        assert_string_equal(time_text(t.us, text), good[i].time);
        assert_int_equal(t.form, good[i].form);
        assert_int_equal(t.dst, good[i].dst);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_string_equal(err_name(iec_time(str_of(bad[i]), &t)),
                            "ERR_FORMAT");
}

static void hexadecimal_digits_are_no_power_of_ten(void **state)
{
    struct decimal v;

    (void)state;
    assert_string_equal(err_name(iec_number(STR("1E5"), &v)), "ERR_FORMAT");
    assert_int_equal(iec_number(STR("0031550.190"), &v), 0);
    assert_int_equal(v.mantissa, 31550190);
    assert_int_equal(v.exp10, -3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_telegram_that_lost_its_end_fails),
        cmocka_unit_test(a_telegram_with_one_bit_changed_fails),
        cmocka_unit_test(identifications_are_whole_or_reduced),
        cmocka_unit_test(times_are_dates_that_exist),
        cmocka_unit_test(hexadecimal_digits_are_no_power_of_ten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
