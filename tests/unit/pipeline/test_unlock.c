/*
 * test_unlock.c - a codec with many keys: the right one opens, a wrong one is
 * an error, and none is used where none is needed.
 */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/pipeline/unlock.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Vectors of codecs/wmbus.c and codecs/dlms_vectors.c. */
#define MODE5 "1E442D2C785634121B167A2A0010054A2DF9EF37521F8D52CFA51EBE01876E"
#define CLEAR "18442D2C785634121B167A2A0000000413181E0000025B1500"
#define MODE5_UNPROTECTED                                                      \
    "1E442D2C785634121B167A2A0010052F2F0413181E0000025B15002F2F2F2F"
#define GLO                                                                    \
    "0001000100100043DB084845440000123456383001234567375EA4514098A7D49E580B27" \
    "D7DD0D2DF7AD1058AD871516DA54C407C83F6ED7AB26FA580B328F180781C30CB07B4E12" \
    "896CEC"

static struct keyrings *rings;
static struct arena *scratch;
static struct decoded d;
static struct unlocked found;

/* A key of 16 bytes 0, 1, 2 ...; of others the first byte is `first`. */
static void put(int64_t id, uint8_t purpose, uint8_t first)
{
    struct meter_key k = {
        .key_id = id, .purpose = purpose, .device_type = -1, .version = -1};

    for (int i = 0; i < METER_KEY; i++)
        k.key[i] = (uint8_t)i;
    k.key[0] = first;
    keyrings_put(rings, 1, &k);
    keyrings_publish(rings);
}

static int run(const char *codec, const char *hex)
{
    uint8_t bytes[256];
    int n = hex_decode(str_of(hex), bytes, sizeof bytes);
    struct keyring *k = keyring_ref(rings, 1);
    struct unlock u = {.codec = codec_find(str_of(codec)),
                       .in = {.payload = {(char *)bytes, (size_t)n}},
                       .keyring = k,
                       .meter_id = 5,
                       .serial = STR("0042")};
    int err = unlock(&u, scratch, &d, &found);

    keyring_unref(k);
    return err;
}

static void missing_key_is_asked_for_by_the_sender(void **state)
{
    (void)state;
    assert_int_equal(run("wmbus", MODE5), ERR_UNKNOWN);
    assert_int_equal(d.wants, WANTS_KEY);
    assert_false(found.tried);
    assert_string_equal(found.whose.address, "12345678");
    assert_string_equal(found.whose.manufacturer, "KAM");
    assert_int_equal(run("dlms-push", GLO), ERR_UNKNOWN);
    assert_string_equal(found.whose.address, "42"); /* names no meter */
}

static void right_key_among_wrong_ones_is_found_and_named(void **state)
{
    (void)state;
    for (int i = 1; i < 90; i++)
        put(i, KEY_ENCRYPTION, (uint8_t)(i == 7 ? 0 : i));
    assert_int_equal(run("wmbus", MODE5), 0);
    assert_int_equal(found.key_id, 7);
    assert_int_equal(d.n_measurements, 2);
    assert_int_equal(d.wants, WANTS_NOTHING);
}

static void wrong_keys_are_an_error_and_no_guess(void **state)
{
    (void)state;
    for (int i = 1; i < 20; i++)
        put(i, KEY_ENCRYPTION, (uint8_t)i);
    assert_int_equal(run("wmbus", MODE5), ERR_DAMAGED);
    assert_true(found.tried);
    assert_int_equal(found.key_id, 0);
    assert_int_equal(d.n_measurements, 0);
}

static void frames_in_clear_need_no_key(void **state)
{
    (void)state;
    put(1, KEY_ENCRYPTION, 9);
    assert_int_equal(run("wmbus", CLEAR), 0);
    assert_int_equal(found.key_id, 0);
    assert_int_equal(run("wmbus", MODE5_UNPROTECTED), 0);
    assert_int_equal(found.key_id, 0);
    assert_true(d.measurements[0].quality & QUALITY_UNPROTECTED);
}

static void authentication_key_is_tried_with_every_key(void **state)
{
    (void)state;
    put(1, KEY_ENCRYPTION, 0);
    put(2, KEY_ENCRYPTION, 9);
    assert_int_equal(run("dlms-push", GLO), 0);
    assert_int_equal(found.key_id, 1);
    assert_int_equal(d.wants, WANTS_KEY); /* nobody has checked the tag */
    put(3, KEY_AUTHENTICATION, 1);
    assert_int_equal(run("dlms-push", GLO), ERR_DAMAGED);
    assert_true(found.tried);
}

static int setup(void **state)
{
    (void)state;
    rings = keyrings_new();
    scratch = arena_new(1 << 20);
    return sodium_init() < 0;
}

static int teardown(void **state)
{
    (void)state;
    keyrings_free(rings);
    arena_free(scratch);
    return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(missing_key_is_asked_for_by_the_sender),
        CASE(right_key_among_wrong_ones_is_found_and_named),
        CASE(wrong_keys_are_an_error_and_no_guess),
        CASE(frames_in_clear_need_no_key),
        CASE(authentication_key_is_tried_with_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
