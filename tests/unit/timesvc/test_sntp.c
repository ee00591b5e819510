/* NTP packets, and whether our own clock is right. */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "timesvc/sntp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS 1000LL

static const int64_t noon = 1768478400 * US_PER_S; /* 2026-01-15T12:00:00Z */

static struct str view(const uint8_t *p)
{
    return (struct str){(const char *)p, SNTP_SIZE};
}

static void times_go_round_and_over_the_end_of_the_era(void **state)
{
    static const int64_t times_s[] = {0,          1768478400, 2085978495,
                                      2085978496, 2147483648, 4294967296};

    (void)state;
    assert_true(ntp_time(0) >> 32 == 2208988800);
    assert_true(ntp_time(noon + 500 * MS) ==
                (3977467200ULL << 32) + (1u << 31));
    for (size_t i = 0; i < sizeof times_s / sizeof *times_s; i++) {
        for (int64_t us = 0; us < US_PER_S; us += 999) {
            int64_t t = times_s[i] * US_PER_S + us;
            assert_true(ntp_utc_us(ntp_time(t), t + 86400 * US_PER_S) == t);
            assert_true(ntp_utc_us(ntp_time(t), t - 86400 * US_PER_S) == t);
        }
    }
}

static void a_reply_gives_offset_and_error(void **state)
{
    uint8_t request[SNTP_SIZE], reply[SNTP_SIZE];
    struct sntp_sample s;

    (void)state;
    sntp_request(request, noon);
    assert_int_equal(request[0], 0x23);
    /* The server is 250 ms ahead; 30 ms there, 10 ms in it, 50 ms back. */
    assert_int_equal(sntp_answer(view(request), noon + 280 * MS,
                                 noon + 290 * MS, 2 * MS, 2, reply),
                     0);
    assert_int_equal(sntp_reply(view(reply), noon, noon + 90 * MS, &s), 0);
    assert_in_range(s.offset_us, 239 * MS, 241 * MS);
    assert_in_range(s.error_us, 41 * MS, 43 * MS);
}

static void replies_that_prove_nothing_are_refused(void **state)
{
    uint8_t request[SNTP_SIZE], good[SNTP_SIZE], bad[SNTP_SIZE];
    struct sntp_sample s;

    (void)state;
    sntp_request(request, noon);
    sntp_answer(view(request), noon, noon, 0, 1, good);
    assert_int_equal(sntp_reply(view(good), noon, noon, &s), 0);
    assert_int_equal(sntp_reply((struct str){(char *)good, 47}, noon, noon, &s),
                     ERR_SHORT);
    assert_int_equal(sntp_reply(view(good), noon - 1, noon, &s), ERR_FORMAT);
    assert_int_equal(sntp_reply(view(request), noon, noon, &s), ERR_FORMAT);
    memcpy(bad, good, sizeof bad);
    bad[1] = 0;
    assert_int_equal(sntp_reply(view(bad), noon, noon, &s), ERR_FULL);
    memcpy(bad, good, sizeof bad);
    bad[0] |= 0xC0;
    assert_int_equal(sntp_reply(view(bad), noon, noon, &s), ERR_RANGE);
    sntp_answer(view(request), noon, noon, 0, 0, bad);
    assert_int_equal(sntp_reply(view(bad), noon, noon, &s), ERR_RANGE);
    assert_int_equal(sntp_answer(view(good), noon, noon, 0, 1, bad),
                     ERR_FORMAT);
}

static struct sntp_source sources[SNTP_SOURCES];

static void hear(int i, int64_t at, int64_t offset, int64_t error)
{
    sntp_take(&sources[i], &(struct sntp_sample){at, offset, error});
}

static int forget(void **state)
{
    (void)state;
    memset(sources, 0, sizeof sources);
    return 0;
}

static const char *verdict(uint32_t n, int64_t now)
{
    return own_clock_name(sntp_verdict(sources, n, now, 600 * US_PER_S).state);
}

static void the_least_delayed_sample_of_a_source_counts(void **state)
{
    struct sntp_sample best;

    (void)state;
    assert_false(sntp_best(&sources[0], noon, US_PER_S, &best));
    hear(0, noon, 5 * MS, 3 * MS);
    for (int i = 1; i < 8; i++)
        hear(0, noon + i * US_PER_S, 400 * MS, 500 * MS);
    assert_true(
        sntp_best(&sources[0], noon + 9 * US_PER_S, 60 * US_PER_S, &best));
    assert_int_equal(best.offset_us, 5 * MS);
    assert_true(
        sntp_best(&sources[0], noon + 9 * US_PER_S, 8 * US_PER_S, &best));
    assert_int_equal(best.offset_us, 400 * MS); /* the good one is too old */
}

static void a_majority_of_sources_decides(void **state)
{
    (void)state;
    assert_string_equal(verdict(0, noon), "unwatched");
    assert_string_equal(verdict(3, noon), "unsure");
    hear(0, noon, 2 * MS, 5 * MS);
    assert_string_equal(verdict(3, noon), "unsure");
    hear(1, noon, -1 * MS, 4 * MS);
    assert_string_equal(verdict(3, noon), "ok");
    hear(2, noon, 90 * US_PER_S, 5 * MS); /* a false ticker */
    assert_string_equal(verdict(3, noon), "ok");
    assert_string_equal(verdict(3, noon + 601 * US_PER_S), "unsure");
}

static void a_hundred_milliseconds_alarm_and_a_second_stops(void **state)
{
    static const struct {
        int64_t offset;
        const char *state;
    } cases[] = {{100 * MS, "ok"},           {101 * MS, "alarm"},
                 {-101 * MS, "alarm"},       {1000 * MS, "alarm"},
                 {1001 * MS, "unsure"},      {-1001 * MS, "unsure"},
                 {3600 * US_PER_S, "unsure"}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        forget(state);
        for (int k = 0; k < 3; k++)
            hear(k, noon, cases[i].offset, 0);
        assert_string_equal(verdict(3, noon), cases[i].state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_go_round_and_over_the_end_of_the_era),
        cmocka_unit_test(a_reply_gives_offset_and_error),
        cmocka_unit_test(replies_that_prove_nothing_are_refused),
        cmocka_unit_test_setup(the_least_delayed_sample_of_a_source_counts,
                               forget),
        cmocka_unit_test_setup(a_majority_of_sources_decides, forget),
        cmocka_unit_test_setup(a_hundred_milliseconds_alarm_and_a_second_stops,
                               forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
