/* Civil time to UTC around the days when clocks change. */
#include "server/base/err.h"
#include "timesvc/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t at(const char *text)
{
    struct stamp s;

    if (stamp_parse(str_of(text), &s) < 0)
        fail_msg("bad time in the test: %s", text);
    return s.us;
}

static void assert_converts(const char *zone, const char *local, int dst,
                            const char *utc, bool ambiguous)
{
    const struct zone *z = zone_find(str_of(zone));
    char got[TIME_TEXT];
    bool a = !ambiguous;

    assert_non_null(z);
    time_text(zone_to_utc(z, at(local), dst, &a), got);
    assert_string_equal(got, utc);
    assert_int_equal(a, ambiguous);
}

static void names_are_found_once_and_others_refused(void **state)
{
    static const char *const wrong[] = {
        "",         "Mars/Olympus",   "+03:00", "/etc/passwd",
        "../UTC",   "Europe/../UTC",  "Europe", "Europe/Berlin ",
        "EUROPE/X", "UTC0",           "XYZ",    "XYZ5",
        "Abc/De5",  "Europe\\Berlin",
    };

    (void)state;
    assert_ptr_equal(zone_find(STR("Europe/Berlin")),
                     zone_find(STR("Europe/Berlin")));
    assert_ptr_not_equal(zone_find(STR("Europe/Berlin")),
                         zone_find(STR("UTC")));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        if (zone_find(str_of(wrong[i])))
            fail_msg("found \"%s\"", wrong[i]);
    }
    assert_null(zone_find((struct str){"UTC\0x", 5}));
    assert_non_null(zone_find(STR("Etc/GMT+5")));
}

static void plain_days_convert_by_their_season(void **state)
{
    (void)state;
    assert_converts("Europe/Berlin", "2024-01-15T12:00:00Z", -1,
                    "2024-01-15T11:00:00Z", false);
    assert_converts("Europe/Berlin", "2024-07-15T12:00:00Z", -1,
                    "2024-07-15T10:00:00Z", false);
    assert_converts("Asia/Kolkata", "2024-07-15T12:00:00.25Z", -1,
                    "2024-07-15T06:30:00.25Z", false);
    assert_converts("Europe/Moscow", "2024-01-11T12:00:00Z", 0,
                    "2024-01-11T09:00:00Z", false);
    assert_converts("UTC", "1969-12-31T23:59:59.5Z", -1,
                    "1969-12-31T23:59:59.5Z", false);
}

static void the_hour_that_happens_twice_is_told_by_the_flag(void **state)
{
    const char *z = "Europe/Berlin"; /* 2024-10-27 03:00 summer is 02:00 */

    (void)state;
    assert_converts(z, "2024-10-27T02:30:00Z", 1, "2024-10-27T00:30:00Z",
                    false);
    assert_converts(z, "2024-10-27T02:30:00Z", 0, "2024-10-27T01:30:00Z",
                    false);
    assert_converts(z, "2024-10-27T02:30:00Z", -1, "2024-10-27T00:30:00Z",
                    true);
    assert_converts(z, "2024-10-27T01:59:59Z", -1, "2024-10-26T23:59:59Z",
                    false);
    assert_converts(z, "2024-10-27T03:00:00Z", -1, "2024-10-27T02:00:00Z",
                    false);
}

static void the_hour_that_never_happens_is_ambiguous(void **state)
{
    const char *z = "Europe/Berlin"; /* 2024-03-31 02:00 is 03:00 summer */

    (void)state;
    assert_converts(z, "2024-03-31T02:30:00Z", -1, "2024-03-31T01:30:00Z",
                    true);
    assert_converts(z, "2024-03-31T02:30:00Z", 0, "2024-03-31T01:30:00Z", true);
    assert_converts(z, "2024-03-31T01:59:59Z", -1, "2024-03-31T00:59:59Z",
                    false);
    assert_converts(z, "2024-03-31T03:00:00Z", -1, "2024-03-31T01:00:00Z",
                    false);
}

static void a_change_of_the_zone_itself_is_not_summer_time(void **state)
{
    /* Moscow went from +04 to +03 for good on 2014-10-26 02:00 */
    (void)state;
    assert_converts("Europe/Moscow", "2014-10-26T01:30:00Z", -1,
                    "2014-10-25T21:30:00Z", true);
    assert_converts("Europe/Moscow", "2014-10-26T02:30:00Z", -1,
                    "2014-10-25T23:30:00Z", false);
}

/* Whatever the instant: to local by the offset and back is the same instant,
 * or the other one of an hour that happens twice. */
static void every_instant_comes_back(void **state)
{
    static const char *const names[] = {"Europe/Berlin", "Asia/Kolkata",
                                        "America/New_York",
                                        "Australia/Lord_Howe", "UTC"};
    int64_t from = at("2001-01-01T00:00:00Z");
    uint64_t seed = 5;

    (void)state;
    for (int i = 0; i < 50000; i++) {
        const struct zone *z = zone_find(str_of(names[i % 5]));
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int64_t utc = from + (int64_t)(seed >> 14); /* 35 years */
        int64_t local = utc + zone_offset_s(z, utc) * US_PER_S;
        bool ambiguous;
        int64_t back = zone_to_utc(z, local, -1, &ambiguous);

        if (ambiguous)
            assert_true(back <= utc && utc - back <= 3600 * US_PER_S);
        else
            assert_true(back == utc);
    }
}

static void offsets_follow_the_season(void **state)
{
    const struct zone *z = zone_find(STR("Europe/Berlin"));

    (void)state;
    assert_int_equal(zone_offset_s(z, at("2024-01-15T12:00:00Z")), 3600);
    assert_int_equal(zone_offset_s(z, at("2024-07-15T12:00:00Z")), 7200);
    assert_int_equal(zone_offset_s(z, at("2044-07-15T12:00:00Z")), 7200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_once_and_others_refused),
        cmocka_unit_test(plain_days_convert_by_their_season),
        cmocka_unit_test(the_hour_that_happens_twice_is_told_by_the_flag),
        cmocka_unit_test(the_hour_that_never_happens_is_ambiguous),
        cmocka_unit_test(a_change_of_the_zone_itself_is_not_summer_time),
        cmocka_unit_test(every_instant_comes_back),
        cmocka_unit_test(offsets_follow_the_season),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
