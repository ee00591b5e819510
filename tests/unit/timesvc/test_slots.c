/* Contact slots: even, stable, and counted ahead. */
#include "server/base/clock.h"
#include "timesvc/cron.h"
#include "timesvc/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { METERS = 10000, SLOTS = 60, GATEWAYS = 20 };

static struct slot_meter meters[METERS];

static void fill(void)
{
    for (uint32_t i = 0; i < METERS; i++)
        meters[i] =
            (struct slot_meter){.key = cron_seed(1, i),
                                .weight = lora_air_ms(7 + (int)(i % 6), 51),
                                .gateway = i % GATEWAYS,
                                .slot = SLOT_NONE};
}

static void ten_thousand_meters_load_every_minute_evenly(void **state)
{
    struct slot_plan *p = slot_plan_new(SLOTS, GATEWAYS);
    uint32_t calls[1440] = {0}, most = 0;

    (void)state;
    fill();
    for (uint32_t i = 0; i < METERS; i++)
        slot_assign(p, &meters[i]);
    assert_true(slot_unevenness(p) < 1.1);
    slot_forecast(meters, METERS, SLOTS, 0, calls);
    for (int i = 0; i < 1440; i++)
        most = calls[i] > most ? calls[i] : most;
    assert_in_range(most, METERS / SLOTS, METERS * 13 / SLOTS / 10);
    slot_plan_free(p);
}

static void a_meter_keeps_its_slot_when_others_come(void **state)
{
    struct slot_plan *p = slot_plan_new(SLOTS, 1), *q = slot_plan_new(SLOTS, 1);
    int32_t was[1000];

    (void)state;
    fill();
    for (uint32_t i = 0; i < 1000; i++) {
        slot_assign(p, &meters[i]);
        was[i] = meters[i].slot;
    }
    for (uint32_t i = 0; i < 1000; i++) {
        meters[i].slot = SLOT_NONE;
        slot_assign(q, &meters[i]);
        assert_int_equal(meters[i].slot, was[i]);
    }
    slot_plan_free(p);
    slot_plan_free(q);
}

static void an_uneven_load_is_evened_by_few_moves(void **state)
{
    struct slot_plan *p = slot_plan_new(SLOTS, 1);

    (void)state;
    fill();
    for (uint32_t i = 0; i < 6000; i++) {
        meters[i].slot = (int32_t)(i % SLOTS);
        meters[i].weight = 1;
        assert_true(slot_book(p, &meters[i]));
    }
    for (uint32_t i = 6000; i < 6200; i++) {
        meters[i].slot = 7;
        meters[i].weight = 1;
        slot_book(p, &meters[i]);
    }
    assert_true(slot_unevenness(p) > 2.8);
    size_t moved = slot_rebalance(p, meters, 6200, 1.2, 0);
    assert_true(slot_unevenness(p) <= 1.2 + 60.0 / 6200);
    assert_in_range(moved, 170, 200);
    slot_plan_free(p);
}

static void no_meter_reports_next_to_an_edge_of_its_interval(void **state)
{
    struct slot_plan *p = slot_plan_new(SLOTS, 1);

    (void)state;
    fill();
    for (uint32_t i = 0; i < METERS; i++) {
        meters[i].weight = 1;
        meters[i].interval_min = i % 3 ? 60 : 15;
        slot_assign(p, &meters[i]);
        assert_in_range(meters[i].slot % (int)meters[i].interval_min, 1,
                        meters[i].interval_min - 2);
    }
    assert_true(slot_unevenness(p) < 1.1); /* two minutes stay empty */
    slot_release(p, &meters[0]);
    meters[0].slot = 14;
    assert_false(slot_book(p, &meters[0]));
    meters[0].slot = 60;
    assert_false(slot_book(p, &meters[0]));
    slot_plan_free(p);
    assert_null(slot_plan_new(1441, 1));
    assert_null(slot_plan_new(60, 0));
}

/* Clocks that are off by up to a minute, half of them by nearly one. */
static struct slot_clock clock_of(uint32_t i)
{
    int64_t off_s = i % 2 ? 55 : (int64_t)(i * 7919 % 111) - 55;

    return (struct slot_clock){.at_us = 0,
                               .offset_us = off_s * US_PER_S,
                               .drift_ppm = (double)(i % 200) - 100,
                               .accepted_us = 60 * US_PER_S,
                               .beyond_us = 1800 * US_PER_S};
}

