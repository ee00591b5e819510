/*
 * test_progress.c - what is said of a backlog, with a journal and a pipeline
 * that stand where the test says.
 */
#include "server/pipeline/progress.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int64_t now_us, cursor, end;

static int64_t fake_now(void *arg)
{
    return *(int64_t *)arg;
}
static const struct clock fake = {fake_now, fake_now, &now_us};

void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret)
{
    (void)p;
    *ret = (struct pipeline_stats){.cursor = cursor};
}

int64_t journal_end(const struct journal *j)
{
    (void)j;
    return end;
}

const struct clock *journal_clock(const struct journal *j)
{
    (void)j;
    return &fake;
}

static struct progress *g;
static struct ledger *books;
static uv_loop_t loop;

static int setup(void **state)
{
    (void)state;
    now_us = 1;
    cursor = end = 0;
    books = ledger_new();
    if (uv_loop_init(&loop) < 0)
        return -1;
    g = progress_new(&loop, NULL, NULL, books);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    progress_free(g);
    ledger_free(books);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* Three seconds later: so much more is stored, so much has come in. */
static struct progress_stats look(int64_t stored, int64_t arrived)
{
    struct progress_stats s;

    now_us += 3 * US_PER_S;
    cursor += stored;
    end += arrived;
    progress_look(g);
    progress_stats(g, &s);
    return s;
}

static void a_backlog_has_an_estimate_that_counts_what_arrives(void **state)
{
    (void)state;
    end = 300000000;
    assert_int_equal(look(0, 0).left_s, 0); /* may be but a burst */
    struct progress_stats s = look(30000000, 3000000);
    assert_int_equal(s.bytes_s, 10000000);
    assert_int_equal(s.arriving_s, 1000000);
    assert_int_equal(s.left_s, 30); /* 273 MB at 9 MB/s */
    s = look(60000000, 3000000);    /* one large batch: the mean counts */
    assert_int_equal(s.bytes_s, 20000000);
    assert_int_equal(s.left_s, 15); /* 216 MB at 14 MB/s */
    assert_int_equal(look(end - cursor - 1000, 0).left_s, 0);
    assert_int_equal(look(1000, 0).left_s, 0);
}

static void what_does_not_shrink_has_none(void **state)
{
    (void)state;
    end = 50000000;
    look(0, 0);
    assert_int_equal(look(0, 1000).left_s, -1);
    assert_int_equal(look(1000, 2000).left_s, -1);
}

static void an_outage_begins_it_anew(void **state)
{
    (void)state;
    end = 300000000;
    look(0, 0);
    look(30000000, 0);
    int64_t reached = cursor;
    cursor = -1;
    assert_int_equal(look(0, 0).left_s, -1);
    cursor = reached;
    now_us += 3600 * US_PER_S;
    assert_int_equal(look(0, 0).left_s, 0);
    assert_int_equal(look(30000000, 0).left_s, 24); /* not hours */
}

static void a_load_that_is_kept_up_with_is_none(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(look(i ? 10000000 : 0, 10000000).left_s, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backlog_has_an_estimate_that_counts_what_arrives),
        TEST(what_does_not_shrink_has_none),
        TEST(an_outage_begins_it_anew),
        TEST(a_load_that_is_kept_up_with_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
