/*
 * From decoded rows to captures: registers, profiles, times, extras.
 */
#include "server/base/err.h"
#include "server/pipeline/capture.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static struct arena *arena, *keep;
static struct decoded d;
static const int64_t noon = 1768478400LL * US_PER_S; /* 2026-01-15T12:00:00Z */

static int begin(void **state)
{
    (void)state;
    arena = arena_new(0);
    keep = arena_new(0);
    return decoded_init(&d, arena);
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    arena_free(keep);
    return 0;
}

static struct measurement energy(int64_t mantissa, int exp10)
{
    return (struct measurement){.quantity = Q_ENERGY,
                                .unit = UNIT_WH,
                                .value = {mantissa, exp10},
                                .obis = OBIS_NONE};
}

static struct captured build(void)
{
    struct captured c;
    struct time_evidence evidence = {noon, TIME_NONE, NULL};
    assert_string_equal(
        err_name(capture_build(&d, MEDIUM_HEAT, evidence, zone_find(STR("UTC")),
                               0, keep, &c)),
        "ok");
    return c;
}

static void a_value_keeps_every_digit_in_the_canonical_unit(void **state)
{
    (void)state;
    struct measurement m = energy(12345, -1); /* 1234.5 Wh */
    decoded_add(&d, &m);
    struct captured c = build();
    assert_int_equal(c.n, 1);
    assert_int_equal(c.captures[0].values[0], 12345);
    assert_int_equal(c.captures[0].profile->objects[0].exp10, -4); /* kWh */
    assert_int_equal(c.captures[0].profile->objects[0].unit, UNIT_KWH);
}

static void the_same_registers_make_the_same_profile(void **state)
{
    struct measurement a = energy(1, 3), b = energy(7, 3);
    struct measurement v = {.quantity = Q_VOLUME,
                            .unit = UNIT_M3,
                            .value = {5, -3},
                            .obis = OBIS_NONE};
    uint32_t row;
    (void)state;
    decoded_add(&d, &a);
    decoded_add(&d, &v);
    decoded_add_row(&d, (struct meter_time){METER_TIME_UTC, noon, false, -1},
                    &row);
    v.row = b.row = row; /* in the other order */
    decoded_add(&d, &v);
    decoded_add(&d, &b);
    struct captured c = build();
    assert_int_equal(c.n, 2);
    assert_true(c.captures[0].profile->id == c.captures[1].profile->id);
    assert_true(c.captures[0].profile->id > 0);
    assert_int_equal(c.captures[1].values[0], 7);
    assert_int_equal(c.captures[1].values[1], 5);
}

static void a_second_value_for_one_register_is_kept_as_an_extra(void **state)
{
    struct measurement a = energy(1, 3), b = energy(2, 3);
    (void)state;
    b.offset = 9;
    decoded_add(&d, &a);
    decoded_add(&d, &b);
    struct captured c = build();
    assert_int_equal(c.captures[0].profile->n, 1);
    assert_int_equal(c.captures[0].values[0], 1);
    assert_non_null(strstr(c.extras.p, "\"value\":\"2000\""));
}

static void a_text_is_an_extra_and_no_reading(void **state)
{
    struct measurement m = {
        .quantity = Q_TEXT, .obis = OBIS_NONE, .text = STR("fw=\"1\"")};
    (void)state;
    decoded_add(&d, &m);
    struct captured c = build();
    assert_int_equal(c.n, 0);
    assert_string_equal(c.extras.p,
                        "[{\"quantity\":\"text\",\"text\":\"fw=\\\"1\\\"\","
                        "\"offset\":0}]");
}

static void rows_of_an_impossible_clock_keep_their_distance(void **state)
{
    int64_t y1970 = 3600 * US_PER_S;
    uint32_t row[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct measurement m = energy(i, 3);
        decoded_add_row(&d,
                        (struct meter_time){METER_TIME_UTC,
                                            y1970 - i * 600 * US_PER_S, false,
                                            -1},
                        &row[i]);
        m.row = row[i];
        decoded_add(&d, &m);
    }
    struct captured c = build();
    assert_int_equal(c.n, 2);
    assert_true(c.captures[0].time_us == noon);
    assert_true(c.captures[1].time_us == noon - 600 * US_PER_S);
    assert_true(c.captures[1].quality & QUALITY_TIME_INVALID);
    assert_true(c.captures[1].meter_time_us == y1970 - 600 * US_PER_S);
}

static void an_invalid_value_is_absent_and_flagged_alone(void **state)
{
    struct measurement a = energy(1, 3);
    struct measurement v = {.quantity = Q_VOLUME,
                            .unit = UNIT_M3,
                            .value = {VALUE_NONE, -3},
                            .quality = QUALITY_INVALID,
                            .obis = OBIS_NONE};
    (void)state;
    decoded_add(&d, &a);
    decoded_add(&d, &v);
    struct captured c = build();
    assert_int_equal(c.captures[0].profile->n, 2);
    assert_true(c.captures[0].values[1] == VALUE_NONE);
    assert_non_null(c.captures[0].value_quality);
    assert_false(c.captures[0].value_quality[0] & QUALITY_INVALID);
    assert_true(c.captures[0].value_quality[1] & QUALITY_INVALID);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CLAIM(a_value_keeps_every_digit_in_the_canonical_unit),
        CLAIM(the_same_registers_make_the_same_profile),
        CLAIM(a_second_value_for_one_register_is_kept_as_an_extra),
        CLAIM(a_text_is_an_extra_and_no_reading),
        CLAIM(rows_of_an_impossible_clock_keep_their_distance),
        CLAIM(an_invalid_value_is_absent_and_flagged_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
