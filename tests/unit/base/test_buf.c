/*
 * test_buf.c - building bytes, JSON strings and CSV fields.
 */
#include "server/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void numbers_have_the_promised_byte_order(void **state)
{
    static const uint8_t want[] = {
        1,    0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 8, 7, 6, 5, 4, 3, 2, 1,
        0x02, 0x03, 4,    5,    6,    7,    1,    2, 3, 4, 5, 6, 7, 8};
    struct buf b = {0};

    (void)state;
    buf_u8(&b, 1);
    buf_u16(&b, 0x0203);
    buf_u32(&b, 0x04050607);
    buf_u64(&b, 0x0102030405060708);
    buf_be16(&b, 0x0203);
    buf_be32(&b, 0x04050607);
    buf_be64(&b, 0x0102030405060708);
    assert_int_equal(b.n, sizeof want);
    assert_memory_equal(b.p, want, sizeof want);
    buf_done(&b);
    assert_null(b.p);
}

static void it_grows_and_keeps_its_bytes(void **state)
{
    struct buf b = {0};

    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_printf(&b, "%d,", i % 10);
    assert_int_equal(b.n, 200000);
    for (size_t i = 0; i < b.n; i += 2)
        assert_int_equal(b.p[i], '0' + (int)(i / 2 % 10));
    buf_clear(&b);
    buf_printf(&b, "%0500d", 7); /* longer than the room that is left */
    assert_int_equal(b.n, 500);
    buf_put(&b, NULL, 0);
    assert_int_equal(b.n, 500);
    buf_done(&b);
}

static void text_longer_than_the_buffer_is_printed_whole(void **state)
{
    struct buf b = {0};

    (void)state;
    for (int width = 0; width < 700; width++) {
        buf_clear(&b);
        buf_printf(&b, "%*d", width, 5);
        assert_int_equal(b.n, width ? width : 1);
        buf_done(&b);
    }
}

static void check_json(struct str in, const char *want)
{
    struct buf b = {0};

    buf_json_str(&b, in);
    buf_u8(&b, 0);
    assert_string_equal((char *)b.p, want);
    buf_done(&b);
}

static void json_strings_are_escaped_after_rfc_8259(void **state)
{
    (void)state;
    check_json(STR(""), "\"\"");
    check_json(STR("a\"b\\c"), "\"a\\\"b\\\\c\"");
    check_json(STR("\b\f\n\r\t\x01\x1f\x7f"),
               "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    check_json(STR("a\0b"), "\"a\\u0000b\"");
    check_json(STR("\xc3\xa9\xf0\x9f\x98\x80"), "\"\xc3\xa9\xf0\x9f\x98\x80\"");
}

static void invalid_utf8_becomes_the_replacement_character(void **state)
{
    (void)state;
    check_json(STR("a\xff"
                   "b"),
               "\"a\xef\xbf\xbd"
               "b\"");
    check_json(STR("\xc3"), "\"\xef\xbf\xbd\"");
    check_json(STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void check_csv(struct str in, const char *want)
{
    struct buf b = {0};

    buf_csv(&b, in);
    buf_u8(&b, 0);
    assert_string_equal((char *)b.p, want);
    buf_done(&b);
}

static void csv_is_quoted_only_where_needed(void **state)
{
    (void)state;
    check_csv(STR("plain text"), "plain text");
    check_csv(STR(""), "");
    check_csv(STR("a,b"), "\"a,b\"");
    check_csv(STR("say \"x\""), "\"say \"\"x\"\"\"");
    check_csv(STR("two\r\nlines"), "\"two\r\nlines\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_the_promised_byte_order),
        cmocka_unit_test(it_grows_and_keeps_its_bytes),
        cmocka_unit_test(text_longer_than_the_buffer_is_printed_whole),
        cmocka_unit_test(json_strings_are_escaped_after_rfc_8259),
        cmocka_unit_test(invalid_utf8_becomes_the_replacement_character),
        cmocka_unit_test(csv_is_quoted_only_where_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
