/*
 * test_arena.c - memory with one end.
 */
#include "server/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void pieces_are_zeroed_aligned_and_apart(void **state)
{
    struct arena *a = arena_new(0);
    unsigned char *last = NULL;

    (void)state;
    for (size_t size = 0; size < 5000; size += 7) {
        unsigned char *p = arena_alloc(a, size);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
        assert_ptr_not_equal(p, last);
        last = p;
    }
    arena_free(a);
}

static void memory_is_zeroed_again_after_a_reset(void **state)
{
    struct arena *a = arena_new(0);

    (void)state;
    memset(arena_alloc(a, 64), 0xff, 64);
    arena_reset(a);
    assert_int_equal(arena_used(a), 0);
    assert_int_equal(*(char *)arena_alloc(a, 64), 0);
    arena_free(a);
}

static void a_reset_keeps_the_largest_block(void **state)
{
    struct arena *a = arena_new(0);
    char *large, *again;

    (void)state;
    arena_alloc(a, 100);
    large = arena_alloc(a, 3 << 20);
    arena_alloc(a, 2 << 20);
    arena_reset(a);
    again = arena_alloc(a, 3 << 20);
    assert_ptr_equal(again, large);
    arena_free(a);
}

static void the_limit_is_kept_to_the_byte(void **state)
{
    struct arena *a = arena_new(1000);

    (void)state;
    assert_null(arena_alloc(a, 1001));
    assert_non_null(arena_alloc(a, 496));
    assert_non_null(arena_alloc(a, 496));
    assert_int_equal(arena_used(a), 992);
    assert_null(arena_alloc(a, 1));
    assert_null(arena_str(a, STR("x")).p);
    assert_null(arena_printf(a, "%d", 1).p);
    arena_reset(a);
    assert_non_null(arena_alloc(a, 992));
    arena_free(a);
}

static void absurd_sizes_are_refused(void **state)
{
    struct arena *a = arena_new(1 << 20);

    (void)state;
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 20));
    assert_null(arena_str(a, (struct str){"", SIZE_MAX}).p);
    arena_free(a);
}

static void strings_are_copied_and_terminated(void **state)
{
    struct arena *a = arena_new(0);
    char text[] = "abc";
    struct str s = arena_str(a, (struct str){text, 2});

    (void)state;
    text[0] = 'X';
    assert_string_equal(s.p, "ab");
    assert_non_null(arena_str(a, (struct str){NULL, 0}).p);
    s = arena_printf(a, "%s=%d", "n", 42);
    assert_int_equal(s.n, 4);
    assert_string_equal(s.p, "n=42");
    arena_free(a);
    arena_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(memory_is_zeroed_again_after_a_reset),
        cmocka_unit_test(a_reset_keeps_the_largest_block),
        cmocka_unit_test(the_limit_is_kept_to_the_byte),
        cmocka_unit_test(absurd_sizes_are_refused),
        cmocka_unit_test(strings_are_copied_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
