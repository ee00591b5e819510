/*
 * test_loop.c - work leaves the loop thread and comes back to it.
 */
#include "server/loop/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uv_loop_t loop;

static int setup(void **state)
{
    (void)state;
    return uv_loop_init(&loop);
}

/* Fails if a handle was left open. */
static int teardown(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

struct errand {
    pthread_t worked_on, finished_on;
    int result, finished;
};

static int errand_work(void *arg)
{
    struct errand *e = arg;

    e->worked_on = pthread_self();
    return -42;
}

static void errand_done(void *arg, int result)
{
    struct errand *e = arg;

    e->finished_on = pthread_self();
    e->result = result;
    e->finished++;
}

static void offloaded_work_runs_elsewhere_and_ends_here(void **state)
{
    struct errand e = {0};

    (void)state;
    offload(&loop, errand_work, errand_done, &e);
    assert_int_equal(e.finished, 0); /* not inside the call */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(e.finished, 1);
    assert_int_equal(e.result, -42);
    assert_false(pthread_equal(e.worked_on, pthread_self()));
    assert_true(pthread_equal(e.finished_on, pthread_self()));
}

static void again(void *arg, int result)
{
    struct errand *e = arg;

    errand_done(e, result);
    if (e->finished < 100)
        offload(&loop, errand_work, again, e);
}

static void finished_work_may_offload_more(void **state)
{
    struct errand e = {0};

    (void)state;
    offload(&loop, errand_work, again, &e);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(e.finished, 100);
}

struct bell {
    struct ticker *ticker;
    int rung, most;
    bool free_it;
};

static void ring(void *arg)
{
    struct bell *b = arg;

    if (++b->rung < b->most)
        return;
    ticker_stop(b->ticker);
    if (b->free_it)
        ticker_free(b->ticker);
}

static void a_ticker_repeats_until_it_is_stopped(void **state)
{
    struct bell b = {.most = 3};

    (void)state;
    b.ticker = ticker_new(&loop, ring, &b);
    assert_false(ticker_active(b.ticker));
    ticker_start(b.ticker, 1, 1);
    assert_true(ticker_active(b.ticker));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(b.rung, 3);
    assert_false(ticker_active(b.ticker));
    ticker_free(b.ticker);
}

static void a_single_shot_rings_once(void **state)
{
    struct bell b = {.most = 100};

    (void)state;
    b.ticker = ticker_new(&loop, ring, &b);
    ticker_start(b.ticker, 1, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(b.rung, 1);
    ticker_start(b.ticker, 0, 0); /* and may be started again */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(b.rung, 2);
    ticker_free(b.ticker);
}

static void a_ticker_may_be_freed_while_it_rings(void **state)
{
    struct bell b = {.most = 1, .free_it = true};

    (void)state;
    b.ticker = ticker_new(&loop, ring, &b);
    ticker_start(b.ticker, 0, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(b.rung, 1);
}

static void a_freed_ticker_stays_silent(void **state)
{
    struct bell b = {.most = 1};

    (void)state;
    b.ticker = ticker_new(&loop, ring, &b);
    ticker_start(b.ticker, 0, 1);
    ticker_free(b.ticker);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(b.rung, 0);
    ticker_free(NULL);
}

static void pauses_double_up_to_the_most_and_start_over(void **state)
{
    struct backoff b = {.first_ms = 100, .most_ms = 1000};
    static const uint32_t top[] = {100, 200, 400, 800, 1000, 1000};

    (void)state;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof top / sizeof *top; i++) {
            uint32_t pause = backoff_pause_ms(&b);

            assert_in_range(pause, top[i] / 2, top[i]);
        }
        backoff_reset(&b);
    }
}

static void extreme_pauses_do_not_overflow(void **state)
{
    struct backoff b = {.first_ms = UINT32_MAX, .most_ms = 1};
    struct backoff none = {0};

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_in_range(backoff_pause_ms(&b), UINT32_MAX / 2, UINT32_MAX);
    assert_int_equal(backoff_pause_ms(&none), 0);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(offloaded_work_runs_elsewhere_and_ends_here),
        CLAIM(finished_work_may_offload_more),
        CLAIM(a_ticker_repeats_until_it_is_stopped),
        CLAIM(a_single_shot_rings_once),
        CLAIM(a_ticker_may_be_freed_while_it_rings),
        CLAIM(a_freed_ticker_stays_silent),
        cmocka_unit_test(pauses_double_up_to_the_most_and_start_over),
        cmocka_unit_test(extreme_pauses_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
