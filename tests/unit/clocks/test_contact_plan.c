/* What of a tenant's plan is to be written. */
#include "server/base/clock.h"
#include "server/base/json.h"
#include "server/clocks/contact_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { METERS = 2500, WINDOW = 60 };

static const int64_t now = 1768478400 * US_PER_S;
static int32_t slots[METERS + 1]; /* by meter; what was written last */
static struct arena *arena;

static int begin(void **state)
{
    (void)state;
    arena = arena_new(0);
    for (int i = 0; i <= METERS; i++)
        slots[i] = SLOT_NONE;
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* Takes one slice as the database would; how many rows it has. */
static uint32_t take(struct contact_plan *p, uint32_t most)
{
    struct buf json = {0};
    uint32_t n = contact_plan_slice(p, most, &json);
    struct json_error error;
    struct json *rows;
    int64_t meter = 0, slot = 0;

    arena_reset(arena);
    assert_int_equal(json_parse(arena, buf_view(&json), (struct json_limits){0},
                                &rows, &error),
                     0);
    assert_int_equal(rows->count, n);
    json_each (r, rows) {
        assert_int_equal(r->count, 6);
        assert_true(json_int(json_at(r, 0), &meter));
        assert_true(json_int(json_at(r, 1), &slot));
        assert_in_range(meter, 1, METERS);
        slots[meter] = (int32_t)slot;
    }
    buf_done(&json);
    return n;
}

static void add(struct contact_plan *p, int32_t first, int32_t last)
{
    for (int32_t i = first; i <= last; i++)
        contact_plan_add(p,
                         &(struct contact_row){.meter_id = i,
                                               .slot = slots[i],
                                               .weight = 100,
                                               .tellable = true,
                                               .clock = {.at_us = TIME_NONE}},
                         now);
}

static void every_meter_is_in_one_slice(void **state)
{
    struct contact_plan *p = contact_plan_new(1, WINDOW);

    (void)state;
    add(p, 1, METERS);
    contact_plan_make(p, now);
    assert_int_equal(take(p, 1000), 1000);
    assert_int_equal(take(p, 1000), 1000);
    assert_int_equal(take(p, 1000), 500);
    assert_int_equal(take(p, 1000), 0);
    for (int i = 1; i <= METERS; i++)
        assert_in_range(slots[i], 0, WINDOW - 1);
    contact_plan_free(p);
}

static void only_what_is_new_or_does_not_fit_is_written(void **state)
{
    struct contact_plan *p = contact_plan_new(1, WINDOW);
    uint32_t beyond = 0;

    (void)state;
    add(p, 1, METERS - 1);
    contact_plan_make(p, now);
    while (take(p, 1000) > 0)
        ;
    contact_plan_free(p);
    p = contact_plan_new(1, WINDOW);
    add(p, 1, METERS);
    contact_plan_make(p, now);
    assert_int_equal(take(p, 1000), 1);
    assert_int_not_equal(slots[METERS], SLOT_NONE);
    contact_plan_free(p);

    for (int i = 1; i <= METERS; i++)
        beyond += slots[i] >= WINDOW / 2;
    p = contact_plan_new(1, WINDOW / 2);
    add(p, 1, METERS);
    contact_plan_make(p, now);
    assert_in_range(take(p, METERS), beyond, METERS);
    for (int i = 1; i <= METERS; i++)
        assert_in_range(slots[i], 0, WINDOW / 2 - 1);
    contact_plan_free(p);
}

static void who_cannot_be_told_is_counted_where_it_was_heard(void **state)
{
    struct contact_plan *p = contact_plan_new(1, WINDOW);
    struct contact_row r = {
        .meter_id = 1,
        .slot = SLOT_NONE,
        .weight = 100,
        .heard = str_of("{29473937,29473997,29474057}"), /* an hour apart */
        .clock = {.at_us = TIME_NONE}};
    struct buf calls = {0};
    int n = 0, heard = 0;

    (void)state;
    contact_plan_add(p, &r, now);
    contact_plan_make(p, now);
    assert_int_equal(take(p, 10), 1);
    assert_int_equal(slots[1], 29474057 % 60);
    contact_plan_calls(p, &calls);
    buf_u8(&calls, 0);
    for (const char *c = (char *)calls.p; *c; c++) {
        n += *c == ',';
        heard += *c == '1';
    }
    assert_int_equal(n, 1439);
    assert_int_equal(heard, 24);
    buf_done(&calls);
    contact_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_meter_is_in_one_slice, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            only_what_is_new_or_does_not_fit_is_written, begin, end),
        cmocka_unit_test_setup_teardown(
            who_cannot_be_told_is_counted_where_it_was_heard, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
