/* Records between headend and codec-host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/script/wire.h"
#include "server/base/err.h"

static const struct wire_request run = {.op = WIRE_RUN,
                                        .key = {{1, 2, 3}},
                                        .function = SCRIPT_DECODE_DOWNLINK,
                                        .normalize = true,
                                        .port = 85,
                                        .time_ms = -5,
                                        .time = {"now", 3},
                                        .input = {"\x00\xff", 2},
                                        .vars = {"{}", 2}};

static void a_question_arrives_as_it_was_asked(void **state)
{
    struct buf b = {0};
    struct wire_request got;

    (void)state;
    wire_put_request(&b, &run);
    struct str body = {(char *)b.p + 4, b.n - 4};
    assert_int_equal(wire_get_request(body, &got), 0);
    assert_memory_equal(&got.key, &run.key, sizeof got.key);
    assert_int_equal(got.function, run.function);
    assert_true(got.normalize);
    assert_int_equal(got.port, 85);
    assert_int_equal(got.time_ms, -5);
    assert_true(str_eq(got.input, run.input));
    assert_true(str_eq(got.vars, run.vars));
    buf_done(&b);
}

static void a_cut_question_is_refused(void **state)
{
    struct buf b = {0};
    struct wire_request got;

    (void)state;
    wire_put_request(&b, &run);
    for (size_t n = 0; n < b.n - 4; n++)
        assert_string_equal(
            err_name(wire_get_request((struct str){(char *)b.p + 4, n}, &got)),
            "ERR_SHORT");
    buf_done(&b);
}

static void an_answer_of_an_unknown_kind_is_refused(void **state)
{
    struct wire_answer got;

    (void)state;
    assert_string_equal(err_name(wire_get_answer(STR(""), &got)), "ERR_SHORT");
    assert_string_equal(err_name(wire_get_answer(STR("\xff\0\0\0\0"), &got)),
                        "ERR_FORMAT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_arrives_as_it_was_asked),
        cmocka_unit_test(a_cut_question_is_refused),
        cmocka_unit_test(an_answer_of_an_unknown_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
