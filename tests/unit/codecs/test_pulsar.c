/* Pulsar conversations beyond their vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/crc16.h"
#include "damage.h"

static void a_conversation_that_lost_its_end_fails(void **state)
{
    (void)state;
    every_cut_fails("pulsar-heat", "clock of the meter", 0);
    every_cut_fails("pulsar-heat", "an answer alone: positions", 0);
}

static void a_conversation_with_one_bit_changed_fails(void **state)
{
    struct telegram t =
        telegram("pulsar-heat", "all channels, request and answer");

    (void)state;
    every_flip_fails("pulsar-heat", "all channels, request and answer", 0, t.n);
    free(t.p);
}

static void the_checksum_is_that_of_modbus(void **state)
{
    (void)state;
    assert_int_equal(crc16_modbus("123456789", 9), 0x4B37);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_that_lost_its_end_fails),
        cmocka_unit_test(a_conversation_with_one_bit_changed_fails),
        cmocka_unit_test(the_checksum_is_that_of_modbus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