static void the_load_is_even_where_meters_are_heard_not_where_they_are_told(
    void **state)
{
    struct slot_plan *told = slot_plan_new(SLOTS, 1);
    struct slot_plan *heard = slot_plan_new(SLOTS, 1);
    uint32_t calls[1440] = {0}, most = 0;

    (void)state;
    fill();
    for (uint32_t i = 0; i < METERS; i++) {
        struct slot_clock c = clock_of(i);
        meters[i].weight = 1;
        slot_assign(told, &meters[i]);
        slot_look(&meters[i], &c, 0);
        slot_book(heard, &meters[i]);
    }
    assert_true(slot_unevenness(told) < 1.05);
    assert_true(slot_unevenness(heard) > 1.1);
    size_t moved = slot_rebalance(heard, meters, METERS, slot_most, 7);
    assert_true(slot_unevenness(heard) < 1.07);
    assert_in_range(moved, 1, METERS / 10);
    slot_forecast(meters, METERS, SLOTS, 0, calls);
    for (int i = 0; i < 1440; i++)
        most = calls[i] > most ? calls[i] : most;
    assert_in_range(most, METERS / SLOTS, METERS * 11 / SLOTS / 10);
    slot_plan_free(told);
    slot_plan_free(heard);
}

static void a_look_ahead_sees_drift_and_the_correction_to_come(void **state)
{
    struct slot_meter m = {.key = 1};
    struct slot_clock c = {.at_us = 0,
                           .offset_us = 50 * US_PER_S,
                           .drift_ppm = 200, /* 0.72 s an hour */
                           .accepted_us = 60 * US_PER_S,
                           .beyond_us = 1800 * US_PER_S};

    (void)state;
    slot_look(&m, &c, 0);
    assert_int_equal(m.early_s[0], 52); /* 3 h: 50 + 2.16 */
    assert_int_equal(m.early_s[1], 56);
    assert_int_equal(m.early_s[2], 0); /* 15 h: corrected at 13.9 h */
    assert_int_equal(m.early_s[3], 5);
    c.drift_ppm = -200;
    c.offset_us = 0;
    slot_look(&m, &c, 24 * 3600 * US_PER_S);
    assert_int_equal(m.early_s[0], -19);
    c.drift_ppm = 0;
    c.offset_us = 3600 * US_PER_S; /* a person has to say yes first */
    slot_look(&m, &c, 0);
    assert_int_equal(m.early_s[3], 3600);
    c.at_us = TIME_NONE;
    slot_look(&m, &c, 0);
    assert_int_equal(m.early_s[0], 0);
}

static void who_cannot_be_told_stays_and_the_others_make_room(void **state)
{
    struct slot_plan *p = slot_plan_new(SLOTS, 1);
    uint32_t calls[1440] = {0};

    (void)state;
    fill();
    for (uint32_t i = 0; i < 6000; i++) {
        meters[i].weight = 1;
        meters[i].fixed = i < 100;
        meters[i].slot = i < 100 ? 13 : (int32_t)(i % SLOTS);
        assert_true(slot_book(p, &meters[i]));
    }
    slot_rebalance(p, meters, 6000, slot_most, 1);
    assert_true(slot_unevenness(p) < slot_most + 0.02);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(meters[i].slot, 13);
    /* One that reports every six hours counts a sixth, and in its hours. */
    meters[0].period_min = 360;
    meters[0].slot = 100;
    slot_forecast(meters, 1, SLOTS, 0, calls);
    assert_int_equal(calls[100] + calls[460] + calls[820] + calls[1180], 4);
    slot_plan_free(p);
}

static void a_small_fleet_is_left_alone(void **state)
{
    struct slot_plan *p = slot_plan_new(SLOTS, 1);

    (void)state;
    fill();
    for (uint32_t i = 0; i < 100; i++) {
        meters[i].weight = 1;
        meters[i].slot = (int32_t)(i % 15);
        slot_book(p, &meters[i]);
    }
    assert_true(slot_unevenness(p) > 3);
    assert_int_equal(slot_rebalance(p, meters, 100, slot_most, 1), 0);
    slot_plan_free(p);
}

