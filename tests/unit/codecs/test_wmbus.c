/* Wireless M-Bus beyond what the vectors show: the published check values, what
 * an attacker or a bad link can do to a frame, and compact frames. */
#include "codecs/mbus_crypt.h"
#include "codecs/mbus_format.h"
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

static const uint8_t key[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                8, 9, 10, 11, 12, 13, 14, 15};

/* A copy of exactly its size, so that overruns are seen; and unchanged after,
 * although the frame is decrypted. */
static int decode(const uint8_t *p, size_t n, struct codec_input in,
                  struct decoded *d)
{
    uint8_t *exact = malloc(n);
    int r;

    memcpy(exact, p, n);
    in.payload = (struct str){(char *)exact, n};
    r = codec_decode(codec_find(STR("wmbus")), &in, arena, d);
    assert_memory_equal(exact, p, n);
    free(exact);
    return r;
}

static int decode_hex(const char *hex, struct codec_input in, struct decoded *d)
{
    uint8_t p[FRAME_MAX];
    int n = hex_decode(str_of(hex), p, sizeof(p));

    assert_true(n > 0);
    return decode(p, (size_t)n, in, d);
}

static void the_crc_has_its_published_check_values(void **state)
{
    (void)state;
    assert_int_equal(mbus_crc("123456789", 9), 0xC2B7);
    assert_int_equal(
        mbus_crc("\x02\xFF\x20\x04\x13\x44\x13\x61\x5B\x61\x67", 11), 0xA8ED);
}

/* RFC 4493, examples 1 and 2. */
static void the_cmac_is_that_of_rfc_4493(void **state)
{
    static const struct {
        const char *message, *mac;
    } rows[] = {
        {"", "bb1d6929e95937287fa37d129b756746"},
        {"6bc1bee22e409f96e93d7e117393172a",
         "070a16b46b4d4144f79bdd9dd04a287c"},
    };
    uint8_t k[16], message[16], mac[16];
    char text[33];

    (void)state;
    assert_int_equal(
        hex_decode(STR("2b7e151628aed2a6abf7158809cf4f3c"), k, sizeof(k)), 16);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int n = hex_decode(str_of(rows[i].message), message, sizeof(message));
        assert_int_equal(mbus_aes_cmac(k, message, (size_t)n, mac), 0);
        assert_string_equal(hex_encode(mac, sizeof(mac), text), rows[i].mac);
    }
}

