/* The journal's form of a frame: whole round trips, and damage is refused. */
#include "schema/frame.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

static const struct frame sample = {
    .source = SOURCE_HEO,
    .tenant_id = 7,
    .integration_id = -1,
    .received_us = 1705320000123456,
    .count = 3,
    .size = 11,
    .peer = {"192.0.2.7:40112", 15},
    .topic = {"", 0},
    .identity = {"24000123", 8},
    .payload = {"{\"t\":\"bye\"}", 11},
};

static void assert_same(const struct frame *a, const struct frame *b)
{
    assert_int_equal(a->source, b->source);
    assert_int_equal(a->tenant_id, b->tenant_id);
    assert_int_equal(a->integration_id, b->integration_id);
    assert_true(a->received_us == b->received_us);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->size, b->size);
    assert_true(str_eq(a->peer, b->peer));
    assert_true(str_eq(a->topic, b->topic));
    assert_true(str_eq(a->identity, b->identity));
    assert_true(str_eq(a->payload, b->payload));
    assert_int_equal(!a->rejected, !b->rejected);
    if (a->rejected)
        assert_string_equal(a->rejected, b->rejected);
}

static void a_frame_comes_back_whole(void **state)
{
    static const char *const reasons[] = {NULL, "", "payload too large"};
    struct buf b = {0};
    struct frame f = sample, back;

    (void)state;
    for (int i = 0; i < 3; i++) {
        buf_clear(&b);
        f.rejected = reasons[i];
        frame_encode(&f, &b);
        assert_string_equal(err_name(frame_decode(buf_view(&b), &back)), "ok");
        assert_same(&f, &back);
    }
    buf_done(&b);
}

static void every_shorter_record_is_refused(void **state)
{
    struct buf b = {0};
    struct frame f = sample, back;

    (void)state;
    f.rejected = "why";
    frame_encode(&f, &b);
    for (size_t n = 0; n < b.n; n++) {
        /* a copy of exactly n bytes, so that a read past them is seen */
        char *copy = malloc(n + 1);
        memcpy(copy, b.p, n);
        char *exact = realloc(copy, n ? n : 1);
        assert_string_equal(
            err_name(frame_decode((struct str){exact, n}, &back)), "ERR_SHORT");
        free(exact);
    }
    buf_u8(&b, 0);
    assert_string_equal(err_name(frame_decode(buf_view(&b), &back)),
                        "ERR_FORMAT");
    buf_done(&b);
}

static void damage_never_reads_outside(void **state)
{
    struct buf b = {0};
    struct frame f = sample, back;
    uint32_t seed = 3;

    (void)state;
    f.rejected = "why";
    frame_encode(&f, &b);
    for (int i = 0; i < 20000; i++) {
        uint8_t *copy = malloc(b.n);
        memcpy(copy, b.p, b.n);
        seed = seed * 1664525 + 1013904223;
        copy[(seed >> 8) % b.n] ^= (uint8_t)(seed >> 24 | 1);
        if (frame_decode((struct str){(char *)copy, b.n}, &back) == 0 &&
            back.rejected)
            assert_true(strlen(back.rejected) <= 1024);
        free(copy);
    }
    buf_done(&b);
}

static void other_versions_and_sources_are_refused(void **state)
{
    struct buf b = {0};
    struct frame back;

    (void)state;
    frame_encode(&sample, &b);
    b.p[0] = 2;
    assert_string_equal(err_name(frame_decode(buf_view(&b), &back)),
                        "ERR_FORMAT");
    b.p[0] = 1;
    b.p[1] = 99;
    assert_string_equal(err_name(frame_decode(buf_view(&b), &back)),
                        "ERR_FORMAT");
    buf_done(&b);
}

static void a_reason_with_a_nul_inside_is_refused(void **state)
{
    struct buf b = {0};
    struct frame f = sample, back;

    (void)state;
    f.rejected = "why not";
    frame_encode(&f, &b);
    char *at = memmem(b.p, b.n, "why not", 7);
    assert_non_null(at);
    at[3] = 0;
    assert_string_equal(err_name(frame_decode(buf_view(&b), &back)),
                        "ERR_FORMAT");
    at[3] = ' ';
    at[7] = '!';
    assert_string_equal(err_name(frame_decode(buf_view(&b), &back)),
                        "ERR_FORMAT");
    buf_done(&b);
}

static void what_is_too_long_is_cut_but_readable(void **state)
{
    size_t n = FRAME_PAYLOAD_MAX + 10;
    char *big = calloc(1, n + 1);
    struct frame f = sample, back;
    struct buf b = {0};

    (void)state;
    memset(big, 'x', n);
    f.payload = f.topic = (struct str){big, n};
    f.rejected = big;
    frame_encode(&f, &b);
    assert_string_equal(err_name(frame_decode(buf_view(&b), &back)), "ok");
    assert_int_equal(back.payload.n, FRAME_PAYLOAD_MAX);
    assert_int_equal(back.topic.n, 1024);
    assert_int_equal(strlen(back.rejected), 1023);
    buf_done(&b);
    free(big);
}

static void names_are_the_stored_words(void **state)
{
    (void)state;
    assert_string_equal(source_name(SOURCE_CHIRPSTACK), "chirpstack");
    assert_string_equal(source_name(SOURCE_JOURNAL), "journal");
    assert_string_equal(source_name((enum frame_source)0), "?");
    assert_string_equal(fate_name(FATE_QUARANTINED), "quarantined");
    assert_string_equal(fate_name((enum fate)5), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_whole),
        cmocka_unit_test(every_shorter_record_is_refused),
        cmocka_unit_test(damage_never_reads_outside),
        cmocka_unit_test(other_versions_and_sources_are_refused),
        cmocka_unit_test(a_reason_with_a_nul_inside_is_refused),
        cmocka_unit_test(what_is_too_long_is_cut_but_readable),
        cmocka_unit_test(names_are_the_stored_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
