/* Where a result differs from what a vector expects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/script/vectors.h"

static void differs(const char *expected, const char *got, const char *where)
{
    struct arena *a = arena_new(1 << 20);
    struct str d = vectors_difference(a, str_of(expected), str_of(got));

    assert_string_equal(d.n ? d.p : "", where);
    arena_free(a);
}

static void equal_by_value_whatever_the_order(void **state)
{
    (void)state;
    differs("{\"a\":1.0,\"b\":[true,null]}", "{\"b\":[true,null],\"a\":1}", "");
    differs("1e400", "1e400", "");
    differs("", "", "");
}

static void the_first_difference_is_named_by_its_path(void **state)
{
    (void)state;
    differs("{\"a\":{\"b\":[1,2]}}", "{\"a\":{\"b\":[1,3]}}",
            "a.b.1: 2 expected, 3 came");
    differs("{\"a\":1}", "{}", "a: 1 expected, nothing came");
    differs("{}", "{\"a\":1}", "a: not expected");
    differs("{\"a\":[1]}", "{\"a\":[1,2]}", "a.(more): not expected");
    differs("{\"a\":\"1\"}", "{\"a\":1}", "a: \"1\" expected, 1 came");
    differs("{\"a\":null}", "{\"a\":{}}",
            "a: null expected, an object of 0 came");
    differs("1", "", "one is absent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_by_value_whatever_the_order),
        cmocka_unit_test(the_first_difference_is_named_by_its_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
