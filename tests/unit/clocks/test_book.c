/* Which samples need not be looked at. */
#include "server/clocks/book.h"

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
    assert_in_range(counted(b), 100000, 150000);
    counted(b);
    counted(b);
    assert_int_equal(counted(b), MANY);
    book_count(b, noon, &c);
    assert_int_equal(c.offset_us_worst, 20 * US_PER_S);
    assert_non_null(book_get(b, 1 + (MANY - 1) % 3, MANY - 1));
    assert_null(book_get(b, 1, 1));
    book_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_calm_clock_that_goes_on_is_old_news_for_a_minute),
        cmocka_unit_test(a_jump_is_news_at_once),
        cmocka_unit_test(a_clock_that_something_is_done_about_is_news),
        cmocka_unit_test(all_clocks_are_counted_the_many_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
