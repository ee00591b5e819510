/* Turns of tenants, under a clock that is set by hand. */
#include "ingest/quota.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* */
#include <cmocka.h>

enum { SLOW = 1, FREE = 2, PER_MINUTE = 600, BURST = 100 };

static int64_t now_us;
static struct quotas *quotas;

static int64_t fake_now(void *arg)
{
    (void)arg;
    return now_us;
}

static const struct clock fake_clock = {fake_now, fake_now, NULL};

static int setup(void **state)
{
    (void)state;
    now_us = 1000 * US_PER_S;
    quotas = quotas_new(&fake_clock);
    quotas_set(quotas, SLOW, PER_MINUTE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    quotas_free(quotas);
    return 0;
}

/* How long from now until the tenant's turn; -1: too far away. */
static int64_t wait_us(int32_t tenant)
{
    int64_t at;

    if (quotas_turn(quotas, tenant, 60 * US_PER_S, &at) < 0)
        return -1;
    return at > now_us ? at - now_us : 0;
}

static void a_burst_passes_then_turns_come_at_the_rate(void **state)
{
    (void)state;
    for (int i = 0; i <= BURST; i++)
        assert_int_equal(wait_us(SLOW), 0);
    for (int i = 1; i <= 50; i++)
        assert_int_equal(wait_us(SLOW), i * US_PER_S / 10);
    now_us += 5 * US_PER_S;
    assert_int_equal(wait_us(SLOW), US_PER_S / 10);
    assert_int_equal(quotas_first(quotas)->slowed, 51);
}

static void whoever_rests_gets_the_burst_back_and_no_more(void **state)
{
    (void)state;
    for (int i = 0; i <= BURST; i++)
        wait_us(SLOW);
    now_us += 3600 * US_PER_S;
    for (int i = 0; i <= BURST; i++)
        assert_int_equal(wait_us(SLOW), 0);
    assert_in_range(wait_us(SLOW), 1, US_PER_S);
}

static void others_are_not_touched(void **state)
{
    (void)state;
    quotas_set(quotas, FREE, 0);
    for (int i = 0; i < 700; i++)
        wait_us(SLOW);
    for (int i = 0; i < 700; i++)
        assert_int_equal(wait_us(FREE), 0);
}

static void a_turn_too_far_away_is_not_taken(void **state)
{
    int64_t at;

    (void)state;
    for (int i = 0; i < 5 * PER_MINUTE; i++)
        wait_us(SLOW);
    assert_int_equal(wait_us(SLOW), -1);
    assert_true(quotas_first(quotas)->refused > 0);
    now_us += US_PER_S;
    assert_in_range(wait_us(SLOW), 1, 60 * US_PER_S);
    /* Who may wait for as long as it takes always gets one. */
    for (int i = 0; i < 5 * PER_MINUTE; i++)
        assert_string_equal(err_name(quotas_turn(quotas, SLOW, INT64_MAX, &at)),
                            "ok");
    assert_true(at - now_us > 300 * US_PER_S);
}

static void a_limit_that_is_lifted_holds_nobody_back(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++)
        wait_us(SLOW);
    assert_true(quotas_slow(quotas, quotas_first(quotas)));
    quotas_set(quotas, SLOW, 0);
    assert_int_equal(wait_us(SLOW), 0);
    now_us += 61 * US_PER_S;
    assert_false(quotas_slow(quotas, quotas_first(quotas)));
}

static void the_slowest_quota_still_lets_some_through(void **state)
{
    (void)state;
    quotas_set(quotas, SLOW, 1);
    for (int i = 0; i <= 10; i++)
        assert_int_equal(wait_us(SLOW), 0);
    assert_int_equal(wait_us(SLOW), 60 * US_PER_S);
    assert_int_equal(wait_us(SLOW), -1);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(a_burst_passes_then_turns_come_at_the_rate),
        CLAIM(whoever_rests_gets_the_burst_back_and_no_more),
        CLAIM(others_are_not_touched),
        CLAIM(a_turn_too_far_away_is_not_taken),
        CLAIM(a_limit_that_is_lifted_holds_nobody_back),
        CLAIM(the_slowest_quota_still_lets_some_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
