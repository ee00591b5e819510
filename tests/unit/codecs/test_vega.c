/* Vega SI-11 beyond its vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/vega.h"
#include "damage.h"

static void a_packet_that_lost_its_end_fails(void **state)
{
    (void)state;
    every_cut_fails("vega-si11", "periodic", 0);
    every_cut_fails("vega-si11", "alarm of input 2", 0);
    every_cut_fails("vega-si11", "request of the time", 0);
}

/* The same first byte means other things on another FPort. */
static void the_port_tells_the_packet(void **state)
{
    struct telegram t = telegram("vega-si11", "request of the time");
    struct codec_input in = {.payload = {t.p, t.n}, .port = 2};
    struct arena *a = arena_new(1 << 16);
    struct decoded d;

    (void)state;
    assert_string_equal(err_name(codec_decode(t.codec, &in, a, &d)),
                        "ERR_UNSUPPORTED");
    in.port = 4;
    assert_int_equal(codec_decode(t.codec, &in, a, &d), 0);
    assert_int_equal(d.clock.us, 1768478272 * US_PER_S);
    arena_free(a);
    free(t.p);
}

static void the_answer_to_a_request_of_the_time_is_a_correction(void **state)
{
    static const uint8_t minus_125[] = {0xFF, 0x83, 0xFF, 0xFF, 0xFF,
                                        0xFF, 0xFF, 0xFF, 0xFF};
    uint8_t out[VEGA_CORRECTION];

    (void)state;
    vega_correction(-125, out);
    assert_memory_equal(out, minus_125, sizeof(out));
}

static void the_schedule_becomes_setting_16(void **state)
{
    static const uint8_t six_hours[] = {0, 16, 0, 1, 2};
    const struct codec *c = codec_find(STR("vega-si11"));
    struct encoded out = {.arena = arena_new(1 << 16)};

    (void)state;
    assert_int_equal(
        c->encode(&(struct command){.op = OP_SET_SCHEDULE, .period_h = 6},
                  &out),
        0);
    assert_int_equal(out.port, 3);
    assert_int_equal(out.payload.n, sizeof(six_hours));
    assert_memory_equal(out.payload.p, six_hours, sizeof(six_hours));
    assert_string_equal(
        err_name(c->encode(
            &(struct command){.op = OP_SET_SCHEDULE, .period_h = 5}, &out)),
        "ERR_RANGE");
    assert_string_equal(
        err_name(c->encode(&(struct command){.op = OP_VALVE}, &out)),
        "ERR_UNSUPPORTED");
    arena_free(out.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_that_lost_its_end_fails),
        cmocka_unit_test(the_port_tells_the_packet),
        cmocka_unit_test(the_answer_to_a_request_of_the_time_is_a_correction),
        cmocka_unit_test(the_schedule_becomes_setting_16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
