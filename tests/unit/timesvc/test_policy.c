/* May a clock be corrected now, and by how much? */
#include "timesvc/interval.h"
#include "timesvc/policy.h"
#include "timesvc/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND US_PER_S
#define MINUTE (60 * SECOND)
#define DAY    (86400 * SECOND)

static int64_t at(const char *text)
{
    struct stamp s;

    if (stamp_parse(str_of(text), &s) < 0)
        fail_msg("bad time in the test: %s", text);
    return s.us;
}

static struct clock_policy p;
static struct correction_case c;
static struct correction r;

static int setup(void **state)
{
    (void)state;
    p = clock_policy_default;
    c = (struct correction_case){.now_us = at("2026-01-15T12:07:00Z"),
                                 .next_us = TIME_NONE,
                                 .error = {.known = true, .trusted = true}};
    return 0;
}

static void assert_decides(int64_t offset_us, const char *verdict,
                           const char *reason, int64_t by_us)
{
    c.error.offset_us = offset_us;
    r = correction_decide(&p, &c, zone_find(STR("Europe/Berlin")));
    assert_string_equal(r.reason, reason);
    assert_string_equal(correction_verdict_name(r.verdict), verdict);
    if (r.verdict == CORRECTION_NOW)
        assert_int_equal(r.by_us, by_us);
}

static void a_difference_of_60_seconds_is_corrected_and_none_below(void **state)
{
    (void)state;
    assert_decides(59 * SECOND, "none", "within_accepted", 0);
    assert_decides(60 * SECOND, "now", "due", -60 * SECOND);
    assert_decides(-59999999, "none", "within_accepted", 0);
    assert_decides(-60 * SECOND, "now", "due", 60 * SECOND);
    p.accepted_us = 5 * SECOND;
    assert_decides(-6 * SECOND, "now", "due", 6 * SECOND);
    c.error.known = false;
    assert_decides(60 * SECOND, "none", "unknown", 0);
}

static void a_fast_drift_is_corrected_before_it_is_too_late(void **state)
{
    (void)state;
    c.drift_ppm = 200;
    c.next_us = c.now_us + DAY; /* gains 17.28 s */
    assert_decides(42 * SECOND, "none", "within_accepted", 0);
    assert_decides(43 * SECOND, "now", "due", -43 * SECOND);
    assert_decides(-59 * SECOND, "none", "within_accepted", 0);
}

static void what_is_not_known_better_is_not_corrected(void **state)
{
    (void)state;
    c.error.uncertainty_us = 61 * SECOND;
    assert_decides(60 * SECOND, "none", "uncertain", 0);
    assert_decides(62 * SECOND, "now", "due", -62 * SECOND);
}

static void a_meter_that_asks_gets_the_difference(void **state)
{
    (void)state;
    c.asked = true;
    assert_decides(-37 * SECOND, "now", "asked", 37 * SECOND);
    assert_decides(0, "now", "asked", 0);
    p.per_day = 0;
    assert_decides(-37 * SECOND, "refused", "too_often", 0);
}

static void one_owner_sets_a_clock(void **state)
{
    (void)state;
    p.owner = OWNER_DEVICE;
    c.asked = true;
    assert_decides(90 * SECOND, "refused", "other_owner", 0);
    p.owner = OWNER_NOBODY;
    assert_decides(90 * SECOND, "refused", "other_owner", 0);
}

static void our_own_clock_must_be_right(void **state)
{
    (void)state;
    c.ours_unsure = true;
    assert_decides(90 * SECOND, "refused", "our_clock_unsure", 0);
}

static void steps_and_corrections_a_day_are_limited(void **state)
{
    (void)state;
    assert_decides(-25 * MINUTE, "now", "due", 15 * MINUTE);
    assert_decides(25 * MINUTE, "now", "due", -15 * MINUTE);
    c.today = 3;
    assert_decides(61 * SECOND, "now", "due", -61 * SECOND);
    c.today = 4;
    assert_decides(61 * SECOND, "refused", "too_often", 0);
}

static void beyond_a_limit_a_person_decides(void **state)
{
    (void)state;
    assert_decides(30 * MINUTE, "now", "due", -15 * MINUTE);
    assert_decides(30 * MINUTE + 1, "approval", "beyond_limit", 0);
    assert_int_equal(r.by_us, -30 * MINUTE - 1);
    c.approved = true;
    assert_decides(60 * MINUTE, "now", "due", -60 * MINUTE);
    c.approved = false;
    c.error.trusted = false; /* it is at 2000: there is nothing to lose */
    assert_decides(-26 * 365 * DAY, "now", "due", 26 * 365 * DAY);
    assert_true(r.crosses_edge);
}

static void no_clock_moves_near_an_edge_or_the_end_of_the_day(void **state)
{
    (void)state;
    p.interval_us = 15 * MINUTE;
    c.now_us = at("2026-01-15T12:14:40Z");
    assert_decides(-90 * SECOND, "wait", "near_edge", 0);
    assert_int_equal(r.not_before_us, at("2026-01-15T12:15:30Z"));
    c.now_us = r.not_before_us + 71 * SECOND;
    assert_decides(-90 * SECOND, "now", "due", 90 * SECOND);
    assert_false(r.crosses_edge);
    c.now_us = at("2026-01-15T22:58:30Z"); /* 23:58:30 in Berlin */
    assert_decides(-90 * SECOND, "wait", "near_day_end", 0);
    assert_int_equal(r.not_before_us, at("2026-01-15T23:02:00Z"));
    c.now_us = at("2026-01-15T23:58:30Z"); /* midnight in London only */
    p.interval_us = 0;
    assert_decides(-90 * SECOND, "now", "due", 90 * SECOND);
}

