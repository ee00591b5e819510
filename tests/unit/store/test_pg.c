/*
 * The pool on its way down: nobody is left waiting, and who comes late is
 * refused, not served from freed memory.
 */
#include "server/store/pg.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static int closed, ended, outcome;

static void on_closed(void *arg)
{
    (void)arg;
    closed++;
}

static void on_ended(void *arg, const struct pg_outcome *o)
{
    (void)arg;
    ended++;
    outcome = o->err;
}

static const struct pg_call question = {
    .tenant_id = PG_NO_TENANT, .sql = "SELECT 1", .done = on_ended};

static void a_closed_pool_ends_what_waits_and_refuses_what_comes(void **state)
{
    const struct pg_options o = {.url = "host=/nonexistent",
                                 .connections = 2,
                                 .connect_s = 2,
                                 .queue = 10};
    struct pg_pool *p;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    assert_int_equal(pg_pool_new(&loop, &o, &p), 0);
    assert_int_equal(pg_call(p, &question), 0);
    pg_pool_close(p, on_closed, NULL);
    assert_int_equal(ended, 1);
    assert_int_equal(outcome, ERR_AWAY);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, 1);
    assert_false(pg_pool_up(p));
    assert_int_equal(pg_call(p, &question), ERR_FULL);
    assert_int_equal(ended, 1);
    pg_pool_free(p);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_pool_ends_what_waits_and_refuses_what_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
