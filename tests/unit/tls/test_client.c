/* A client's certificate, and what proxies say of it (server/tls/client.h). */
#include "server/base/err.h"
#include "server/tls/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* O="Utility, Süd", CN=billing, until 2126-10-28 21:44:32 UTC; made by
 * openssl(1), as what is expected of it. */
static const char sha256[] =
    "4b448661cbf496f1d482390e643c02fe3d7be832dc22f15ee9de236a089735c1";
static const char subject[] = "CN=billing,O=Utility\\, S\\C3\\BCd";
static const int64_t until_us = 4948897472000000;

static struct str seed(const char *name)
{
    static char text[4096];
    char path[512];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, SOURCE_DIR "/tests/fuzz/seeds/tls_client/%s",
             name);
    f = fopen(path, "re");
    assert_non_null(f);
    n = fread(text, 1, sizeof text, f);
    fclose(f);
    return (struct str){text, n};
}

static void every_proxys_words_name_the_same_certificate(void **state)
{
    static const char *const whole[] = {"rfc9440", "pem", "escaped"};
    struct tls_client found;

    (void)state;
    assert_int_equal(tls_client_der(seed("der"), &found), 0);
    assert_string_equal(found.sha256, sha256);
    assert_string_equal(found.subject, subject);
    assert_true(found.until_us == until_us);
    for (size_t i = 0; i < 3; i++) {
        memset(&found, 1, sizeof found);
        assert_int_equal(tls_client_told(seed(whole[i]), &found), 0);
        assert_string_equal(found.sha256, sha256);
        assert_string_equal(found.subject, subject);
        assert_true(found.until_us == until_us);
    }
    assert_int_equal(tls_client_told(seed("colons"), &found), 0);
    assert_string_equal(found.sha256, sha256);
    assert_string_equal(found.subject, ""); /* a hash does not tell */
}

static void what_is_no_certificate_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        ":",
        "::",
        ":AAAA:",
        "-----BEGIN CERTIFICATE-----",
        "%",
        "%2",
        "4b448661cbf496f1d482390e643c02fe3d7be832dc22f15ee9de236a089735",
        "4b448661cbf496f1d482390e643c02fe3d7be832dc22f15ee9de236a089735c1c1"};
    struct tls_client found = {.sha256 = "as it was"};
    struct str der = seed("der");

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(err_name(tls_client_told(str_of(wrong[i]), &found)),
                            "ERR_FORMAT");
    der.n--;
    assert_string_equal(err_name(tls_client_der(der, &found)), "ERR_FORMAT");
    der.n += 2;
    assert_string_equal(err_name(tls_client_der(der, &found)), "ERR_FORMAT");
    assert_string_equal(found.sha256, "as it was");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_proxys_words_name_the_same_certificate),
        cmocka_unit_test(what_is_no_certificate_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
