/* DLMS push beyond its vectors: damage, keys, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/dlms.h"
#include "damage.h"

static void a_push_that_lost_its_end_fails(void **state)
{
    (void)state;
    every_cut_fails("dlms-push", "push list over HDLC in blocks", 0);
    every_cut_fails("dlms-push",
                    "push list over TCP, scale pushed beside the "
                    "value",
                    0);
    every_cut_fails("dlms-push", "encrypted", 0);
}

/* From behind the first flag to before the last. */
static void an_hdlc_frame_with_one_bit_changed_fails(void **state)
{
    struct telegram t = telegram("dlms-push", "push list over HDLC in blocks");

    (void)state;
    every_flip_fails("dlms-push", "push list over HDLC in blocks", 0, t.n);
    free(t.p);
}

static const uint8_t auth_key[16] = {0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5,
                                     0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB,
                                     0xDC, 0xDD, 0xDE, 0xDF};

static int decode_authentic(const struct telegram *t, struct arena *a,
                            struct decoded *d)
{
    static const uint8_t key[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                    8, 9, 10, 11, 12, 13, 14, 15};
    struct codec_input in = {
        .payload = {t->p, t->n}, .key = key, .auth_key = auth_key};

    return codec_decode(t->codec, &in, a, d);
}

static void with_the_authentication_key_no_bit_can_change(void **state)
{
    static const char *const names[] = {"encrypted and authenticated",
                                        "authenticated only, no key at hand"};
    struct arena *a = arena_new(4 << 20);
    struct decoded d;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct telegram t = telegram("dlms-push", names[i]);

        assert_int_equal(decode_authentic(&t, a, &d), 0);
        assert_int_equal(d.sequence, 0x01234567);
        for (uint32_t m = 0; m < d.n_measurements; m++)
            assert_false(
                str_is(d.measurements[m].text, "authentication=not checked"));
        for (size_t at = 8; at < t.n; at++) { /* behind the wrapper */
            t.p[at] ^= 1;
            assert_true(decode_authentic(&t, a, &d) < 0);
            t.p[at] ^= 1;
            arena_reset(a);
        }
        free(t.p);
    }
    arena_free(a);
}

static void a_cosem_time_is_local_time_plus_deviation(void **state)
{
    static const struct {
        uint8_t bytes[12];
        enum time_form form;
        int dst;
        bool invalid;
        const char *text;
    } times[] = {
        {{0x07, 0xEA, 1, 15, 4, 15, 0, 0, 0, 0xFF, 0x4C, 0},
         METER_TIME_UTC,
         0,
         false,
         "2026-01-15T12:00:00Z"},
        {{0x07, 0xEA, 7, 15, 3, 15, 0, 0, 50, 0x80, 0x00, 0x80},
         METER_TIME_LOCAL,
         1,
         false,
         "2026-07-15T15:00:00.5Z"},
        {{0x07, 0xEA, 7, 15, 3, 15, 0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x01},
         METER_TIME_LOCAL,
         0,
         true,
         "2026-07-15T15:00:00Z"},
        {{0x07, 0xEA, 7, 15, 3, 15, 0, 0, 0, 0x80, 0x00, 0xFF},
         METER_TIME_LOCAL,
         -1,
         false,
         "2026-07-15T15:00:00Z"},
    };
    static const uint8_t last_day[12] = {0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0,
                                         0,    0,    0,    0x80, 0,    0};
    struct meter_time t;
    char text[TIME_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        assert_int_equal(cosem_time(times[i].bytes, &t), 0);
        assert_int_equal(t.form, times[i].form);
        assert_int_equal(t.dst, times[i].dst);
        assert_int_equal(t.invalid, times[i].invalid);
        assert_string_equal(time_text(t.us, text), times[i].text);
    }
    assert_int_equal(cosem_time(last_day, &t), 0);
    assert_int_equal(t.form, METER_TIME_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_push_that_lost_its_end_fails),
        cmocka_unit_test(an_hdlc_frame_with_one_bit_changed_fails),
        cmocka_unit_test(with_the_authentication_key_no_bit_can_change),
        cmocka_unit_test(a_cosem_time_is_local_time_plus_deviation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
