/* Which time a reading gets, and what is said about it. */
#include "timesvc/interval.h"
#include "timesvc/reconcile.h"
#include "timesvc/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define DAY_US (86400 * US_PER_S)

static const struct meter_claim no_claim = {.us = TIME_NONE, .dst = -1};

static int64_t at(const char *text)
{
    struct stamp s;

    if (stamp_parse(str_of(text), &s) < 0)
        fail_msg("bad time in the test: %s", text);
    return s.us;
}

static struct time_evidence received(const char *text)
{
    return (struct time_evidence){at(text), TIME_NONE, NULL};
}

static void assert_time(int64_t us, const char *expect)
{
    char text[TIME_TEXT];

    if (us == TIME_NONE)
        assert_string_equal("none", expect);
    else
        assert_string_equal(time_text(us, text), expect);
}

static void the_network_is_believed_only_within_reason(void **state)
{
    struct time_evidence e = received("2024-01-15T12:00:00Z");
    uint32_t quality = 0;

    (void)state;
    assert_time(heard_us(e, NULL), "2024-01-15T12:00:00Z");
    e.network_us = at("2024-01-15T11:59:58Z");
    assert_time(heard_us(e, NULL), "2024-01-15T11:59:58Z");
    e.network_us = at("2024-01-15T12:05:00Z");
    assert_time(heard_us(e, NULL), "2024-01-15T12:05:00Z");
    e.network_us = at("2024-01-15T12:05:01Z");
    assert_time(heard_us(e, NULL), "2024-01-15T12:00:00Z");
    e.network_us = at("2014-12-31T23:59:59Z");
    assert_time(heard_us(e, &quality), "2024-01-15T12:00:00Z");
    assert_int_equal(quality, 0);
    e.network_us = at("2024-01-13T12:00:00Z");
    assert_time(heard_us(e, &quality), "2024-01-13T12:00:00Z");
    assert_int_equal(quality, QUALITY_LATE);
}

static void without_a_claim_it_is_when_it_was_heard(void **state)
{
    struct time_evidence e = received("2024-01-15T12:00:00Z");
    struct reconciled r;

    (void)state;
    e.network_us = at("2024-01-15T11:59:58Z");
    r = reconcile(e, no_claim, 0, NULL);
    assert_time(r.time_us, "2024-01-15T11:59:58Z");
    assert_time(r.meter_time_us, "none");
    assert_int_equal(r.quality, QUALITY_NO_METER_TIME);
    assert_int_equal(r.uncertainty_ms, 5000);
}

static void a_plausible_claim_wins(void **state)
{
    struct time_evidence e = received("2024-01-15T12:00:00Z");
    struct meter_claim c = {.us = at("2024-01-15T11:00:00Z"), .dst = -1};
    struct reconciled r = reconcile(e, c, 0, NULL);

    (void)state;
    assert_time(r.time_us, "2024-01-15T11:00:00Z");
    assert_time(r.meter_time_us, "2024-01-15T11:00:00Z");
    assert_int_equal(r.quality, 0);
    assert_int_equal(r.uncertainty_ms, 60000);
}

static void a_local_claim_is_read_in_the_meters_zone(void **state)
{
    const struct zone *z = zone_find(STR("Europe/Berlin"));
    struct time_evidence e = received("2024-10-27T12:00:00Z");
    struct meter_claim c = {
        .us = at("2024-10-27T02:30:00Z"), .local = true, .dst = -1};
    struct reconciled r = reconcile(e, c, 0, z);

    (void)state;
    assert_time(r.time_us, "2024-10-27T00:30:00Z");
    assert_int_equal(r.quality, QUALITY_LOCAL_TIME | QUALITY_DST_AMBIGUOUS);
    assert_int_equal(r.uncertainty_ms, 3660000);
    c.dst = 0;
    r = reconcile(e, c, 0, z);
    assert_time(r.time_us, "2024-10-27T01:30:00Z");
    assert_int_equal(r.quality, QUALITY_LOCAL_TIME);
    r = reconcile(e, c, 0, NULL);
    assert_time(r.time_us, "2024-10-27T02:30:00Z");
    assert_int_equal(r.quality, QUALITY_LOCAL_TIME);
}

