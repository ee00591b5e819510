/* Which samples need not be looked at. */
#include "server/clocks/book.h"
#include "server/clocks/model_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const int64_t noon = 1768478400 * US_PER_S;

static struct book_entry entry(bool calm)
{
    struct book_entry e = {.calm = calm};

    clock_init(&e.model);
    clock_take(&e.model,
               &(struct clock_sample){.heard_us = noon,
                                      .meter_us = noon + 20 * US_PER_S},
               NULL);
    return e;
}

static bool old_news(const struct book_entry *e, int after_s, int off_s)
{
    int64_t heard = noon + after_s * US_PER_S;

    return book_old_news(e, heard, heard + off_s * US_PER_S);
}

static void a_calm_clock_that_goes_on_is_old_news_for_a_minute(void **state)
{
    struct book_entry e = entry(true);

    (void)state;
    assert_true(old_news(&e, 10, 20));
    assert_true(old_news(&e, 59, 22));
    assert_false(old_news(&e, 60, 20));
}

static void a_jump_is_news_at_once(void **state)
{
    struct book_entry e = entry(true);

    (void)state;
    assert_false(old_news(&e, 10, 24));
    assert_false(old_news(&e, 10, 16));
}

static void a_clock_that_something_is_done_about_is_news(void **state)
{
    struct book_entry e = entry(false);

    (void)state;
    assert_false(old_news(&e, 10, 20));
    assert_false(old_news(NULL, 10, 20));
    e.calm = true;
    assert_false(book_old_news(&e, noon, TIME_NONE));
}

static int64_t counted(struct clock_book *b)
{
    struct book_counts c;
    int64_t n = 0;

    book_count(b, noon, &c);
    for (int i = 0; i <= CLOCK_UNTRUSTED; i++)
        n += c.by_state[i];
    return n;
}

static void an_entry_is_given_back_as_it_was_put(void **state)
{
    struct clock_book *b = book_new();
    struct book_entry e = entry(true), seen = {0};
    struct buf put = {0}, got = {0};

    (void)state;
    e.accepted_us = 1;
    e.interval_us = 2;
    e.slot_look_us = 3;
    for (int i = 1; i <= 30; i++) { /* more than a model keeps */
        book_put(b, 1, 7, &e);
        assert_true(book_get(b, 1, 7, &seen));
        buf_clear(&put);
        buf_clear(&got);
        model_write(&e.model, &put);
        model_write(&seen.model, &got);
        assert_int_equal(got.n, put.n);
        assert_memory_equal(got.p, put.p, put.n);
        clock_take(&e.model,
                   &(struct clock_sample){
                       .heard_us = noon + i * 3600 * US_PER_S,
                       .meter_us = noon + (i * 3600 + 20) * US_PER_S + i * 10},
                   NULL);
    }
    assert_true(seen.calm);
    assert_int_equal(seen.accepted_us, 1);
    assert_int_equal(seen.interval_us, 2);
    assert_int_equal(seen.slot_look_us, 3);
    assert_int_equal(counted(b), 1);
    buf_done(&put);
    buf_done(&got);
    book_free(b);
}

static void all_clocks_are_counted_the_many_in_turns(void **state)
{
    enum { FEW = 1000, MANY = 250000 };
    struct book_entry e = entry(true);
    struct clock_book *b = book_new();
    struct book_counts c;

    (void)state;
    for (int i = 0; i < FEW; i++)
        book_put(b, 1 + i % 3, i, &e);
    assert_int_equal(counted(b), FEW);
    for (int i = 0; i < MANY; i++)
        book_put(b, 1 + i % 3, i, &e);
    assert_in_range(counted(b), 40000, 60000);
    for (int i = 0; i < 6; i++)
        counted(b);
    assert_int_equal(counted(b), MANY);
    book_count(b, noon, &c);
    assert_int_equal(c.offset_us_worst, 20 * US_PER_S);
    assert_true(book_get(b, 1 + (MANY - 1) % 3, MANY - 1, &e));
    assert_false(book_get(b, 1, 1, &e));
    book_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_calm_clock_that_goes_on_is_old_news_for_a_minute),
        cmocka_unit_test(a_jump_is_news_at_once),
        cmocka_unit_test(a_clock_that_something_is_done_about_is_news),
        cmocka_unit_test(an_entry_is_given_back_as_it_was_put),
        cmocka_unit_test(all_clocks_are_counted_the_many_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
