/*
 * test_json.c - the bounded reader. What it accepts is what RFC 8259 says,
 * less what json.h refuses on purpose.
 */
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/json.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct arena *arena;
static struct json *root;
static struct json_error error;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(256 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int parse(struct str text)
{
    arena_reset(arena);
    root = NULL;
    error = (struct json_error){0};
    return json_parse(arena, text, (struct json_limits){0}, &root, &error);
}

static void values_of_every_type_are_read(void **state)
{
    (void)state;
    assert_int_equal(parse(STR(" {\"n\": 4706.0000, \"s\":\"x\", \"t\":true,\t"
                               "\"f\":false,\"z\":null, \"a\":[1,[],{}] } \n")),
                     0);
    assert_int_equal(root->type, JSON_OBJECT);
    assert_int_equal(root->count, 6);
    assert_true(str_is(json_get(root, "n")->text, "4706.0000"));
    assert_true(str_is(json_str(json_get(root, "s")), "x"));
    assert_true(json_bool(json_get(root, "t"), false));
    assert_false(json_bool(json_get(root, "f"), true));
    assert_null(json_get(root, "z"));
    assert_int_equal(json_get(root, "a")->count, 3);
    assert_int_equal(json_at(json_get(root, "a"), 2)->type, JSON_OBJECT);
}

static void paths_chain_through_what_is_missing(void **state)
{
    int64_t n = 7;

    (void)state;
    assert_int_equal(parse(STR("{\"a\":{\"b\":5}}")), 0);
    assert_true(json_int(json_get(json_get(root, "a"), "b"), &n));
    assert_int_equal(n, 5);
    assert_null(json_get(json_get(root, "x"), "b"));
    assert_null(json_get(json_get(json_get(root, "a"), "b"), "c"));
    assert_null(json_at(root, 0));
    assert_null(json_at(NULL, 0));
    assert_null(json_str(NULL).p);
    assert_true(json_bool(NULL, true));
    assert_false(json_int(NULL, &n));
}

static void only_integral_numbers_are_integers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-12", true, -12},
        {"9223372036854775807", true, INT64_MAX},
        {"1e3", true, 1000},
        {"5.0", true, 5},
        {"5.5", false, 0},
        {"9223372036854775808", false, 0},
        {"1e99", false, 0},
        {"\"5\"", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t v = 0;

        assert_int_equal(parse(str_of(cases[i].text)), 0);
        assert_int_equal(json_int(root, &v), cases[i].ok);
        assert_int_equal(v, cases[i].value);
    }
}

static void check_string(struct str in, const char *want)
{
    assert_int_equal(parse(in), 0);
    assert_true(str_is(json_str(root), want));
}

static void escapes_become_utf8(void **state)
{
    (void)state;
    check_string(STR("\"\""), "");
    check_string(STR("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\""), "a\"\\/\b\f\n\r\tz");
    check_string(STR("\"\\u0041\\u00e9\\u20AC\""), "A\xc3\xa9\xe2\x82\xac");
    check_string(STR("\"\\ud83d\\ude00!\""), "\xf0\x9f\x98\x80!");
    check_string(STR("\"0123456789abcdef\\n0123456789abcdef\""),
                 "0123456789abcdef\n0123456789abcdef");
    assert_int_equal(parse(STR("{\"a\\u0062\":1}")), 0);
    assert_non_null(json_get(root, "ab"));
}

static void strings_without_escapes_are_not_copied(void **state)
{
    struct str text = STR("\"as it stands\"");

    (void)state;
    assert_int_equal(parse(text), 0);
    assert_ptr_equal(root->text.p, text.p + 1);
}

