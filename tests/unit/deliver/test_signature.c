/*
 * test_signature.c - the worked example of Standard Webhooks.
 */
#include "server/deliver/signature.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void worked_example_has_its_signature(void **state)
{
    uint8_t key[24];
    size_t n;
    char text[SIGNATURE_TEXT];

    (void)state;
    sodium_base642bin(key, sizeof key, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 32,
                      NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL);
    signature((struct str){(char *)key, n}, "msg_p5jXN8AQM9LWM0D4loKWxJek",
              1614265330, STR("{\"test\": 2432232314}"), text);
    assert_string_equal(text,
                        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

static void secret_is_shown_as_its_receiver_reads_it(void **state)
{
    const uint8_t secret[SECRET_BYTES] = {0xff, 0xef};
    char text[SECRET_TEXT];

    (void)state;
    secret_text(secret, text);
    assert_string_equal(text,
                        "whsec_/+8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example_has_its_signature),
        cmocka_unit_test(secret_is_shown_as_its_receiver_reads_it),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
