/*
 * test_err.c - every code has a name and a sentence.
 */
#include "server/base/err.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void zero_and_counts_are_ok(void **state)
{
    (void)state;
    assert_string_equal(err_name(0), "ok");
    assert_string_equal(err_name(17), "ok");
    assert_string_equal(err_text(0), "no error");
}

static void our_codes_have_their_own_names(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_SHORT), "ERR_SHORT");
    assert_string_equal(err_name(ERR_UNSUPPORTED), "ERR_UNSUPPORTED");
    for (int e = ERR_SHORT; e >= ERR_UNSUPPORTED; e--)
        assert_memory_equal(err_name(e), "ERR_", 4);
}

static void libuv_codes_print_as_libuv_names_them(void **state)
{
    (void)state;
    assert_string_equal(err_name(-ENOSPC), "ENOSPC");
    assert_string_equal(err_name(-EAGAIN), "EAGAIN");
    assert_string_equal(err_name(-4095), "EOF");
    assert_string_equal(err_name(-3008), "EAI_NONAME");
    assert_string_equal(err_text(-ENOSPC), "No space left on device");
}

static void an_unknown_code_is_never_null(void **state)
{
    (void)state;
    assert_string_equal(err_name(-4000), "unknown error code");
    assert_string_equal(err_text(-9999), "unknown error code");
    assert_string_equal(err_name(INT_MIN), "unknown error code");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_and_counts_are_ok),
        cmocka_unit_test(our_codes_have_their_own_names),
        cmocka_unit_test(libuv_codes_print_as_libuv_names_them),
        cmocka_unit_test(an_unknown_code_is_never_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