static void an_impossible_claim_is_kept_but_not_used(void **state)
{
    static const char *const claims[] = {
        "1999-12-31T23:59:59Z", "2024-01-16T12:00:01Z", "1970-01-01T00:00:00Z",
        "2106-02-07T06:28:15Z", "2000-01-12T08:30:00Z", "2038-01-19T03:14:08Z"};
    struct time_evidence e = received("2024-01-15T12:00:00Z");

    (void)state;
    for (size_t i = 0; i < sizeof(claims) / sizeof(*claims); i++) {
        struct meter_claim c = {.us = at(claims[i]), .dst = -1};
        struct reconciled r = reconcile(e, c, 3600 * US_PER_S, NULL);

        assert_time(r.time_us, "2024-01-15T11:00:00Z");
        assert_time(r.meter_time_us, claims[i]);
        assert_int_equal(r.quality,
                         QUALITY_TIME_INVALID | QUALITY_TIME_SHIFTED);
    }
}

static void the_bounds_themselves_are_possible(void **state)
{
    struct time_evidence e = received("2024-01-15T12:00:00Z");
    struct meter_claim c = {.us = at("2024-01-16T12:00:00Z"), .dst = -1};

    (void)state;
    assert_int_equal(reconcile(e, c, 0, NULL).quality, 0);
    c.us = at("2001-01-01T00:00:00Z");
    assert_int_equal(reconcile(e, c, 0, NULL).quality, QUALITY_LATE);
}

static void a_distrusted_clock_is_not_used(void **state)
{
    struct time_evidence e = received("2024-01-15T12:00:00Z");
    struct meter_claim c = {
        .us = at("2024-01-15T11:00:00Z"), .invalid = true, .dst = -1};
    struct reconciled r = reconcile(e, c, 0, NULL);

    (void)state;
    assert_time(r.time_us, "2024-01-15T12:00:00Z");
    assert_time(r.meter_time_us, "2024-01-15T11:00:00Z");
    assert_int_equal(r.quality, QUALITY_TIME_INVALID | QUALITY_TIME_SHIFTED);
    c.us = TIME_NONE;
    r = reconcile(e, c, 0, NULL);
    assert_int_equal(r.quality, QUALITY_TIME_INVALID);
    assert_time(r.meter_time_us, "none");
}

static void an_old_reading_is_late(void **state)
{
    struct time_evidence e = received("2024-01-15T12:00:00Z");
    struct meter_claim c = {.us = at("2024-01-14T12:00:00Z"), .dst = -1};

    (void)state;
    assert_int_equal(reconcile(e, c, 0, NULL).quality, 0);
    c.us--;
    assert_int_equal(reconcile(e, c, 0, NULL).quality, QUALITY_LATE);
}

/* Over random evidence and claims: the result is in reach, the flags agree
 * with it, and nothing depends on anything but the input. */
static void results_are_possible_whatever_is_claimed(void **state)
{
    const struct zone *z = zone_find(STR("Europe/Berlin"));
    int64_t base = at("2024-06-01T00:00:00Z");
    uint64_t seed = 9;

    (void)state;
    for (int i = 0; i < 50000; i++) {
        uint64_t n[4];
        for (int k = 0; k < 4; k++)
            n[k] = seed = seed * 6364136223846793005u + 1442695040888963407u;
        struct time_evidence e = {
            base + (int64_t)(n[0] >> 20),
            i % 3 ? base + (int64_t)(n[1] >> 20) : TIME_NONE, NULL};
        struct meter_claim c = {.us = i % 5 ? (int64_t)(n[2] >> (n[3] >> 58))
                                            : base + (int64_t)(n[2] >> 20),
                                .local = n[3] & 1,
                                .invalid = (n[3] & 6) == 6,
                                .dst = (int8_t)((int)(n[3] >> 8 & 1) - 1)};
        int64_t age = (int64_t)(n[3] >> 2 >> (n[0] >> 58));
        int64_t heard = heard_us(e, NULL);
        struct reconciled r = reconcile(e, c, age, z);
        struct reconciled again = reconcile(e, c, age, z);

        assert_memory_equal(&r.time_us, &again.time_us, sizeof(r.time_us));
        assert_true(r.time_us >= 946684800 * US_PER_S);
        assert_true(r.time_us <= heard + DAY_US);
        assert_true(r.uncertainty_ms > 0);
        if (r.quality & QUALITY_TIME_INVALID)
            assert_true(r.time_us <= heard);
        else
            assert_true(r.time_us == r.meter_time_us);
        assert_int_equal(!!(r.quality & QUALITY_LATE),
                         e.received_us - r.time_us > DAY_US);
    }
}

/* ---- with a model of the clock ---- */

static struct clock_model fast_by(int64_t us, const char *since,
                                  const char *until)
{
    struct clock_model m;

    clock_init(&m);
    for (int64_t t = at(since); t <= at(until); t += 6 * 3600 * US_PER_S) {
        struct clock_sample s = {.heard_us = t, .meter_us = t + us};
        clock_take(&m, &s, NULL);
    }
    return m;
}

