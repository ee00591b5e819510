/*
 * test_keyring.c - which keys are tried, in which order, and whose.
 */
#include "server/base/err.h"
#include "server/vault/keyring.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { T = 1, OTHER = 2 };

static struct keyrings *rings;

static void put(int32_t tenant, int64_t id, int32_t meter, const char *address,
                const char *maker, int type, int version)
{
    struct meter_key k = {.key_id = id,
                          .meter_id = meter,
                          .device_type = (int16_t)type,
                          .version = (int16_t)version};

    key_address(str_of(address), k.address);
    snprintf(k.manufacturer, sizeof k.manufacturer, "%s", maker);
    keyrings_put(rings, tenant, &k);
}

/* The ids that are tried, as text. */
static const char *tried(int32_t tenant, int32_t meter, const char *address,
                         const char *maker, int type, int version)
{
    static char text[1024];
    struct key_wanted w = {
        .meter_id = meter, .device_type = type, .version = version};
    const struct meter_key *keys[KEYS_TRIED];
    struct keyring *k = keyring_ref(rings, tenant);

    key_address(str_of(address), w.address);
    snprintf(w.manufacturer, sizeof w.manufacturer, "%s", maker);
    uint32_t n = keyring_match(k, KEY_ENCRYPTION, &w, keys);
    size_t used = 0;
    *text = 0;
    for (uint32_t i = 0; i < n && used < sizeof text - 24; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld",
                                 i ? " " : "", (long long)keys[i]->key_id);
    keyring_unref(k);
    return text;
}

static void most_specific_key_goes_first_of_equal_ones_the_newest(void **state)
{
    (void)state;
    put(T, 1, 0, "", "", -1, -1);
    put(T, 2, 0, "", "", -1, -1);
    put(T, 3, 0, "", "KAM", -1, -1);
    put(T, 4, 0, "", "KAM", 7, 27);
    put(T, 5, 0, "", "", 7, -1);
    put(T, 6, 0, "12345678", "", -1, -1);
    put(T, 7, 0, "12345678", "KAM", -1, 27);
    put(T, 8, 0, "12345678", "ELV", -1, -1);
    put(T, 9, 0, "87654321", "", -1, -1);
    assert_string_equal(tried(T, 0, "12345678", "KAM", 7, 27), ""); /* unseen */
    keyrings_publish(rings);
    assert_string_equal(tried(T, 0, "12345678", "KAM", 7, 27), "7 6 4 3 5 2 1");
    assert_string_equal(tried(T, 0, "12345678", "ELV", 8, 27), "8 6 2 1");
    assert_string_equal(tried(T, 0, "1", "", -1, -1), "2 1");
    assert_string_equal(tried(T, 0, "", "", -1, -1), "2 1");
}

static void a_key_of_the_meter_itself_goes_before_the_store(void **state)
{
    (void)state;
    put(T, 1, 0, "12345678", "KAM", 7, 27);
    put(T, 2, 77, "", "", -1, -1);
    put(T, 3, 77, "", "", -1, -1);
    put(T, 4, 78, "", "", -1, -1);
    keyrings_publish(rings);
    assert_string_equal(tried(T, 77, "12345678", "KAM", 7, 27), "3 2");
    assert_string_equal(tried(T, 79, "12345678", "KAM", 7, 27), "1");
    keyrings_drop(rings, T, 2);
    keyrings_drop(rings, T, 3);
    keyrings_publish(rings);
    assert_string_equal(tried(T, 77, "12345678", "KAM", 7, 27), "1");
}

static void nobody_tries_anothers_keys(void **state)
{
    (void)state;
    put(T, 1, 0, "", "", -1, -1);
    put(T, 2, 5, "", "", -1, -1);
    keyrings_publish(rings);
    assert_string_equal(tried(OTHER, 5, "12345678", "", -1, -1), "");
    put(OTHER, 3, 0, "", "", -1, -1);
    keyrings_publish(rings);
    assert_string_equal(tried(OTHER, 5, "12345678", "", -1, -1), "3");
    assert_string_equal(tried(T, 6, "12345678", "", -1, -1), "1");
}