static void all_bits_refused(const char *hex, struct codec_input in, int from)
{
    uint8_t p[FRAME_MAX];
    int n = hex_decode(str_of(hex), p, sizeof(p));
    struct decoded d;

    assert_int_equal(decode(p, (size_t)n, in, &d), 0);
    for (int bit = 8 * from; bit < 8 * n; bit++) {
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode(p, (size_t)n, in, &d) >= 0)
            fail_msg("bit %d of byte %d changed unseen", bit % 8, bit / 8);
        assert_non_null(d.error);
        p[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_changed_bit_under_link_crcs_is_refused(void **state)
{
    (void)state;
    all_bits_refused("18442D2C785634121B16317E7A2A0000000413181E0000025B15000E"
                     "71",
                     (struct codec_input){0}, 0);
}

/* The MAC vouches for what stands behind the AFL and for the meter's id; the
 * rest of the link's head is not under it. */
static void a_changed_bit_under_a_mac_is_refused(void **state)
{
    (void)state;
    all_bits_refused("33442D2C785634121B168C202A900F002C2501000000ADF138FFFDE6"
                     "39FB7A2A0010071004609B3A99E367F499D6FD3C03019B65",
                     (struct codec_input){.key = key}, 14);
}

static void a_changed_bit_under_the_ell_crc_is_refused(void **state)
{
    (void)state;
    all_bits_refused("1D442D2C785634121B168D202A78563420E78EDD11BD639E1B16E9B8"
                     "372E",
                     (struct codec_input){.key = key}, 17);
}

static void every_prefix_is_refused_with_a_reason(void **state)
{
    const struct codec *c = codec_find(STR("wmbus"));

    (void)state;
    for (const struct codec_vector *v = c->vectors; v->name; v++) {
        uint8_t p[FRAME_MAX];
        int n = hex_decode(str_of(v->hex), p, sizeof(p));
        struct codec_input in = {.key = v->key ? key : NULL};
        struct decoded d;

        for (int i = 1; i < n && v->err != ERR_FORMAT; i++) {
            assert_true(decode(p, (size_t)i, in, &d) < 0);
            assert_true(d.error && d.error_offset <= (uint32_t)i);
        }
    }
}

static void offsets_point_into_the_frame_as_it_came(void **state)
{
    struct decoded d;

    (void)state;
    assert_int_equal(decode_hex("18442D2C785634121B16317E7A2A0000000413181E0000"
                                "025B15000E71",
                                (struct codec_input){0}, &d),
                     0);
    assert_int_equal(d.measurements[0].offset, 17);
    assert_int_equal(d.measurements[1].offset, 23);
}

static const char full[] =
    "1C442D2C785634121B167A2A0000000413181E0000025B150001FD1700";
static const char compact[] =
    "19442D2C785634121B167B2B00000098BCB8E701000000020000";
static const char format_frame[] = "14442D2C785634121B16690998BC0413025B01FD17";

static void a_frame_teaches_the_compact_one(const char *teacher)
{
    struct decoded taught, d;

    assert_string_equal(
        err_name(decode_hex(compact, (struct codec_input){0}, &d)),
        "ERR_UNKNOWN");
    assert_int_equal(decode_hex(teacher, (struct codec_input){0}, &taught), 0);
    assert_int_equal(taught.format.n, 7);
    struct codec_input in = {.formats = &taught.format, .n_formats = 1};
    assert_string_equal(err_name(decode_hex(compact, in, &d)), "ok");
    assert_true(str_is(decoded_text(&d),
                       "water; serial 12345678; manufacturer KAM; volume 0.001 "
                       "m3; flow-temperature 2 Cel; error-flags 0"));
}

static void full_and_format_frames_teach_compact_ones(void **state)
{
    (void)state;
    a_frame_teaches_the_compact_one(full);
    a_frame_teaches_the_compact_one(format_frame);
}

static void a_changed_compact_frame_gives_no_value(void **state)
{
    struct str list = {"\x04\x13\x02\x5B\x01\xFD\x17", 7};

    (void)state;
    all_bits_refused(
        compact, (struct codec_input){.formats = &list, .n_formats = 1}, 15);
}

static void clear_content_is_marked_value_by_value(void **state)
{
    struct decoded d;

    (void)state;
    assert_int_equal(decode_hex("1E442D2C785634121B167A2A0010052F2F0413181E0000"
                                "025B15002F2F2F2F",
                                (struct codec_input){0}, &d),
                     0);
    assert_int_equal(d.n_measurements, 2);
    for (uint32_t i = 0; i < d.n_measurements; i++)
        assert_int_equal(d.measurements[i].quality, QUALITY_UNPROTECTED);
}

/* For a person to judge: the error stands, and the pipeline keeps no value. */
static void doubtful_frames_show_what_they_hold(void **state)
{
    static const struct {
        const char *hex;
        uint32_t n, quality;
    } rows[] = {
        /* reserved security mode, good records and broken ones */
        {"18442D2C785634121B167A2A00101D0413181E0000025B1500", 2,
         QUALITY_UNPROTECTED},
        {"18442D2C785634121B167A2A00101D0413181E0000045B1500", 0, 0},
        /* longer than L */
        {"18442D2C785634121B167A2A0000000413181E0000025B15005A", 2, 0},
        /* the last record breaks off */
        {"17442D2C785634121B167A2A0000000413181E0000025B15", 1, 0},
    };
    struct decoded d;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_true(decode_hex(rows[i].hex, (struct codec_input){0}, &d) < 0);
        assert_non_null(d.error);
        assert_int_equal(d.n_measurements, rows[i].n);
        assert_int_equal(d.format.n, 0);
        for (uint32_t k = 0; k < d.n_measurements; k++)
            assert_int_equal(d.measurements[k].quality, rows[i].quality);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_crc_has_its_published_check_values),
        T(the_cmac_is_that_of_rfc_4493),
        T(a_changed_bit_under_link_crcs_is_refused),
        T(a_changed_bit_under_a_mac_is_refused),
        T(a_changed_bit_under_the_ell_crc_is_refused),
        T(every_prefix_is_refused_with_a_reason),
        T(offsets_point_into_the_frame_as_it_came),
        T(full_and_format_frames_teach_compact_ones),
        T(a_changed_compact_frame_gives_no_value),
        T(clear_content_is_marked_value_by_value),
        T(doubtful_frames_show_what_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