static struct reconciled known(const struct clock_model *m, int64_t interval_s,
                               const char *heard, const char *claim)
{
    struct clock_known k = {.model = m,
                            .clock_us = TIME_NONE,
                            .interval_us = interval_s * US_PER_S};
    struct time_evidence e = {at(heard), TIME_NONE, &k};
    struct meter_claim c = {.us = at(claim), .dst = -1};

    return reconcile(e, c, 0, NULL);
}

static void an_error_below_half_the_interval_leaves_the_label(void **state)
{
    struct clock_model m =
        fast_by(300 * US_PER_S, "2024-01-01T00:00:00Z", "2024-01-15T00:00:00Z");
    struct reconciled r =
        known(&m, 900, "2024-01-15T12:00:00Z", "2024-01-15T11:45:00Z");

    (void)state;
    assert_time(r.time_us, "2024-01-15T11:45:00Z");
    assert_int_equal(r.quality, 0);
    assert_in_range(r.uncertainty_ms, 300000, 305000);
}

static void an_error_above_it_moves_the_label_and_says_so(void **state)
{
    struct clock_model m =
        fast_by(600 * US_PER_S, "2024-01-01T00:00:00Z", "2024-01-15T00:00:00Z");
    struct reconciled r =
        known(&m, 900, "2024-01-15T12:00:00Z", "2024-01-15T11:45:00Z");

    (void)state;
    assert_time(r.time_us, "2024-01-15T11:30:00Z");
    assert_time(r.meter_time_us, "2024-01-15T11:45:00Z");
    assert_int_equal(r.quality, QUALITY_TIME_SHIFTED);
    r = known(&m, 0, "2024-01-15T12:00:00Z", "2024-01-15T11:45:00Z");
    assert_time(r.time_us, "2024-01-15T11:35:00Z"); /* read at any time */
    assert_int_equal(r.quality, QUALITY_TIME_SHIFTED);
}

static void history_is_timed_with_the_clock_it_was_made_by(void **state)
{
    struct clock_model m = fast_by(3600 * US_PER_S, "2024-01-01T00:00:00Z",
                                   "2024-01-15T00:00:00Z");
    int64_t sent = at("2024-01-15T06:00:00Z");
    struct clock_sample after = {sent + 5 * US_PER_S, sent + 5 * US_PER_S, 0, 0,
                                 false};

    (void)state;
    clock_expect(&m, sent, -3600 * US_PER_S);
    assert_int_equal(clock_take(&m, &after, NULL), JUMP_CORRECTED);
    struct reconciled r =
        known(&m, 3600, "2024-01-15T06:01:00Z", "2024-01-15T03:00:00Z");
    assert_time(r.time_us, "2024-01-15T02:00:00Z");
    assert_int_equal(r.quality, QUALITY_TIME_SHIFTED);
    r = known(&m, 3600, "2024-01-15T09:01:00Z", "2024-01-15T08:00:00Z");
    assert_time(r.time_us, "2024-01-15T08:00:00Z");
    assert_int_equal(r.quality, 0);
    /* 06:30 was shown twice: an hour ago and half an hour from now. */
    r = known(&m, 1800, "2024-01-15T06:31:00Z", "2024-01-15T06:30:00Z");
    assert_true(r.quality & QUALITY_TIME_UNCERTAIN);
}

static void an_untrusted_clock_is_kept_and_not_used(void **state)
{
    struct clock_model m;
    struct clock_sample reset = {at("2024-01-15T12:00:00Z"),
                                 at("2000-01-12T00:00:00Z"), 0, 0, false};
    struct clock_known k = {.model = &m, .clock_us = TIME_NONE};
    struct time_evidence e = {at("2024-01-15T12:00:00Z"), TIME_NONE, &k};
    struct meter_claim c = {.us = at("2024-01-12T00:00:00Z"), .dst = -1};

    (void)state;
    clock_init(&m);
    assert_int_equal(clock_take(&m, &reset, NULL), JUMP_RESET);
    struct reconciled r = reconcile(e, c, 3600 * US_PER_S, NULL);
    assert_time(r.time_us, "2024-01-15T11:00:00Z");
    assert_time(r.meter_time_us, "2024-01-12T00:00:00Z");
    assert_int_equal(r.quality, QUALITY_TIME_INVALID | QUALITY_TIME_SHIFTED);
}

