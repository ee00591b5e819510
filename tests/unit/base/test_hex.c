/*
 * test_hex.c - hexadecimal and base64 as they come from labels and brokers.
 */
#include "server/base/err.h"
#include "server/base/hex.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check_hex(struct str in, int want, const char *bytes)
{
    uint8_t out[4] = {0};

    assert_int_equal(hex_decode(in, out, sizeof out), want);
    if (want > 0)
        assert_memory_equal(out, bytes, (size_t)want);
}

static void hex_is_read_as_labels_print_it(void **state)
{
    (void)state;
    check_hex(STR("01Ab"), 2, "\x01\xab");
    check_hex(STR("01 ab:CD-ef"), 4, "\x01\xab\xcd\xef");
    check_hex(STR(""), 0, "");
}

static void bad_hex_is_refused(void **state)
{
    (void)state;
    check_hex(STR("1"), ERR_FORMAT, "");
    check_hex(STR("0g"), ERR_FORMAT, "");
    check_hex(STR("01\0"), ERR_FORMAT, "");
    check_hex(STR("0x01"), ERR_FORMAT, "");
    check_hex(STR("0102030405"), ERR_FULL, "");
}

static void hex_encodes_in_lower_case(void **state)
{
    char out[9];

    (void)state;
    assert_string_equal(hex_encode("\x01\xab\xcd\xef", 4, out), "01abcdef");
    assert_string_equal(hex_encode("", 0, out), "");
}

static void an_eui_is_exactly_eight_bytes(void **state)
{
    uint64_t eui = 7;

    (void)state;
    assert_int_equal(hex_eui(STR("0102030405060708"), &eui), 0);
    assert_true(eui == 0x0102030405060708);
    assert_int_equal(hex_eui(STR("01-02-03-04-05-06-07-FF"), &eui), 0);
    assert_true(eui == 0x01020304050607ff);
    assert_string_equal(err_name(hex_eui(STR("010203040506"), &eui)),
                        "ERR_FORMAT");
    assert_string_equal(err_name(hex_eui(STR("010203040506070809"), &eui)),
                        "ERR_FORMAT");
    assert_string_equal(err_name(hex_eui(STR(""), &eui)), "ERR_FORMAT");
    assert_true(eui == 0x01020304050607ff); /* untouched */
}

/* RFC 4648 clause 10, test vectors. */
static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void base64_goes_both_ways(void **state)
{
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct str plain = str_of(vectors[i][0]), coded = str_of(vectors[i][1]);
        struct str out;

        assert_string_equal(base64_encode(a, plain).p, coded.p);
        assert_int_equal(base64_decode(a, coded, &out), 0);
        assert_true(str_eq(out, plain));
        while (coded.n && coded.p[coded.n - 1] == '=')
            coded.n--;
        assert_int_equal(base64_decode(a, coded, &out), 0);
        assert_true(str_eq(out, plain));
    }
    arena_free(a);
}

static void bad_base64_is_refused(void **state)
{
    static const char *const bad[] = {
        "Z",    "Zg=",  "Zm9v=", "Zm9v==", "=",      "Zh==",
        "Zm 8", "Zm8_", "Zg===", "==",     "Zg==Zg", "1\x86\x86\x86"};
    struct arena *a = arena_new(0);
    struct str out;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (base64_decode(a, str_of(bad[i]), &out) != ERR_FORMAT)
            fail_msg("accepted %s", bad[i]);
    arena_free(a);
}

static void a_full_arena_is_said(void **state)
{
    struct arena *a = arena_new(16);
    struct str out;

    (void)state;
    assert_string_equal(
        err_name(base64_decode(a, STR("Zm9vYmFyZm9vYmFyZm9vYmFy"), &out)),
        "ERR_FULL");
    assert_null(base64_encode(a, STR("0123456789abcdef")).p);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_is_read_as_labels_print_it),
        cmocka_unit_test(bad_hex_is_refused),
        cmocka_unit_test(hex_encodes_in_lower_case),
        cmocka_unit_test(an_eui_is_exactly_eight_bytes),
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(bad_base64_is_refused),
        cmocka_unit_test(a_full_arena_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