static void a_slot_is_told_until_it_is_kept(void **state)
{
    static const int64_t hour = 3600 * US_PER_S;
    struct slot_hand h = {.at_s = 600,
                          .window_min = 60,
                          .told_us = TIME_NONE,
                          .kept_us = TIME_NONE};
    struct clock_error e = {.known = true, .trusted = true};
    struct clock_error fast = {
        .known = true, .trusted = true, .offset_us = 45 * US_PER_S};
    int64_t in = 1000 * hour + 660 * US_PER_S, out = 1000 * hour;

    (void)state;
    assert_int_equal(slot_follow(&h, &e, in), SLOT_TELL);
    h.told_us = out - hour;
    h.told = 1;
    assert_int_equal(slot_follow(&h, &e, in), SLOT_KEPT);
    assert_int_equal(slot_follow(&h, &fast, in), SLOT_LEAVE); /* not yet */
    assert_int_equal(slot_follow(&h, &fast, in - 45 * US_PER_S), SLOT_KEPT);
    assert_int_equal(slot_follow(&h, &e, out), SLOT_LEAVE);
    assert_int_equal(slot_follow(&h, &e, out + 3 * hour), SLOT_TELL);
    h.told = 2; /* less and less often, once a week at least */
    assert_int_equal(slot_follow(&h, &e, out + 3 * hour), SLOT_LEAVE);
    assert_int_equal(slot_follow(&h, &e, out + 6 * hour), SLOT_TELL);
    h.told = 30;
    assert_int_equal(slot_follow(&h, &e, out + 166 * hour), SLOT_LEAVE);
    assert_int_equal(slot_follow(&h, &e, out + 169 * hour), SLOT_TELL);
    h.told = 1;
    h.kept_us = in; /* known to keep it: a stray call says nothing */
    assert_int_equal(slot_follow(&h, &e, in + 20 * hour), SLOT_LEAVE);
    assert_int_equal(slot_follow(&h, &e, out + 20 * hour), SLOT_LEAVE);
    assert_int_equal(slot_follow(&h, &e, in + 25 * hour), SLOT_KEPT);
    assert_int_equal(slot_follow(&h, &e, out + 29 * hour), SLOT_TELL);
    e.trusted = false;
    assert_int_equal(slot_follow(&h, &e, out + 99 * hour), SLOT_LEAVE);
    h.window_min = 0;
    assert_int_equal(slot_follow(&h, &fast, out + 99 * hour), SLOT_LEAVE);
}

static void a_period_is_seen_in_the_minutes_that_were_heard(void **state)
{
    const uint32_t once[] = {29474017};
    const uint32_t hourly[] = {17, 77, 137, 198, 257};
    const uint32_t stray[] = {17, 77, 90, 137, 197, 257};
    const uint32_t lossy[] = {17, 77, 197, 257};
    const uint32_t daily[] = {17, 1458};
    const uint32_t rarely[] = {17, 2898};

    (void)state;
    assert_int_equal(slot_period_min(once, 1), 1440);
    assert_int_equal(slot_period_min(hourly, 5), 60);
    assert_int_equal(slot_period_min(stray, 6), 60);
    assert_int_equal(slot_period_min(lossy, 4), 60);
    assert_int_equal(slot_period_min(daily, 2), 1440);
    assert_int_equal(slot_period_min(rarely, 2), 1440);
}

/* Figures of the usual air time calculators, EU868, 125 kHz. */
static void air_time_is_that_of_the_chip(void **state)
{
    (void)state;
    assert_int_equal(lora_air_ms(7, 51), 118);
    assert_int_equal(lora_air_ms(12, 51), 2793);
    assert_int_equal(lora_air_ms(9, 10), 206);
    assert_in_range(slot_second(77), 5, 54);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_meters_load_every_minute_evenly),
        cmocka_unit_test(a_meter_keeps_its_slot_when_others_come),
        cmocka_unit_test(an_uneven_load_is_evened_by_few_moves),
        cmocka_unit_test(no_meter_reports_next_to_an_edge_of_its_interval),
        cmocka_unit_test(
            the_load_is_even_where_meters_are_heard_not_where_they_are_told),
        cmocka_unit_test(a_look_ahead_sees_drift_and_the_correction_to_come),
        cmocka_unit_test(who_cannot_be_told_stays_and_the_others_make_room),
        cmocka_unit_test(a_small_fleet_is_left_alone),
        cmocka_unit_test(a_slot_is_told_until_it_is_kept),
        cmocka_unit_test(a_period_is_seen_in_the_minutes_that_were_heard),
        cmocka_unit_test(air_time_is_that_of_the_chip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
