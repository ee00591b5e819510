/* Every vector of every codec, and the guard rails of the registry. */
#include "codecs/registry.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_vector_holds(void **state)
{
    (void)state;
    for (const struct codec *const *c = codec_list(); *c; c++) {
        size_t good = 0, bad = 0;

        for (const struct codec_vector *v = (*c)->vectors; v->name; v++) {
            struct arena *a = arena_new(4 << 20);
            struct str got = {0};
            int r = codec_check(*c, v, a, &got);

            if (r < 0)
                fail_msg("%s, %s: got \"%.*s\"", (*c)->name, v->name,
                         STR_ARGS(got));
            if (v->err)
                bad++;
            else
                good++;
            arena_free(a);
        }
        assert_true(good >= 3 && bad >= 2);
    }
}

static void codecs_are_found_by_name(void **state)
{
    (void)state;
    for (const struct codec *const *c = codec_list(); *c; c++)
        assert_ptr_equal(codec_find(str_of((*c)->name)), *c);
    assert_null(codec_find(STR("no-such-codec")));
    assert_null(codec_find(STR("")));
}

static int fail_silently(const struct codec_input *in, struct decoded *d)
{
    (void)in;
    (void)d;
    return ERR_FORMAT;
}

static void a_failure_always_has_a_text(void **state)
{
    struct codec c = {.abi = CODEC_ABI, .decode = fail_silently};
    struct codec_input in = {.payload = STR("x")};
    struct arena *a = arena_new(1 << 16);
    struct decoded d;

    (void)state;
    assert_string_equal(err_name(codec_decode(&c, &in, a, &d)), "ERR_FORMAT");
    assert_non_null(d.error);
    in.payload = STR("");
    assert_string_equal(err_name(codec_decode(&c, &in, a, &d)), "ERR_SHORT");
    assert_non_null(d.error);
    c.abi = CODEC_ABI + 1;
    assert_string_equal(err_name(codec_decode(&c, &in, a, &d)),
                        "ERR_UNSUPPORTED");
    arena_free(a);
}

static void a_wrong_vector_is_told_with_what_came(void **state)
{
    static const struct codec_vector wrong = {
        .name = "wrong", .hex = "0413 181E0000", .expect = "volume 1 m3"};
    static const struct codec_vector unreadable = {
        .name = "odd", .hex = "041", .expect = ""};
    const struct codec *c = codec_find(STR("mbus-records"));
    struct arena *a = arena_new(1 << 16);
    struct str got;

    (void)state;
    assert_string_equal(err_name(codec_check(c, &wrong, a, &got)),
                        "ERR_CONFLICT");
    assert_true(str_is(got, "other; volume 7.704 m3"));
    assert_string_equal(err_name(codec_check(c, &unreadable, a, &got)),
                        "ERR_CONFLICT");
    arena_free(a);
}

/* Purity: the same frame gives the same text, in whatever arena. */
static void decoding_twice_gives_the_same(void **state)
{
    (void)state;
    for (const struct codec *const *c = codec_list(); *c; c++) {
        const struct codec_vector *v = (*c)->vectors;
        struct arena *a = arena_new(1 << 20), *b = arena_new(0);
        struct str first, second;

        codec_check(*c, v, a, &first);
        codec_check(*c, v, b, &second);
        assert_true(str_eq(first, second));
        arena_free(a);
        arena_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_holds),
        cmocka_unit_test(codecs_are_found_by_name),
        cmocka_unit_test(a_failure_always_has_a_text),
        cmocka_unit_test(a_wrong_vector_is_told_with_what_came),
        cmocka_unit_test(decoding_twice_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
