/*
 * test_key_csv.c - a file of meter keys: what is a row, and what is not.
 */
#include "server/base/err.h"
#include "server/vault/key_csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY  "000102030405060708090a0b0c0d0e0f"
#define HEAD "Address,Key,Manufacturer,DeviceType,Version"

static char error[KEY_ERROR];

static int header(struct csv *c, const char *text)
{
    char line[256];

    snprintf(line, sizeof line, "%s", text);
    return key_csv_header(c, line, error);
}

static int row(const char *head, const char *text, struct meter_key *k)
{
    static char line[256];
    struct csv c;
    const char *meter = NULL;

    assert_int_equal(header(&c, head), 0);
    snprintf(line, sizeof line, "%s", text);
    return key_csv_row(&c, line, k, &meter, error);
}

static void a_row_names_what_it_is_for(void **state)
{
    struct meter_key k;

    (void)state;
    assert_int_equal(row(HEAD, "00345678," KEY ",kam,7,27", &k), 0);
    assert_string_equal(k.address, "345678");
    assert_string_equal(k.manufacturer, "KAM");
    assert_int_equal(k.device_type, 7);
    assert_int_equal(k.version, 27);
    assert_int_equal(k.key[15], 15);
    assert_int_equal(k.purpose, KEY_ENCRYPTION);
    assert_int_equal(row("\xef\xbb\xbf"
                         "version; key ;ADDRESS;Purpose;Id",
                         "\"0\";" KEY "; 1 ;authentication;9", &k),
                     0);
    assert_int_equal(k.version, 0);
    assert_int_equal(k.purpose, KEY_AUTHENTICATION);
    assert_string_equal(k.address, "1");
}

static void wildcards_mean_any(void **state)
{
    struct meter_key k;

    (void)state;
    assert_int_equal(row(HEAD, "-1," KEY ",*,-1,-1", &k), 0);
    assert_string_equal(k.address, "");
    assert_string_equal(k.manufacturer, "");
    assert_int_equal(k.device_type, -1);
    assert_int_equal(k.version, -1);
    assert_int_equal(row("Key", KEY, &k), 0);
    assert_int_equal(k.version, -1);
}

static void a_bad_row_names_its_column(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"1," KEY "00,*,-1,-1", "Key: must be 32 hex digits"},
        {"1,00010203 4050607 8090a0b0c0d0e0f,*,-1,-1", "Key: must be"},
        {"1,,*,-1,-1", "Key: must be"},
        {"1," KEY ",KAMS,-1,-1", "Manufacturer: must be three letters"},
        {"1," KEY ",K4M,-1,-1", "Manufacturer: must be three letters"},
        {"1," KEY ",KAM,256,-1", "DeviceType: must be 0 to 255"},
        {"1," KEY ",KAM,-2,-1", "DeviceType: must be 0 to 255"},
        {"1," KEY ",KAM,7,x", "Version: must be 0 to 255"},
        {"1 2," KEY ",KAM,7,1", "Address: must be printable"},
        {"123456789012345678901234567890123," KEY ",KAM,7,1",
         "Address: has more than 32"},
        {"1," KEY ",KAM,7", "4 fields, the header has 5"},
        {"\"1," KEY ",KAM,7,1", "a quote does not end"},
    };
    struct meter_key k;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(row(HEAD, rows[i].text, &k), ERR_FORMAT);
        assert_non_null(strstr(error, rows[i].says));
    }
    assert_int_equal(row("Key,Meter,Address", KEY ",77,12", &k), ERR_FORMAT);
    assert_non_null(strstr(error, "Meter: is named"));
    assert_int_equal(row("Key,Purpose", KEY ",mbus", &k), ERR_FORMAT);
}

static void a_header_must_be_understood_whole(void **state)
{
    struct csv c;

    (void)state;
    assert_int_equal(header(&c, "Address,Manufacturer"), ERR_FORMAT);
    assert_int_equal(header(&c, "Key,Versoin"), ERR_FORMAT);
    assert_non_null(strstr(error, "\"Versoin\""));
    assert_int_equal(header(&c, "Key,Address,key"), ERR_FORMAT);
    assert_non_null(strstr(error, "twice"));
    assert_int_equal(header(&c, ""), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_names_what_it_is_for),
        cmocka_unit_test(wildcards_mean_any),
        cmocka_unit_test(a_bad_row_names_its_column),
        cmocka_unit_test(a_header_must_be_understood_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
