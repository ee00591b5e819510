/* Frames of the wired M-Bus beyond what the vectors show: nothing that was
 * changed or cut on the way gives a value. */
#include "codecs/registry.h"
#include "server/base/err.h"
#include "server/base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

enum { FRAME_MAX = 300 };

static const char volume_frame[] =
    "6819 1968 0805 72 78563412 2D2C 1B 07 55 00 0000 0413 181E0000 025B 1500 "
    "22 16";

static int decode(const uint8_t *p, size_t n, struct decoded *d)
{
    uint8_t *exact = malloc(n); /* so that overruns are seen */
    struct codec_input in = {.payload = {(char *)exact, n}};
    int r;

    memcpy(exact, p, n);
    r = codec_decode(codec_find(STR("mbus")), &in, arena, d);
    assert_memory_equal(exact, p, n);
    free(exact);
    return r;
}

static void every_changed_bit_is_refused(void **state)
{
    uint8_t p[FRAME_MAX];
    int n = hex_decode(STR(volume_frame), p, sizeof(p));
    struct decoded d;

    (void)state;
    assert_int_equal(decode(p, (size_t)n, &d), 0);
    for (int bit = 0; bit < 8 * n; bit++) {
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(decode(p, (size_t)n, &d) < 0);
        assert_non_null(d.error);
        assert_int_equal(d.n_measurements, 0);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void every_prefix_is_refused_with_a_reason(void **state)
{
    const struct codec *c = codec_find(STR("mbus"));

    (void)state;
    for (const struct codec_vector *v = c->vectors; v->name; v++) {
        uint8_t p[FRAME_MAX];
        int n = hex_decode(str_of(v->hex), p, sizeof(p));
        struct decoded d;

        for (int i = 1; p[0] == 0x68 && i < n && v->err != ERR_FORMAT; i++) {
            assert_true(decode(p, (size_t)i, &d) < 0);
            assert_true(d.error && d.error_offset <= (uint32_t)i);
        }
    }
}

static void the_header_names_meter_version_and_type(void **state)
{
    uint8_t p[FRAME_MAX];
    int n = hex_decode(STR(volume_frame), p, sizeof(p));
    struct decoded d;

    (void)state;
    assert_int_equal(decode(p, (size_t)n, &d), 0);
    assert_true(str_is(d.serial, "12345678"));
    assert_true(str_is(d.manufacturer, "KAM"));
    assert_int_equal(d.version, 27);
    assert_int_equal(d.device_type, 7);
    assert_int_equal(d.medium, MEDIUM_WATER);
    assert_int_equal(d.measurements[0].offset, 19);
}

/* Old meters send anything in the word that now announces encryption. */
static void an_old_signature_is_no_security_mode(void **state)
{
    static const uint16_t words[] = {0xFFFF, 0xB627, 0x0100, 0x0710, 0x0D10};

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        uint8_t p[FRAME_MAX], sum = 0;
        int n = hex_decode(STR(volume_frame), p, sizeof(p));
        struct decoded d;

        p[17] = (uint8_t)words[i];
        p[18] = (uint8_t)(words[i] >> 8);
        for (int k = 4; k < n - 2; k++)
            sum = (uint8_t)(sum + p[k]);
        p[n - 2] = sum;
        assert_string_equal(err_name(decode(p, (size_t)n, &d)), "ok");
        assert_int_equal(d.n_measurements, 2);
        assert_int_equal(d.measurements[0].quality, 0);
    }
}

static void a_small_arena_is_an_error_not_a_crash(void **state)
{
    uint8_t p[FRAME_MAX];
    int n = hex_decode(STR(volume_frame), p, sizeof(p));

    (void)state;
    for (size_t limit = 16; limit < 16384; limit += 48) {
        struct arena *a = arena_new(limit);
        struct codec_input in = {.payload = {(char *)p, (size_t)n}};
        struct decoded d;
        int r = codec_decode(codec_find(STR("mbus")), &in, a, &d);

        assert_true(r == 0 || r == ERR_FULL);
        arena_free(a);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(every_changed_bit_is_refused),
        T(every_prefix_is_refused_with_a_reason),
        T(the_header_names_meter_version_and_type),
        T(an_old_signature_is_no_security_mode),
        T(a_small_arena_is_an_error_not_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