static void a_clock_does_not_cross_an_edge_if_waiting_helps(void **state)
{
    (void)state;
    p.interval_us = 15 * MINUTE;
    c.now_us = at("2026-01-15T12:13:00Z"); /* 12:18 -> 12:13 */
    assert_decides(5 * MINUTE, "wait", "crosses_edge", 0);
    assert_int_equal(r.not_before_us, at("2026-01-15T12:15:10Z"));
    c.now_us = at("2026-01-15T12:15:30Z");
    assert_decides(5 * MINUTE, "now", "due", -5 * MINUTE);
    assert_false(r.crosses_edge);
    c.now_us = at("2026-01-15T12:13:00Z");
    c.waiting_us = p.patience_us;
    assert_decides(5 * MINUTE, "now", "due", -5 * MINUTE);
    assert_true(r.crosses_edge);
    c.waiting_us = 0;
    c.approved = true;
    assert_decides(60 * MINUTE, "now", "due", -60 * MINUTE);
    assert_true(r.crosses_edge); /* waiting cannot help */
}

static void a_device_that_can_is_slewed(void **state)
{
    (void)state;
    p.slew_ppm = 500;
    p.interval_us = 15 * MINUTE;
    c.now_us = at("2026-01-15T12:15:00Z");
    assert_decides(-90 * SECOND, "now", "due", 90 * SECOND);
    assert_true(r.slew);
}

static void policies_out_of_bounds_are_named(void **state)
{
    (void)state;
    assert_null(clock_policy_wrong(&p));
    p.interval_us = 7 * MINUTE;
    assert_string_equal(clock_policy_wrong(&p), "interval");
    p.interval_us = MINUTE;
    assert_string_equal(clock_policy_wrong(&p), "guard");
    p = clock_policy_default;
    p.accepted_us = 0;
    assert_string_equal(clock_policy_wrong(&p), "accepted");
    p = clock_policy_default;
    p.approve_us = 1;
    assert_string_equal(clock_policy_wrong(&p), "approve");
}

/* Whatever the case: no correction inside a guard, over an edge unmarked, above
 * the step limit unless untrusted or approved, away from the truth. */
static void decisions_keep_the_policy(void **state)
{
    const struct zone *z = zone_find(STR("Asia/Kathmandu"));
    uint64_t seed = 3, done = 0;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t n[4];
        for (int k = 0; k < 4; k++)
            n[k] = seed = seed * 6364136223846793005u + 1442695040888963407u;
        int64_t reach = (int64_t)1 << (26 + n[1] % 8);
        c.now_us = at("2026-01-15T00:00:00Z") + (int64_t)(n[0] >> 22);
        c.error.offset_us = (int64_t)(n[1] >> 8) % reach - reach / 2;
        c.error.trusted = n[2] >> 60 != 0;
        c.approved = n[2] >> 40 & 1;
        c.waiting_us = (int64_t)(n[3] >> 50) * 60 * SECOND;
        c.today = n[3] >> 20 & 3;
        p.interval_us = n[3] & 1 ? 15 * MINUTE : 60 * MINUTE;
        r = correction_decide(&p, &c, z);
        if (r.verdict != CORRECTION_NOW)
            continue;
        int64_t from = c.now_us + c.error.offset_us, to = from + r.by_us;
        int64_t edge = interval_nearest(z, c.now_us, p.interval_us);
        int64_t day = interval_nearest(z, c.now_us, DAY);
        done++;
        assert_true(llabs(c.now_us - edge) >= p.guard_us);
        assert_true(llabs(c.now_us - day) >= p.day_guard_us);
        assert_true(llabs(to - c.now_us) <= llabs(from - c.now_us));
        if (c.error.trusted && !c.approved)
            assert_true(llabs(r.by_us) <= p.step_us);
        if (interval_floor(z, from, p.interval_us) !=
            interval_floor(z, to, p.interval_us))
            assert_true(r.crosses_edge);
    }
    assert_true(done > 10000);
}

static void who_reports_seldom_is_corrected_earlier(void **state)
{
    static const int64_t hour = 3600 * US_PER_S;

    (void)state;
    assert_int_equal(correction_next_us(90 * hour, TIME_NONE, true), 93 * hour);
    assert_int_equal(correction_next_us(90 * hour, 89 * hour, false),
                     93 * hour);
    assert_int_equal(correction_next_us(90 * hour, 66 * hour, true),
                     114 * hour);
    assert_int_equal(correction_next_us(90 * hour, 66 * hour, false),
                     138 * hour);
    assert_int_equal(correction_next_us(90 * hour, 0, true), 138 * hour);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            a_difference_of_60_seconds_is_corrected_and_none_below, setup),
        cmocka_unit_test_setup(a_fast_drift_is_corrected_before_it_is_too_late,
                               setup),
        cmocka_unit_test_setup(what_is_not_known_better_is_not_corrected,
                               setup),
        cmocka_unit_test_setup(a_meter_that_asks_gets_the_difference, setup),
        cmocka_unit_test_setup(one_owner_sets_a_clock, setup),
        cmocka_unit_test_setup(our_own_clock_must_be_right, setup),
        cmocka_unit_test_setup(steps_and_corrections_a_day_are_limited, setup),
        cmocka_unit_test_setup(beyond_a_limit_a_person_decides, setup),
        cmocka_unit_test_setup(
            no_clock_moves_near_an_edge_or_the_end_of_the_day, setup),
        cmocka_unit_test_setup(a_clock_does_not_cross_an_edge_if_waiting_helps,
                               setup),
        cmocka_unit_test_setup(a_device_that_can_is_slewed, setup),
        cmocka_unit_test_setup(policies_out_of_bounds_are_named, setup),
        cmocka_unit_test_setup(decisions_keep_the_policy, setup),
        cmocka_unit_test(who_reports_seldom_is_corrected_earlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
