/*
 * One-time codes: the vectors of RFC 6238 appendix B, last six digits.
 */
#include "server/api/totp.h"
#include "server/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t *const seed = (const uint8_t *)"12345678901234567890";

static const struct {
    int64_t at_s;
    const char *code;
} vectors[] = {{59, "287082"},         {1111111109, "081804"},
               {1111111111, "050471"}, {1234567890, "005924"},
               {2000000000, "279037"}, {20000000000, "353130"}};

static void codes_are_those_of_rfc_6238(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char code[TOTP_CODE];
        totp_code(seed, vectors[i].at_s / 30, code);
        assert_string_equal(code, vectors[i].code);
    }
}

static int64_t step_at(int64_t at_s, const char *code)
{
    return totp_step(seed, str_of(code), at_s * US_PER_S);
}

static void a_code_is_good_one_step_before_and_after_its_own(void **state)
{
    (void)state;
    assert_int_equal(step_at(2000000000, "279037"), 2000000000 / 30);
    assert_int_equal(step_at(2000000000 + 30, "279037"), 2000000000 / 30);
    assert_int_equal(step_at(2000000000 - 30, "279037"), 2000000000 / 30);
    assert_int_equal(step_at(2000000000 + 60, "279037"), 0);
    assert_int_equal(step_at(2000000000 - 60, "279037"), 0);
    assert_int_equal(step_at(2000000000, "279038"), 0);
    assert_int_equal(step_at(2000000000, "27903"), 0);
    assert_int_equal(step_at(2000000000, "2790370"), 0);
    assert_int_equal(step_at(2000000000, ""), 0);
}

static void a_seed_is_shown_in_base32(void **state)
{
    char text[TOTP_TEXT];

    (void)state;
    totp_seed_text(seed, text);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

static void recovery_codes_differ_and_bear_how_people_write(void **state)
{
    char a[RECOVERY_TEXT], b[RECOVERY_TEXT], one[65], two[65];

    (void)state;
    recovery_make(a);
    recovery_make(b);
    assert_int_equal(strlen(a), RECOVERY_TEXT - 1);
    assert_string_not_equal(a, b);
    recovery_hash(STR("ABCD-EFGH-JKLM-NPQR"), one);
    recovery_hash(STR("abcd efgh jklmnpqr "), two);
    assert_string_equal(one, two);
    recovery_hash(STR("ABCD-EFGH-JKLM-NPQS"), two);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_rfc_6238),
        cmocka_unit_test(a_code_is_good_one_step_before_and_after_its_own),
        cmocka_unit_test(a_seed_is_shown_in_base32),
        cmocka_unit_test(recovery_codes_differ_and_bear_how_people_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
