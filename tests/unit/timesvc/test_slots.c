/* Contact slots: even, stable, and counted ahead. */
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
    slot_forecast(meters, METERS, 3600, calls);
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
    size_t moved = slot_rebalance(p, meters, 6200, 1.2);
    assert_true(slot_unevenness(p) <= 1.2);
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
        cmocka_unit_test(air_time_is_that_of_the_chip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
