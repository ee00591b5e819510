/*
 * test_framer.c - finding the ends of objects in a stream, however it is cut.
 */
#include "server/base/err.h"
#include "server/base/json.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char stream[] =
    "{\"a\":1}\r\n{\"b\":[{}, \"}\\\"{\"]}{\"c\":\"\\\\\"}"
    "\n  {\"d\":{}} ";
static const char *const objects[] = {
    "{\"a\":1}",
    "\r\n{\"b\":[{}, \"}\\\"{\"]}",
    "{\"c\":\"\\\\\"}",
    "\n  {\"d\":{}}",
};

enum { OBJECTS = sizeof objects / sizeof *objects };

/* Feeds the stream `step` bytes at a time. */
static void check_cut(size_t step)
{
    struct json_framer f = {.max_depth = 8};
    size_t start = 0, end = 0;
    int found = 0;

    while (end < sizeof stream - 1) {
        int r;

        end = end + step < sizeof stream - 1 ? end + step : sizeof stream - 1;
        while ((r = json_framer_scan(&f, stream + start, end - start)) > 0) {
            struct str got = {stream + start, (size_t)r};

            assert_true(found < OBJECTS);
            assert_true(str_is(got, objects[found]));
            found++;
            start += (size_t)r;
            json_framer_next(&f);
        }
        assert_int_equal(r, 0);
    }
    assert_int_equal(found, OBJECTS);
}

static void objects_are_found_however_the_stream_is_cut(void **state)
{
    (void)state;
    for (size_t step = 1; step < sizeof stream; step++)
        check_cut(step);
}

static void scan(const char *text, int want)
{
    struct json_framer f = {.max_depth = 3};

    assert_string_equal(err_name(json_framer_scan(&f, text, strlen(text))),
                        err_name(want));
}

static void only_an_object_may_begin(void **state)
{
    (void)state;
    scan("  \t\r\n", 0);
    scan("[1]", ERR_FORMAT);
    scan(" x{}", ERR_FORMAT);
    scan("\"{}\"", ERR_FORMAT);
    scan("}", ERR_FORMAT);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    scan("{\"a\":[[1]]}", 11);
    scan("{\"a\":[[[", ERR_FULL);
}

static void brackets_inside_strings_do_not_count(void **state)
{
    (void)state;
    scan("{\"[[[[[[\":\"\\\"}\"", 0);
    scan("{\"[[[[[[\":\"\\\"}\"}", 16);
}

/* What a crossed bracket ends is not JSON; that is the parser's to say. */
static void a_crossed_bracket_ends_an_object(void **state)
{
    (void)state;
    scan("{]", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_found_however_the_stream_is_cut),
        cmocka_unit_test(only_an_object_may_begin),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(brackets_inside_strings_do_not_count),
        cmocka_unit_test(a_crossed_bracket_ends_an_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