static void leading_zeros_are_decoration(void **state)
{
    (void)state;
    put(T, 1, 0, "00123456", "", -1, -1);
    keyrings_publish(rings);
    assert_string_equal(tried(T, 0, "123456", "", -1, -1), "1");
    assert_string_equal(tried(T, 0, "0123456", "", -1, -1), "1");
    assert_string_equal(tried(T, 0, "1234560", "", -1, -1), "");
}

static void changes_replace_and_discarded_ones_are_not_seen(void **state)
{
    (void)state;
    for (int i = 1; i <= 2000; i++) {
        char address[16];
        snprintf(address, sizeof address, "%d", i * 7919 % 2000 + 10000);
        put(T, i, 0, address, "", -1, -1);
        if (i % 500 == 0)
            keyrings_publish(rings);
    }
    assert_string_equal(tried(T, 0, "17919", "", -1, -1), "");
    assert_string_equal(tried(T, 0, "11919", "", -1, -1), "1");
    put(T, 1, 0, "55555", "", -1, -1);
    keyrings_publish(rings);
    assert_string_equal(tried(T, 0, "11919", "", -1, -1), "");
    assert_string_equal(tried(T, 0, "55555", "", -1, -1), "1");
    put(T, 1, 0, "66666", "", -1, -1);
    keyrings_discard(rings);
    keyrings_publish(rings);
    assert_string_equal(tried(T, 0, "55555", "", -1, -1), "1");
}

static void no_more_keys_are_tried_than_agreed(void **state)
{
    struct keyring *k;
    const struct meter_key *keys[KEYS_TRIED];
    struct key_wanted w = {.device_type = -1, .version = -1};

    (void)state;
    for (int i = 1; i <= KEYS_TRIED + 5; i++)
        put(T, i, 0, "", "", -1, -1);
    keyrings_publish(rings);
    k = keyring_ref(rings, T);
    assert_int_equal(keyring_match(k, KEY_ENCRYPTION, &w, keys), KEYS_TRIED);
    assert_int_equal(keyring_match(k, KEY_AUTHENTICATION, &w, keys), 0);
    keyring_unref(k);
}

static void formats_and_refusals_live_as_long_as_they_are_held(void **state)
{
    uint32_t n;

    (void)state;
    keyrings_format(rings, T, STR("\x02\xff\x20"));
    keyrings_format(rings, T, STR("\x02\xff\x20"));
    keyrings_publish(rings);
    struct keyring *old = keyring_ref(rings, T);
    keyrings_format(rings, T, STR("\x04\x13"));
    keyrings_refuse(rings, T, true);
    keyrings_publish(rings);
    keyrings_format(rings, T, STR("\x04\x13"));
    keyrings_publish(rings);
    struct keyring *now = keyring_ref(rings, T);
    assert_true(str_eq(keyring_formats(old, &n)[0], STR("\x02\xff\x20")));
    assert_int_equal(n, 1);
    assert_false(keyring_refuses_unprotected(old));
    keyring_formats(now, &n);
    assert_int_equal(n, 2);
    assert_true(keyring_knows_format(now, STR("\x04\x13")));
    assert_false(keyring_knows_format(old, STR("\x04\x13")));
    assert_true(keyring_refuses_unprotected(now));
    keyring_unref(old);
    keyring_unref(now);
}

static int setup(void **state)
{
    (void)state;
    rings = keyrings_new();
    return sodium_init() < 0;
}

static int teardown(void **state)
{
    (void)state;
    keyrings_free(rings);
    return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(most_specific_key_goes_first_of_equal_ones_the_newest),
        CASE(a_key_of_the_meter_itself_goes_before_the_store),
        CASE(nobody_tries_anothers_keys),
        CASE(leading_zeros_are_decoration),
        CASE(changes_replace_and_discarded_ones_are_not_seen),
        CASE(no_more_keys_are_tried_than_agreed),
        CASE(formats_and_refusals_live_as_long_as_they_are_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