static void what_ends_early_is_short(void **state)
{
    static const char *const cases[] = {
        "",   "  ",  "{",        "[",         "{\"a\"", "{\"a\":",
        "[1", "[1,", "\"abc",    "\"abc\\",   "tru",    "-",
        "1.", "1e",  "{\"a\":1", "{\"a\":1,", "1e+",    "[[]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(str_of(cases[i])) != ERR_SHORT)
            fail_msg("%s: %s", cases[i], error.text);
    assert_string_equal(error.text, "the text ends early");
    assert_int_equal(error.offset, 3);
    assert_int_equal(parse((struct str){NULL, 0}), ERR_SHORT);
}

static void what_breaks_the_grammar_is_refused(void **state)
{
    static const char *const cases[] = {
        "nul0",
        "01",
        "-a",
        "+1",
        ".5",
        "1.e2",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "{} x",
        "'a'",
        "\"\\x41\"",
        "\"\\u12g4\"",
        "\"\\u12\"",
        "\"\x01\"",
        "\"\n\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83dx\"",
        "\"\\ud83d\\u0041\"",
        "\"\\u0000\"",
        "\xef\xbb\xbf{}",
        "[,1]",
        "]",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "NaN",
        "tRue",
        "{\"a\":1:2}",
        "//x\n1",
        "\"\\\xc3\xa9\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(str_of(cases[i])) != ERR_FORMAT)
            fail_msg("accepted %s", cases[i]);
    assert_int_equal(parse(STR("\"a\0b\"")), ERR_FORMAT);
    assert_string_equal(error.text, "NUL in a string");
    assert_int_equal(error.offset, 2);
}

/* The same in an arena that says no early: no error code but these. */
static void a_full_arena_is_said(void **state)
{
    const struct str text = STR("{\"a\":[1,2,{\"b\":\"\\n\"}]}");

    (void)state;
    for (size_t limit = 1; limit < 2000; limit += 16) {
        struct arena *small = arena_new(limit);
        int r = json_parse(small, text, (struct json_limits){0}, &root, NULL);

        assert_true(r == 0 || r == ERR_FULL);
        arena_free(small);
    }
}

static void nesting_meets_the_limit_not_the_stack(void **state)
{
    static char deep[1 << 20];
    struct json_limits limits = {.depth = 1 << 20, .nodes = 1 << 21};

    (void)state;
    memset(deep, '[', sizeof deep);
    assert_int_equal(parse((struct str){deep, sizeof deep}), ERR_FULL);
    assert_string_equal(error.text, "nested deeper than 32");
    assert_int_equal(error.offset, 32);
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    arena_reset(arena);
    assert_int_equal(json_parse(arena, (struct str){deep, sizeof deep}, limits,
                                &root, &error),
                     0);
    memset(deep + 32, ']', 32);
    assert_int_equal(parse((struct str){deep, 64}), 0);
    memset(deep + 32, '[', 1);
    memset(deep + 33, ']', 33);
    assert_int_equal(parse((struct str){deep, 66}), ERR_FULL);
}

static void values_are_counted_before_they_are_used(void **state)
{
    struct json_limits limits = {.nodes = 4};

    (void)state;
    arena_reset(arena);
    assert_int_equal(json_parse(arena, STR("[1,2,3]"), limits, &root, &error),
                     0);
    assert_string_equal(
        err_name(json_parse(arena, STR("[1,2,3,4]"), limits, &root, &error)),
        "ERR_FULL");
    assert_string_equal(error.text, "too many values");
}

/* 90 000 names that differ only at their ends, then one of them again. */
static void duplicates_in_a_huge_object_are_found_quickly(void **state)
{
    struct buf b = {0};
    int64_t start;

    (void)state;
    buf_z(&b, "{");
    for (int i = 0; i < 90000; i++)
        buf_printf(&b, "\"name-with-a-long-common-start-%06d\":1,", i);
    buf_z(&b, "\"last\":2}");
    start = clock_mono(&clock_system);
    assert_int_equal(parse(buf_view(&b)), 0);
    b.n -= strlen("\"last\":2}");
    buf_z(&b, "\"name-with-a-long-common-start-000000\":2}");
    assert_int_equal(parse(buf_view(&b)), ERR_FORMAT);
    assert_string_equal(error.text, "an object has the same name twice");
    assert_true(clock_mono(&clock_system) - start < 5 * US_PER_S);
    buf_done(&b);
}

/* Every prefix of a document and every single-byte change: no crash, and a
 * result that is untouched on failure. */
static void damaged_documents_are_survived(void **state)
{
    const char text[] = "{\"a\":[1.5e3,\"\\u00e9\\ud83d\\ude00\xc3\xa9\",null],"
                        "\"b\":{\"c\":true}}";
    char copy[sizeof text];

    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        assert_true(parse((struct str){text, n}) < 0);
        assert_null(root);
        assert_true(error.offset <= n);
    }
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (int c = 0; c < 256; c++) {
            memcpy(copy, text, sizeof text);
            copy[at] = (char)c;
            assert_true((parse((struct str){copy, sizeof text - 1}) == 0) ==
                        (root != NULL));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_type_are_read),
        cmocka_unit_test(paths_chain_through_what_is_missing),
        cmocka_unit_test(only_integral_numbers_are_integers),
        cmocka_unit_test(escapes_become_utf8),
        cmocka_unit_test(strings_without_escapes_are_not_copied),
        cmocka_unit_test(what_ends_early_is_short),
        cmocka_unit_test(what_breaks_the_grammar_is_refused),
        cmocka_unit_test(a_full_arena_is_said),
        cmocka_unit_test(nesting_meets_the_limit_not_the_stack),
        cmocka_unit_test(values_are_counted_before_they_are_used),
        cmocka_unit_test(duplicates_in_a_huge_object_are_found_quickly),
        cmocka_unit_test(damaged_documents_are_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
