/* The cron grammar: Table 11 of the gateway's manual, read by its fields, not
 * by its prose, and the days when clocks change. */
#include "server/base/err.h"
#include "timesvc/cron.h"
#include "timesvc/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static int64_t at(const char *text)
{
    struct stamp s;

    if (stamp_parse(str_of(text), &s) < 0)
        fail_msg("bad time in the test: %s", text);
    return s.us;
}

static struct cron parsed(const char *text, uint64_t seed)
{
    struct cron c;
    struct cron_error e = {0};

    if (cron_parse(str_of(text), seed, &c, &e) < 0)
        fail_msg("%s: %s at %zu", text, e.text, e.at);
    return c;
}

/* The next times after `from`, as "... ... ..." against `expect`. */
static void assert_next(const char *text, const char *zone, const char *from,
                        const char *expect)
{
    const struct zone *z = zone ? zone_find(str_of(zone)) : NULL;
    struct cron c = parsed(text, 0);
    int64_t t = at(from);
    char got[400] = "", one[TIME_TEXT];
    size_t n = 0;

    while (strlen(got) < strlen(expect) && n < sizeof got - TIME_TEXT) {
        t = cron_next(&c, z, t);
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s", n ? " " : "",
                              t == TIME_NONE ? "never" : time_text(t, one));
    }
    if (strcmp(got, expect) != 0)
        fail_msg("%s: got %s, not %s", text, got, expect);
}

static void table_11_is_followed_by_its_fields(void **state)
{
    const char *friday = "2026-01-16T00:00:00Z";

    (void)state;
    assert_next("0 5 * * *|8 10 * * *|22 17 * * *", NULL, friday,
                "2026-01-16T05:00:00Z 2026-01-16T10:08:00Z "
                "2026-01-16T17:22:00Z 2026-01-17T05:00:00Z");
    assert_next("*/15 * * * *", NULL, friday,
                "2026-01-16T00:15:00Z 2026-01-16T00:30:00Z "
                "2026-01-16T00:45:00Z 2026-01-16T01:00:00Z");
    assert_next("* 12 * * mon", NULL, friday,
                "2026-01-19T12:00:00Z 2026-01-19T12:01:00Z");
    assert_next("0 0 1-15,17,20-25 * *", NULL, friday,
                "2026-01-17T00:00:00Z 2026-01-20T00:00:00Z");
    assert_next("0 10-16/2 * * *", NULL, friday,
                "2026-01-16T10:00:00Z 2026-01-16T12:00:00Z "
                "2026-01-16T14:00:00Z 2026-01-16T16:00:00Z "
                "2026-01-17T10:00:00Z");
    assert_next("0 0 1 * *", NULL, friday,
                "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z");
    assert_next("35 * * * *", NULL, friday,
                "2026-01-16T00:35:00Z 2026-01-16T01:35:00Z");
    assert_next("0 6 * JAN,mar Sun", NULL, friday,
                "2026-01-18T06:00:00Z 2026-01-25T06:00:00Z "
                "2026-03-01T06:00:00Z");
}

static void day_of_month_and_day_of_week_must_both_hold(void **state)
{
    (void)state;
    assert_next("0 12 16 * mon", NULL, "2026-01-01T00:00:00Z",
                "2026-02-16T12:00:00Z 2026-03-16T12:00:00Z "
                "2026-11-16T12:00:00Z");
    assert_next("0 0 * * 0", NULL, "2026-01-01T00:00:00Z",
                "2026-01-04T00:00:00Z");
    assert_next("0 0 * * 7", NULL, "2026-01-01T00:00:00Z",
                "2026-01-04T00:00:00Z");
    assert_next("0 0 29 2 mon", NULL, "2026-01-01T00:00:00Z",
                "2044-02-29T00:00:00Z");
    assert_next("0 0 30 2 *", NULL, "2026-01-01T00:00:00Z", "never");
}

static void a_random_number_stays_with_its_installation(void **state)
{
    int64_t from = at("2026-01-16T00:00:00Z");
    uint32_t seen = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct cron c = parsed("?1-30 0 * * *", cron_seed(1, i));
        int64_t t = cron_next(&c, NULL, from), day = 86400 * US_PER_S;
        int64_t minute = (t - from) / (60 * US_PER_S);

        assert_in_range(minute, 1, 30); /* of hour 0, as the fields say */
        assert_int_equal(cron_next(&c, NULL, t), t + day);
        seen |= 1u << minute;
    }
    assert_int_equal(seen, 0x7FFFFFFE);
    struct cron a = parsed("?0-59 ?0-23 ?1-28 ?1-12 *", 7);
    struct cron b = parsed("?0-59 ?0-23 ?1-28 ?1-12 *", 7);
    assert_int_equal(cron_next(&a, NULL, from), cron_next(&b, NULL, from));
}

