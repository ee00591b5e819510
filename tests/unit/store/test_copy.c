/*
 * The binary COPY encoder against bytes worked out by hand from PostgreSQL's
 * manual ("Binary Format" of COPY).
 */
#include "server/base/clock.h"
#include "server/base/hex.h"
#include "server/store/copy.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static void expect(struct buf *b, const char *hex)
{
    char got[512];
    assert_true(b->n * 2 < sizeof got);
    assert_string_equal(hex_encode(b->p, b->n, got), hex);
    buf_clear(b);
}

static void header_and_trailer_are_those_of_the_manual(void **state)
{
    struct buf b = {0};
    (void)state;
    copy_header(&b);
    expect(&b, "5047434f50590aff0d0a000000000000000000");
    copy_trailer(&b);
    expect(&b, "ffff");
    buf_done(&b);
}

static void times_count_from_the_year_2000(void **state)
{
    struct buf b = {0};
    (void)state;
    copy_time(&b, 946684800LL * US_PER_S + 1);
    expect(&b, "000000080000000000000001");
    copy_time(&b, TIME_NONE);
    expect(&b, "ffffffff");
    buf_done(&b);
}

static void absent_values_of_an_array_are_nulls(void **state)
{
    struct buf b = {0};
    int64_t v[2] = {-1, INT64_MIN};
    (void)state;
    copy_int8_array(&b, v, 2);
    expect(&b, "00000024" /* 36 bytes: head 20, value 12, null 4 */
               "00000001"
               "00000001"
               "00000014"
               "00000002"
               "00000001"
               "00000008ffffffffffffffff"
               "ffffffff");
    buf_done(&b);
}

static void text_never_carries_what_the_server_would_refuse(void **state)
{
    struct buf b = {0};
    (void)state;
    copy_text(&b, (struct str){"a\0\xff", 3});
    expect(&b, "00000003613f3f");
    copy_text(&b, STR("\xc3\xa9"));
    expect(&b, "00000002c3a9");
    copy_text(&b, (struct str){NULL, 0});
    expect(&b, "ffffffff");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_and_trailer_are_those_of_the_manual),
        cmocka_unit_test(times_count_from_the_year_2000),
        cmocka_unit_test(absent_values_of_an_array_are_nulls),
        cmocka_unit_test(text_never_carries_what_the_server_would_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
