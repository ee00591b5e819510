/* SML beyond its vectors: damage, and limits that bytes cannot break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/crc16.h"
#include "damage.h"

static const char *const single[] = {
    "readings, negative power, status word",
    "timestamp, escaped 1B1B1B1B, odd widths",
    "bare message, local time, number beyond int64, unit of no register",
    "attention",
};

static void a_frame_that_lost_its_end_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(single) / sizeof(*single); i++)
        every_cut_fails("sml", single[i], 0);
}

static void a_frame_with_one_bit_changed_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(single) / sizeof(*single); i++)
        every_flip_fails("sml", single[i], 0, 0);
}

/* A dump of a serial line may begin anywhere. */
static void a_dump_that_begins_inside_a_frame_gives_the_whole_ones(void **state)
{
    struct telegram t = telegram("sml", "two frames with timestamps");
    struct arena *a = arena_new(4 << 20);
    struct decoded d;

    (void)state;
    assert_int_equal(decode_bytes(&t, t.p + 20, t.n - 20, a, &d), 0);
    assert_int_equal(d.n_measurements, 1);
    assert_int_equal(d.measurements[0].value.mantissa, 101);
    arena_free(a);
    free(t.p);
}

/* Lists in lists cost no stack: the parser counts them. */
static void nested_lists_without_end_are_an_error(void **state)
{
    static char bomb[100000];
    struct telegram t = telegram("sml", single[0]);
    struct arena *a = arena_new(4 << 20);
    struct decoded d;

    (void)state;
    memset(bomb, 0x7F, sizeof(bomb));
    memcpy(bomb, "\x76\x01\x01\x01\x72\x63\x01\x01", 8);
    assert_string_equal(err_name(decode_bytes(&t, bomb, sizeof(bomb), a, &d)),
                        "ERR_SHORT");
    arena_free(a);
    free(t.p);
}

static void the_checksums_are_those_of_their_standards(void **state)
{
    (void)state;
    assert_int_equal(crc16_x25("123456789", 9), 0x906E);
    assert_int_equal(crc16_arc("123456789", 9), 0xBB3D);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_that_lost_its_end_fails),
        cmocka_unit_test(a_frame_with_one_bit_changed_fails),
        cmocka_unit_test(
            a_dump_that_begins_inside_a_frame_gives_the_whole_ones),
        cmocka_unit_test(nested_lists_without_end_are_an_error),
        cmocka_unit_test(the_checksums_are_those_of_their_standards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
