/* Vega SI-11 beyond its vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_that_lost_its_end_fails),
        cmocka_unit_test(the_port_tells_the_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
