/*
 * test_str.c - slices, UTF-8 and the byte cursor.
 */
#include "server/base/bytes.h"
#include "server/base/mem.h"
#include "server/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void trim_takes_blanks_from_both_ends(void **state)
{
    (void)state;
    assert_true(str_is(str_trim(STR(" \t a b\r\n")), "a b"));
    assert_true(str_is(str_trim(STR(" \t\r\n")), ""));
    assert_true(str_is(str_trim((struct str){NULL, 0}), ""));
}

static void slices_compare_by_length_and_bytes(void **state)
{
    (void)state;
    assert_true(str_eq(STR("a\0b"), (struct str){"a\0b", 3}));
    assert_false(str_is(STR("a\0b"), "a"));
    assert_true(str_eq((struct str){NULL, 0}, STR("")));
}

static void utf8_follows_rfc_3629(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"plain ASCII, longer than eight bytes \x7f", true},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},  /* U+10FFFF */
        {"\xed\x9f\xbf", true},      /* U+D7FF */
        {"12345678\xff", false},     /* behind a fast step */
        {"\xc0\x80", false},         /* overlong NUL */
        {"\xe0\x9f\xbf", false},     /* overlong */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xf0\x80\x80\x80", false}, /* overlong */
        {"\xe2\x82", false},         /* cut off */
        {"\x80", false},             /* continuation alone */
        {"\xe2\x28\xa1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (str_utf8(str_of(cases[i].text)) != cases[i].valid)
            fail_msg("case %zu", i);
    assert_false(str_utf8((struct str){"a\0b", 3}));
    assert_false(str_utf8((struct str){"12345678\0", 9}));
    assert_false(str_utf8((struct str){"1234567\0", 8}));
}

/* The fast path against the slow one, for every byte at every place. */
static void utf8_steps_agree_with_single_characters(void **state)
{
    char text[12];

    (void)state;
    for (int c = 0; c < 256; c++)
        for (size_t at = 0; at < sizeof text; at++) {
            struct str s = {text, sizeof text};

            memset(text, 'x', sizeof text);
            text[at] = (char)c;
            assert_int_equal(str_utf8(s), c > 0 && c < 0x80);
        }
}

static void the_cursor_remembers_that_it_ran_out(void **state)
{
    static const uint8_t in[] = {0x01, 0x02, 0x03, 0x04, 0x05};
    struct bytes b = bytes_of(in, sizeof in);

    (void)state;
    assert_int_equal(bytes_u8(&b), 1);
    assert_int_equal(bytes_u16(&b), 0x0302);
    assert_int_equal(bytes_offset(&b), 3);
    assert_false(b.ran_out);
    assert_int_equal(bytes_u32(&b), 0);
    assert_true(b.ran_out);
    assert_int_equal(bytes_u8(&b), 0); /* though two bytes are left */
    assert_null(bytes_take(&b, 0));
}

static void a_cursor_over_nothing_is_safe(void **state)
{
    struct bytes b = bytes_of(NULL, 0);

    (void)state;
    assert_int_equal(bytes_left(&b), 0);
    assert_int_equal(bytes_u64(&b), 0);
    assert_true(b.ran_out);
}

static void heap_copies_end_with_nul(void **state)
{
    char *a = mem_strdup("abc"), *b = mem_strndup("abcdef", 2);
    char *z = mem_alloc(0);

    (void)state;
    assert_string_equal(a, "abc");
    assert_string_equal(b, "ab");
    assert_null(mem_strdup(NULL));
    assert_non_null(z);
    a = mem_grow(a, 100, 3);
    assert_string_equal(a, "abc");
    free(a);
    free(b);
    free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trim_takes_blanks_from_both_ends),
        cmocka_unit_test(slices_compare_by_length_and_bytes),
        cmocka_unit_test(utf8_follows_rfc_3629),
        cmocka_unit_test(utf8_steps_agree_with_single_characters),
        cmocka_unit_test(the_cursor_remembers_that_it_ran_out),
        cmocka_unit_test(a_cursor_over_nothing_is_safe),
        cmocka_unit_test(heap_copies_end_with_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
