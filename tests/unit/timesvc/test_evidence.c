/* What samples tell of a clock: offset, drift, how sure, and what happened. */
#include "timesvc/evidence.h"
#include "timesvc/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND US_PER_S
#define HOUR   (3600 * US_PER_S)
#define DAY    (24 * HOUR)

static int64_t at(const char *text)
{
    struct stamp s;

    if (stamp_parse(str_of(text), &s) < 0)
        fail_msg("bad time in the test: %s", text);
    return s.us;
}

static int64_t start;
static struct clock_model m;

static int setup(void **state)
{
    (void)state;
    start = at("2026-01-15T12:00:00Z");
    clock_init(&m);
    return 0;
}

static enum clock_jump take(int64_t t, int64_t offset)
{
    struct clock_sample s = {t, t + offset, 0, 0, false};
    return clock_take(&m, &s, zone_find(STR("Europe/Berlin")));
}

/* A sample every six hours of a clock that is `offset` fast; the next time. */
static int64_t run(int64_t from, int days, int64_t offset, double ppm)
{
    int64_t t = from;

    for (int i = 0; i < days * 4; i++, t += 6 * HOUR) {
        int64_t gained = (int64_t)(ppm * 1e-6 * (double)(t - from));
        assert_int_equal(take(t, offset + gained), JUMP_NONE);
    }
    return t;
}

static void assert_near(int64_t got, int64_t want, int64_t slack)
{
    if (llabs(got - want) > slack)
        fail_msg("%lld is not %lld +- %lld", (long long)got, (long long)want,
                 (long long)slack);
}

static void assert_state(int64_t now, const char *name)
{
    assert_string_equal(clock_state_name(clock_state(&m, now, 60 * SECOND)),
                        name);
}

static void drift_and_offset_are_found(void **state)
{
    static const double ppms[] = {-200, -23, 0, 7.5, 200};

    (void)state;
    for (size_t i = 0; i < sizeof ppms / sizeof *ppms; i++) {
        clock_init(&m);
        int64_t t = run(start, 10, 3 * SECOND, ppms[i]);
        struct clock_error e = clock_now(&m, t + DAY);
        int64_t gained = (int64_t)(ppms[i] * 1e-6 * (double)(11 * DAY));

        assert_true(m.fitted);
        assert_near((int64_t)(m.drift_ppm * 1000), (int64_t)(ppms[i] * 1000),
                    100);
        assert_near(e.offset_us, 3 * SECOND + gained, SECOND / 10);
    }
}

static void late_samples_do_not_bend_the_line(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (int i = 0; i < 24 * 10; i++) {
        int64_t t = start + i * HOUR;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int64_t late = i % 3 ? 0 : (int64_t)(seed >> 33) % (60 * SECOND);
        int64_t true_offset = (int64_t)(50e-6 * (double)(t - start));
        take(t, true_offset - late);
    }
    assert_near((int64_t)(m.drift_ppm * 1000), 50000, 2000);
    assert_near(clock_now(&m, start + 10 * DAY).offset_us,
                (int64_t)(50e-6 * (double)(10 * DAY)), 2 * SECOND);
    assert_int_equal(m.n_steps, 0);
}

static void uncertainty_grows_from_2_to_120_seconds_in_90_days(void **state)
{
    (void)state;
    assert_state(start, "unknown");
    int64_t t = run(start, 10, 0, 0) - 6 * HOUR;
    assert_near(clock_now(&m, t).uncertainty_us, 2 * SECOND, SECOND / 10);
    assert_near(clock_now(&m, t + 90 * DAY).uncertainty_us, 120 * SECOND,
                SECOND);
    assert_state(t, "synced");
    assert_state(t + 90 * DAY, "synced");
    assert_state(t + 90 * DAY + 1, "unsynced");
}

static void a_clock_beyond_the_accepted_difference_drifts(void **state)
{
    (void)state;
    int64_t t = run(start, 2, 60 * SECOND, 0);
    assert_state(t, "drifting");
    clock_init(&m);
    t = run(start, 2, 59 * SECOND, 0);
    assert_state(t, "synced");
    clock_init(&m);
    run(start, 10, 0, 1e6 * 60 / (744 * 3600)); /* E3: a minute a month */
    assert_near(clock_sync_period_us(&m, 60 * SECOND), 744 * HOUR, HOUR);
}

