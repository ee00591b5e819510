/*
 * test_decimal.c - exact numbers: what is read is what is kept, or refused.
 */
#include "server/base/decimal.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void numbers_are_kept_as_written(void **state)
{
    static const struct {
        const char *text;
        int64_t mantissa;
        int exp10;
    } cases[] = {
        {"12", 12, 0},
        {"-3.50", -350, -2},
        {"+7", 7, 0},
        {"4706.0000", 47060000, -4},
        {"4706,0000", 47060000, -4},
        {"1.5e3", 15, 2},
        {"1.5E-3", 15, -4},
        {"1e+2", 1, 2},
        {"0", 0, 0},
        {"-0.0", 0, -1},
        {"00012.30", 1230, -2},
        {"9223372036854775807", INT64_MAX, 0},
        {"-9223372036854775807", -INT64_MAX, 0},
        {"0.000000000000000001", 1, -18},
        /* zeros that int64 or the exponent cannot hold are no loss */
        {"92233720368547758070", INT64_MAX, 1},
        {"1.0000000000000000000000000000000000000000000000", //
         1000000000000000000, -18},
        {"100000000000000000000000000000000000", 1000000000000000000, 17},
        {"1e20", 100, 18},
        {"0e999999999999", 0, 18},
        {"0.00000000000000000000000000", 0, -18},
        {"1000e-20", 10, -18},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct decimal d = {0};
        int r = decimal_parse(str_of(cases[i].text), &d);

        if (r != 0 || d.mantissa != cases[i].mantissa ||
            d.exp10 != cases[i].exp10)
            fail_msg("%s: %s, %lld * 10^%d", cases[i].text, err_name(r),
                     (long long)d.mantissa, d.exp10);
    }
}

static void what_is_no_number_or_no_fit_is_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", ERR_FORMAT},
        {"-", ERR_FORMAT},
        {"+", ERR_FORMAT},
        {"1.2,3", ERR_FORMAT},
        {"1.2.3", ERR_FORMAT},
        {".5", ERR_FORMAT},
        {"5.", ERR_FORMAT},
        {"--1", ERR_FORMAT},
        {"1e", ERR_FORMAT},
        {"1e+", ERR_FORMAT},
        {"1e1.5", ERR_FORMAT},
        {" 1", ERR_FORMAT},
        {"1 ", ERR_FORMAT},
        {"0x10", ERR_FORMAT},
        {"nan", ERR_FORMAT},
        {"inf", ERR_FORMAT},
        {"1_000", ERR_FORMAT},
        {"9223372036854775808", ERR_RANGE},
        {"1e99", ERR_RANGE},
        {"-9223372036854775808", ERR_RANGE},
        {"1e-19", ERR_RANGE},
        {"0.0000000000000000001", ERR_RANGE},
        {"1e999999999999999999999", ERR_RANGE},
        {"1e-999999999999999999999", ERR_RANGE},
        {"12345678901234567890123456789012345678901234567890", ERR_RANGE},
    };
    struct decimal d = {7, 7};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int r = decimal_parse(str_of(cases[i].text), &d);

        if (r != cases[i].err)
            fail_msg("%s: %s", cases[i].text, err_name(r));
    }
    assert_int_equal(d.mantissa, 7); /* untouched */
    assert_string_equal(err_name(decimal_parse((struct str){"1\0", 2}, &d)),
                        "ERR_FORMAT");
}

static void rescaling_is_exact_or_refused(void **state)
{
    struct decimal d;

    (void)state;
    assert_int_equal(decimal_rescale((struct decimal){123, -1}, -3, &d), 0);
    assert_int_equal(d.mantissa, 12300);
    assert_int_equal(decimal_rescale((struct decimal){12300, -3}, -1, &d), 0);
    assert_int_equal(d.mantissa, 123);
    assert_int_equal(d.exp10, -1);
    assert_string_equal(
        err_name(decimal_rescale((struct decimal){1234, -3}, -1, &d)),
        "ERR_RANGE");
    assert_string_equal(
        err_name(decimal_rescale((struct decimal){INT64_MAX, 0}, -1, &d)),
        "ERR_RANGE");
    assert_string_equal(
        err_name(decimal_rescale((struct decimal){1, 18}, -18, &d)),
        "ERR_RANGE");
    assert_int_equal(decimal_rescale((struct decimal){0, 18}, -18, &d), 0);
    assert_int_equal(decimal_rescale((struct decimal){-10, 0}, 1, &d), 0);
    assert_int_equal(d.mantissa, -1);
}

static void unit_conversion_is_exact(void **state)
{
    struct decimal d;
    char text[DECIMAL_TEXT];

    (void)state; /* 1000 ft3 in m3 */
    assert_int_equal(
        decimal_scale((struct decimal){1000, 0}, 28316846592, -12, &d), 0);
    assert_string_equal(decimal_text(decimal_reduce(d), text), "28.316846592");
    /* the product needs 128 bits on the way, but not in the end */
    assert_int_equal(
        decimal_scale((struct decimal){5000000000000000000, 0}, 20, -3, &d), 0);
    assert_string_equal(decimal_text(decimal_reduce(d), text),
                        "100000000000000000");
    assert_string_equal(
        err_name(decimal_scale((struct decimal){INT64_MAX, 0}, 3, 0, &d)),
        "ERR_RANGE");
    assert_string_equal(
        err_name(decimal_scale((struct decimal){1, -18}, 1, -1, &d)),
        "ERR_RANGE");
}

static void comparison_is_by_value(void **state)
{
    const struct decimal ordered[] = {
        {-INT64_MAX, 18}, {-1, 18}, {-5, 0}, {-49, -1}, {-1, -18},       {0, 3},
        {1, -18},         {49, -1}, {5, 0},  {1, 18},   {INT64_MAX, 18},
    };
    const int n = sizeof ordered / sizeof *ordered;

    (void)state;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            assert_int_equal(decimal_cmp(ordered[i], ordered[k]),
                             (i > k) - (i < k));
    assert_int_equal(
        decimal_cmp((struct decimal){500, -2}, (struct decimal){5, 0}), 0);
    assert_int_equal(
        decimal_cmp((struct decimal){0, -18}, (struct decimal){0, 18}), 0);
}

static void text_is_plain_notation(void **state)
{
    static const struct {
        struct decimal d;
        const char *text;
    } cases[] = {
        {{2013060, -3}, "2013.060"},
        {{-5, -3}, "-0.005"},
        {{0, 0}, "0"},
        {{0, -2}, "0.00"},
        {{0, 5}, "0"},
        {{12, 3}, "12000"},
        {{-INT64_MAX, 18}, "-9223372036854775807000000000000000000"},
        {{INT64_MIN, 0}, "-9223372036854775808"},
        {{1, -18}, "0.000000000000000001"},
        {{7, -100}, "7e-100"}, /* outside the promise, still safe */
        {{7, 1000000}, "7e1000000"},
    };
    char text[DECIMAL_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(decimal_text(cases[i].d, text), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_kept_as_written),
        cmocka_unit_test(what_is_no_number_or_no_fit_is_refused),
        cmocka_unit_test(rescaling_is_exact_or_refused),
        cmocka_unit_test(unit_conversion_is_exact),
        cmocka_unit_test(comparison_is_by_value),
        cmocka_unit_test(text_is_plain_notation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
