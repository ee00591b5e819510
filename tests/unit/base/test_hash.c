/*
 * test_hash.c - checksums against published values.
 */
#include "server/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void crc32c_has_the_published_values(void **state)
{
    uint8_t zeros[32] = {0}, ones[32];

    (void)state;
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void crc32c_goes_on_where_it_stopped(void **state)
{
    const char text[] = "123456789";

    (void)state;
    for (size_t cut = 0; cut <= 9; cut++)
        assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, 9 - cut),
                         0xe3069283);
}

/* BLAKE2b with 16 bytes of output over "abc" (from `b2sum -l 128`). */
static void a_content_hash_is_blake2b_of_128_bits(void **state)
{
    static const uint8_t want[] = {0xcf, 0x4a, 0xb7, 0x91, 0xc6, 0x2b,
                                   0x8d, 0x2b, 0x21, 0x09, 0xc9, 0x02,
                                   0x75, 0x28, 0x78, 0x16};
    struct hash128 h = hash128("abc", 3);

    (void)state;
    assert_memory_equal(h.b, want, sizeof want);
    h = hash128(NULL, 0);
    assert_memory_not_equal(h.b, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_has_the_published_values),
        cmocka_unit_test(crc32c_goes_on_where_it_stopped),
        cmocka_unit_test(a_content_hash_is_blake2b_of_128_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