static void jumps_are_told_apart(void **state)
{
    static const struct {
        const char *from;
        int64_t jump;
        enum clock_jump kind;
        bool untrusted;
    } cases[] = {
        {"2026-03-20T00:00:00Z", HOUR, JUMP_DST, false},
        {"2026-06-20T00:00:00Z", HOUR, JUMP_HOUR, false},
        {"2026-06-20T00:00:00Z", -HOUR, JUMP_HOUR, false},
        {"2026-06-20T00:00:00Z", 3 * HOUR, JUMP_ZONE, false},
        {"2026-06-20T00:00:00Z", -5 * HOUR - HOUR / 2, JUMP_ZONE, false},
        {"2026-06-20T00:00:00Z", 1234 * SECOND, JUMP_SET, false},
        {"2026-06-20T00:00:00Z", 40 * DAY, JUMP_SET, false},
        {"2026-06-20T00:00:00Z", -4 * HOUR - 700 * SECOND, JUMP_STOPPED, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clock_init(&m);
        int64_t t = run(at(cases[i].from), 10, 2 * SECOND, 3);
        take(t, cases[i].jump);
        enum clock_jump got = take(t + 6 * HOUR, cases[i].jump);
        assert_string_equal(clock_jump_name(got),
                            clock_jump_name(cases[i].kind));
        assert_int_equal(m.untrusted, cases[i].untrusted);
        assert_near(clock_now(&m, t + 6 * HOUR).offset_us, cases[i].jump,
                    5 * SECOND);
    }
}

static void one_contradiction_is_no_jump(void **state)
{
    (void)state;
    int64_t t = run(start, 10, 0, 0);
    assert_int_equal(take(t, -2 * HOUR), JUMP_NONE); /* stored on its way */
    assert_near(clock_now(&m, t).offset_us, 0, SECOND);
    assert_int_equal(take(t + HOUR, 0), JUMP_NONE);
    assert_int_equal(take(t + 2 * HOUR, -3 * HOUR), JUMP_NONE);
    assert_near(clock_now(&m, t + 2 * HOUR).offset_us, 0, SECOND);
}

static void a_reset_clock_is_untrusted_until_it_is_set(void **state)
{
    static const char *const epochs[] = {
        "1970-01-01T00:00:40Z", "1980-01-06T00:00:00Z", "2000-01-12T07:00:00Z",
        "2106-02-07T06:28:15Z"};

    (void)state;
    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++) {
        clock_init(&m);
        int64_t t = run(start, 3, 0, 0);
        struct clock_sample s = {t, at(epochs[i]), 0, 0, false};
        assert_int_equal(clock_take(&m, &s, NULL), JUMP_RESET);
        assert_state(t, "untrusted");
        s.heard_us += HOUR;
        s.meter_us += HOUR;
        assert_int_equal(clock_take(&m, &s, NULL), JUMP_NONE);
        assert_state(t + HOUR, "untrusted");
        clock_expect(&m, t + HOUR, t - at(epochs[i]));
        assert_int_equal(take(t + 2 * HOUR, SECOND), JUMP_CORRECTED);
        assert_state(t + 2 * HOUR, "synced");
    }
}

static void a_clock_that_distrusts_itself_is_untrusted(void **state)
{
    (void)state;
    int64_t t = run(start, 3, 0, 0);
    struct clock_sample s = {t, t, 0, 0, true};
    clock_take(&m, &s, NULL);
    assert_state(t, "untrusted");
    take(t + HOUR, SECOND);
    assert_state(t + HOUR, "synced");
}

static void a_correction_is_verified_by_the_next_sample(void **state)
{
    (void)state;
    int64_t t = run(start, 10, 75 * SECOND, 0);
    clock_expect(&m, t, -75 * SECOND);
    assert_int_equal(take(t + HOUR, 75 * SECOND), JUMP_NONE); /* was lost */
    assert_state(t + HOUR, "drifting");
    clock_expect(&m, t + HOUR, -75 * SECOND);
    assert_int_equal(take(t + 2 * HOUR, 0), JUMP_CORRECTED);
    assert_state(t + 2 * HOUR, "synced");
    assert_near(clock_at_claim(&m, t - DAY).offset_us, 75 * SECOND, SECOND);
    assert_near(clock_at_claim(&m, t + 3 * HOUR).offset_us, 0, SECOND);
    clock_expect(&m, t + 3 * HOUR, -4 * SECOND); /* within all tolerance */
    assert_int_equal(take(t + 4 * HOUR, -4 * SECOND), JUMP_CORRECTED);
}

static void the_drift_outlives_a_correction(void **state)
{
    (void)state;
    int64_t t = run(start, 5, 0, 150);
    int64_t off = clock_now(&m, t).offset_us;

    clock_expect(&m, t, -off);
    assert_int_equal(take(t + HOUR, 0), JUMP_CORRECTED);
    assert_near((int64_t)m.drift_ppm, 150, 2);
    take(t + 12 * HOUR, (int64_t)(150e-6 * (double)(11 * HOUR)));
    assert_near((int64_t)m.drift_ppm, 150, 2);
    assert_near(clock_now(&m, t + DAY).offset_us,
                (int64_t)(150e-6 * (double)(23 * HOUR)), SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(drift_and_offset_are_found, setup),
        cmocka_unit_test_setup(late_samples_do_not_bend_the_line, setup),
        cmocka_unit_test_setup(
            uncertainty_grows_from_2_to_120_seconds_in_90_days, setup),
        cmocka_unit_test_setup(a_clock_beyond_the_accepted_difference_drifts,
                               setup),
        cmocka_unit_test_setup(jumps_are_told_apart, setup),
        cmocka_unit_test_setup(one_contradiction_is_no_jump, setup),
        cmocka_unit_test_setup(a_reset_clock_is_untrusted_until_it_is_set,
                               setup),
        cmocka_unit_test_setup(a_clock_that_distrusts_itself_is_untrusted,
                               setup),
        cmocka_unit_test_setup(a_correction_is_verified_by_the_next_sample,
                               setup),
        cmocka_unit_test_setup(the_drift_outlives_a_correction, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