static void a_frame_that_shows_another_clock_is_in_doubt(void **state)
{
    struct clock_known k = {.clock_us = at("2024-01-15T13:00:00Z")};
    struct time_evidence e = {at("2024-01-15T12:00:00Z"), TIME_NONE, &k};
    struct meter_claim c = {.us = at("2024-01-15T12:30:00Z"), .dst = -1};
    struct reconciled r = reconcile(e, c, 0, NULL);

    (void)state; /* ahead: nothing but its clock can do that */
    assert_time(r.time_us, "2024-01-15T11:30:00Z");
    assert_int_equal(r.quality, QUALITY_TIME_SHIFTED | QUALITY_TIME_UNCERTAIN);
    k.clock_us = at("2024-01-15T11:00:00Z"); /* behind: or it came late */
    c.us = k.clock_us;
    r = reconcile(e, c, 0, NULL);
    assert_time(r.time_us, "2024-01-15T11:00:00Z");
    assert_int_equal(r.quality, QUALITY_TIME_UNCERTAIN);
    k.ours_unsure = true;
    r = reconcile(e, c, 0, NULL);
    assert_true(r.quality & QUALITY_OUR_CLOCK_UNSURE);
}

static int64_t random_below(uint64_t *seed, int64_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((*seed >> 20) % (uint64_t)n);
}

/* Clocks with any offset and drift, read at edges of their own intervals:
 * unless marked, no reading lies in another interval than the one it was made
 * in, nothing moves unmarked, and the truth lies within the uncertainty. */
static void no_reading_crosses_an_edge_unmarked(void **state)
{
    static const int64_t intervals_s[] = {300, 900, 1800, 3600, 86400};
    int64_t base = at("2024-06-01T00:00:00Z"), hour = 3600 * US_PER_S;
    uint64_t seed = 77, moved = 0;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        int64_t interval = intervals_s[i % 5] * US_PER_S;
        int64_t offset = random_below(&seed, 4 * hour) - 2 * hour;
        double drift = (double)random_below(&seed, 401) - 200;
        struct clock_model m;
        int64_t t = base;

        clock_init(&m);
        for (int k = 0; k < 40; k++, t += 3 * hour) {
            int64_t off = offset + (int64_t)(drift * 1e-6 * (double)(t - base));
            struct clock_sample s = {t, t + off, 0, 0, false};
            clock_take(&m, &s, NULL);
        }
        for (int k = 0; k < 20; k++) {
            int64_t claim = interval_nearest(
                NULL, t - random_below(&seed, 24 * hour) + offset, interval);
            int64_t truth = base + (int64_t)((double)(claim - base - offset) /
                                             (1 + drift * 1e-6));
            struct clock_known known = {
                .model = &m, .clock_us = TIME_NONE, .interval_us = interval};
            struct time_evidence e = {t + 12 * hour, TIME_NONE, &known};
            struct meter_claim c = {.us = claim, .dst = -1};
            struct reconciled r = reconcile(e, c, 0, NULL);

            moved += r.time_us != claim;
            assert_true(r.time_us == claim || r.quality & QUALITY_TIME_SHIFTED);
            assert_true(r.meter_time_us == claim);
            assert_true(llabs(r.time_us - truth) <=
                        (int64_t)r.uncertainty_ms * 1000 + 1000);
            if (!(r.quality & (QUALITY_TIME_UNCERTAIN | QUALITY_TIME_SHIFTED)))
                assert_true(2 * llabs(r.time_us - truth) < interval);
        }
    }
    assert_true(moved > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_below_half_the_interval_leaves_the_label),
        cmocka_unit_test(an_error_above_it_moves_the_label_and_says_so),
        cmocka_unit_test(history_is_timed_with_the_clock_it_was_made_by),
        cmocka_unit_test(an_untrusted_clock_is_kept_and_not_used),
        cmocka_unit_test(a_frame_that_shows_another_clock_is_in_doubt),
        cmocka_unit_test(no_reading_crosses_an_edge_unmarked),
        cmocka_unit_test(the_network_is_believed_only_within_reason),
        cmocka_unit_test(without_a_claim_it_is_when_it_was_heard),
        cmocka_unit_test(a_plausible_claim_wins),
        cmocka_unit_test(a_local_claim_is_read_in_the_meters_zone),
        cmocka_unit_test(an_impossible_claim_is_kept_but_not_used),
        cmocka_unit_test(the_bounds_themselves_are_possible),
        cmocka_unit_test(a_distrusted_clock_is_not_used),
        cmocka_unit_test(an_old_reading_is_late),
        cmocka_unit_test(results_are_possible_whatever_is_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
