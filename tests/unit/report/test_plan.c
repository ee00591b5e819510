/*
 * When reports run: in time, and after a time without a server.
 */
#include "server/base/err.h"
#include "server/report/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MINUTE (60 * US_PER_S)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static int64_t at(int year, int month, int day, int hour, int min)
{
    int64_t us = 0;

    assert_int_equal(civil_us(year, month, day, hour, min, 0, &us), 0);
    return us;
}

static struct plan_tick plan(const char *schedule, int64_t due, int64_t now,
                             int64_t oldest, int64_t hop)
{
    struct plan_due d = {.tenant_id = 1,
                         .report_id = 1,
                         .schedule = str_of(schedule),
                         .zone = STR("Europe/Berlin"),
                         .planned_us = now,
                         .due_us = due,
                         .now_us = now,
                         .oldest_us = oldest,
                         .hop_us = hop};
    struct plan_tick t = {0};

    assert_string_equal(err_name(plan_tick(&d, &t)), "ok");
    return t;
}

static void a_new_report_only_plans(void **state)
{
    int64_t now = at(2026, 1, 15, 12, 0);
    struct plan_tick t = plan("5 0 * * *", TIME_NONE, now, 0, now);

    (void)state;
    assert_false(t.run);
    assert_int_equal(t.next_us, at(2026, 1, 15, 23, 5));
}

static void a_tick_in_time_runs_and_the_next_follows(void **state)
{
    int64_t due = at(2026, 1, 15, 23, 5);
    struct plan_tick t =
        plan("5 0 * * *", due, due + US_PER_S, 0, due + US_PER_S);

    (void)state;
    assert_true(t.run);
    assert_int_equal(t.next_us, due + DAY);
}

/* Berlin: 2026-03-29 has 23 hours, 2026-10-25 has 25. */
static void days_of_23_and_25_hours_have_one_tick(void **state)
{
    int64_t spring = at(2026, 3, 28, 23, 5), autumn = at(2026, 10, 24, 22, 5);

    (void)state;
    assert_int_equal(plan("5 0 * * *", spring, spring, 0, spring).next_us,
                     spring + 23 * HOUR);
    assert_int_equal(plan("5 0 * * *", autumn, autumn, 0, autumn).next_us,
                     autumn + 25 * HOUR);
}

static void one_run_makes_up_for_what_came_meanwhile(void **state)
{
    int64_t due = at(2026, 1, 10, 23, 5), now = at(2026, 1, 15, 12, 0);
    struct plan_tick t = plan("5 0 * * *", due, now, 0, now);

    (void)state;
    assert_true(t.run);
    assert_int_equal(t.next_us, at(2026, 1, 15, 23, 5));
}

/* Hourly, of closed days: the first tick of each missed day. */
static void each_missed_period_has_one_run(void **state)
{
    int64_t due = at(2026, 1, 12, 5, 0), now = at(2026, 1, 14, 12, 30);
    int64_t midnight = at(2026, 1, 12, 23, 0);
    struct plan_tick t = plan("0 * * * *", due, now, 0, midnight);

    (void)state;
    assert_true(t.run);
    assert_int_equal(t.next_us, midnight);
    due = at(2026, 1, 14, 5, 0); /* today: the next one in time */
    t = plan("0 * * * *", due, now, 0, at(2026, 1, 14, 23, 0));
    assert_int_equal(t.next_us, at(2026, 1, 14, 13, 0));
}

static void what_is_too_old_is_not_made_up_for(void **state)
{
    int64_t due = at(2025, 6, 1, 22, 5), now = at(2026, 1, 15, 12, 0);
    int64_t oldest = at(2025, 12, 15, 23, 0);
    struct plan_tick t = plan("5 0 * * *", due, now, oldest, due + DAY);

    (void)state;
    assert_false(t.run);
    assert_int_equal(t.next_us, oldest + 5 * MINUTE);
}

static void a_schedule_without_a_time_never_comes(void **state)
{
    int64_t now = at(2026, 1, 15, 12, 0);

    (void)state;
    assert_int_equal(plan("0 0 30 2 *", TIME_NONE, now, 0, now).next_us,
                     TIME_NONE);
}

static void a_wrong_schedule_or_zone_is_told(void **state)
{
    struct plan_due d = {.schedule = STR("61 * * * *"),
                         .zone = STR("Europe/Berlin")};
    struct plan_tick t;

    (void)state;
    assert_string_equal(err_name(plan_tick(&d, &t)), "ERR_FORMAT");
    d.schedule = STR("1 * * * *");
    d.zone = STR("Europe/Nowhere");
    assert_string_equal(err_name(plan_tick(&d, &t)), "ERR_UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_report_only_plans),
        cmocka_unit_test(a_tick_in_time_runs_and_the_next_follows),
        cmocka_unit_test(days_of_23_and_25_hours_have_one_tick),
        cmocka_unit_test(one_run_makes_up_for_what_came_meanwhile),
        cmocka_unit_test(each_missed_period_has_one_run),
        cmocka_unit_test(what_is_too_old_is_not_made_up_for),
        cmocka_unit_test(a_schedule_without_a_time_never_comes),
        cmocka_unit_test(a_wrong_schedule_or_zone_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
