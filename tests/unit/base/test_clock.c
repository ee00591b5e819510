/*
 * test_clock.c - times in and out of text, checked against the C library.
 */
#include "server/base/clock.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static void check_stamp(const char *text, int64_t us, bool has_zone,
                        int offset_s)
{
    struct stamp st;
    int r = stamp_parse(str_of(text), &st);

    if (r < 0)
        fail_msg("%s: %s", text, err_name(r));
    assert_int_equal(st.us, us);
    assert_int_equal(st.has_zone, has_zone);
    assert_int_equal(st.offset_s, offset_s);
}

static void stamps_are_read_as_written(void **state)
{
    const int64_t noon = 1768478400 * US_PER_S; /* 2026-01-15T12:00:00Z */

    (void)state;
    check_stamp("2026-01-15T12:00:00Z", noon, true, 0);
    check_stamp("2026-01-15t12:00:00z", noon, true, 0);
    check_stamp("2026-01-15 12:00:00", noon, false, 0);
    check_stamp("2026-01-15T15:00:00+03:00", noon, true, 10800);
    check_stamp("2026-01-15T15:00:00+0300", noon, true, 10800);
    check_stamp("2026-01-15T06:30:00-05:30", noon, true, -19800);
    check_stamp("2026-01-15T12:00:00.5Z", noon + 500000, true, 0);
    check_stamp("2026-01-15T12:00:00.123456Z", noon + 123456, true, 0);
    check_stamp("2026-01-15T12:00:00.123456789Z", noon + 123456, true, 0);
    check_stamp("15.01.2026 12:00:00", noon, false, 0);
    check_stamp("15.01.2026 12:00", noon, false, 0);
    check_stamp("15.01.2026 9:05", noon - 10500 * US_PER_S, false, 0);
    check_stamp("1900-01-01T00:00:00Z", -2208988800 * US_PER_S, true, 0);
    check_stamp("1969-12-31T23:59:59.999999Z", -1, true, 0);
    check_stamp("2024-02-29T00:00:00Z", 1709164800 * US_PER_S, true, 0);
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-15",
        "2026-01-15T12:00Z",
        "2026-01-15T12:00:00.Z",
        "2026-01-15T12:00:00.1234567890Z",
        "2026-01-15T24:00:00Z",
        "2026-01-15T12:60:00Z",
        "2026-01-15T12:00:60Z",
        "2026-13-15T12:00:00Z",
        "2026-00-15T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2100-02-29T12:00:00Z",
        "2026-04-31T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "1899-12-31T23:59:59Z",
        "2201-01-01T00:00:00Z",
        "2026-01-15T12:00:00+",
        "2026-01-15T12:00:00+24:00",
        "2026-01-15T12:00:00+03:60",
        "2026-01-15T12:00:00Zx",
        "2026-01-15T12:00:00 Z",
        "-026-01-15T12:00:00Z",
        "2026-1-15T12:00:00Z",
        "5.01.2026 12:00",
        "15.01.26 12:00",
        "15.01.2026 12:00Z",
        "15.01.2026T12:00",
        "15.01.2026 12:00:0",
    };
    struct stamp st = {.us = 7};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (stamp_parse(str_of(bad[i]), &st) != ERR_FORMAT)
            fail_msg("accepted %s", bad[i]);
    assert_int_equal(st.us, 7);
    assert_int_equal(
        stamp_parse((struct str){"2026-01-15T12:00:00\0", 20}, &st),
        ERR_FORMAT);
}

static void every_day_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = -30000; day < 90000; day++) {
        time_t t = day * 86400;
        struct tm tm;
        int y, m, d;

        gmtime_r(&t, &tm);
        civil_from_days(day, &y, &m, &d);
        assert_int_equal(y, tm.tm_year + 1900);
        assert_int_equal(m, tm.tm_mon + 1);
        assert_int_equal(d, tm.tm_mday);
        assert_int_equal(civil_days(y, m, d), day);
    }
}

static void impossible_civil_times_are_refused(void **state)
{
    int64_t us = 7;

    (void)state;
    assert_int_equal(civil_us(2026, 1, 15, 12, 0, 0, &us), 0);
    assert_int_equal(us, 1768478400 * US_PER_S);
    assert_string_equal(err_name(civil_us(2026, 2, 30, 0, 0, 0, &us)),
                        "ERR_RANGE");
    assert_string_equal(err_name(civil_us(2026, 1, 1, 0, 0, 60, &us)),
                        "ERR_RANGE");
    assert_string_equal(err_name(civil_us(2026, 1, 1, -1, 0, 0, &us)),
                        "ERR_RANGE");
    assert_string_equal(err_name(civil_us(1 << 30, 1, 1, 0, 0, 0, &us)),
                        "ERR_RANGE");
}

static void text_shows_fractions_only_where_there_are(void **state)
{
    const int64_t noon = 1768478400 * US_PER_S;
    char out[TIME_TEXT];

    (void)state;
    assert_string_equal(time_text(noon, out), "2026-01-15T12:00:00Z");
    assert_string_equal(time_text(noon + 500000, out),
                        "2026-01-15T12:00:00.5Z");
    assert_string_equal(time_text(noon + 123456, out),
                        "2026-01-15T12:00:00.123456Z");
    assert_string_equal(time_text(-1, out), "1969-12-31T23:59:59.999999Z");
    assert_string_equal(time_text_at(noon, 10800, out),
                        "2026-01-15T15:00:00+03:00");
    assert_string_equal(time_text_at(noon, -19800, out),
                        "2026-01-15T06:30:00-05:30");
    assert_string_equal(time_text_at(noon, 10830, out), /* same instant */
                        "2026-01-15T15:00:00+03:00");
}

static void any_int64_has_a_text_that_fits(void **state)
{
    static const int64_t any[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, 0};
    char out[TIME_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof any / sizeof *any; i++) {
        assert_true(strlen(time_text(any[i], out)) < TIME_TEXT);
        assert_true(strlen(time_text_at(any[i], INT32_MIN, out)) < TIME_TEXT);
        assert_true(strlen(time_text_at(any[i], INT32_MAX, out)) < TIME_TEXT);
    }
}

static void the_system_clock_runs(void **state)
{
    int64_t utc = clock_utc(&clock_system), mono = clock_mono(&clock_system);

    (void)state;
    assert_true(utc > 1700000000 * US_PER_S);
    assert_true(clock_mono(&clock_system) >= mono);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stamps_are_read_as_written),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(every_day_agrees_with_the_c_library),
        cmocka_unit_test(impossible_civil_times_are_refused),
        cmocka_unit_test(text_shows_fractions_only_where_there_are),
        cmocka_unit_test(any_int64_has_a_text_that_fits),
        cmocka_unit_test(the_system_clock_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