static void skipped_times_run_late_and_repeated_ones_once(void **state)
{
    const char *berlin = "Europe/Berlin";

    (void)state;
    assert_next("30 2 * * *", berlin, "2026-03-28T12:00:00Z",
                "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z");
    assert_next("30 2 * * *", berlin, "2026-10-24T12:00:00Z",
                "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z");
    assert_next("15,45 * * * *", berlin, "2026-03-29T00:30:00Z",
                "2026-03-29T00:45:00Z 2026-03-29T01:15:00Z");
    assert_next("30 * * * *", berlin, "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z "
                "2026-10-25T02:30:00Z");
    assert_next("0 0 * * *", "Asia/Beirut", "2026-03-28T12:00:00Z",
                "2026-03-28T22:00:00Z 2026-03-29T21:00:00Z");
    assert_next("0 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z",
                "2026-10-03T15:30:00Z 2026-10-04T15:00:00Z");
}

/* A day has 96 quarter hours, but 92 and 100 when clocks change. */
static void quarter_hours_follow_elapsed_time(void **state)
{
    static const struct {
        const char *zone, *from, *to;
        int n;
    } days[] = {
        {"Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 92},
        {"Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 100},
        {"Europe/Berlin", "2026-06-01T22:00:00Z", "2026-06-02T22:00:00Z", 96},
        {"Australia/Lord_Howe", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z",
         94},
        {"Asia/Kathmandu", "2026-10-24T18:15:00Z", "2026-10-25T18:15:00Z", 96},
    };
    struct cron c = parsed("*/15 * * * *", 0);

    (void)state;
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        const struct zone *z = zone_find(str_of(days[i].zone));
        int64_t t = at(days[i].from) - 1;
        int n = 0;

        while ((t = cron_next(&c, z, t)) < at(days[i].to)) {
            assert_int_equal(t % (900 * US_PER_S), 0);
            n++;
        }
        assert_int_equal(n, days[i].n);
    }
}

static void what_is_no_schedule_is_refused_where_it_fails(void **state)
{
    static const struct {
        const char *text;
        size_t at;
    } wrong[] = {
        {"", 0},
        {"* * * *", 7},
        {"* * * * * *", 10},
        {"60 * * * *", 0},
        {"* 24 * * *", 2},
        {"* * 0 * *", 4},
        {"* * * 13 *", 6},
        {"* * * * 8", 8},
        {"5-1 * * * *", 3},
        {"?5 * * * *", 2},
        {"? * * * *", 1},
        {"*/0 * * * *", 2},
        {"*/60 * * * *", 2},
        {"1,,2 * * * *", 2},
        {"a * * * *", 0},
        {"* * * * mon-xyz", 12},
        {"0 0 * * *|", 10},
        {"|0 0 * * *", 0},
        {"0 0 * * * x", 10},
        {"0x1 * * * *", 1},
        {"001 * * * *", 0},
    };
    struct cron c;
    struct cron_error e;
    char many[17 * 10 + 1] = "";

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (cron_parse(str_of(wrong[i].text), 0, &c, &e) != ERR_FORMAT)
            fail_msg("accepted: %s", wrong[i].text);
        if (e.at != wrong[i].at)
            fail_msg("%s: %s at %zu", wrong[i].text, e.text, e.at);
    }
    for (int i = 0; i < 17; i++)
        memcpy(many + i * 10, "* * * * *|", 10);
    assert_int_equal(cron_parse(str_of(many), 0, &c, &e), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_11_is_followed_by_its_fields),
        cmocka_unit_test(day_of_month_and_day_of_week_must_both_hold),
        cmocka_unit_test(a_random_number_stays_with_its_installation),
        cmocka_unit_test(skipped_times_run_late_and_repeated_ones_once),
        cmocka_unit_test(quarter_hours_follow_elapsed_time),
        cmocka_unit_test(what_is_no_schedule_is_refused_where_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
