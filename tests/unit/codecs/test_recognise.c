/* Payloads tell their kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/registry.h"
#include "server/base/hex.h"

static struct str payload_of(const struct codec_vector *v, struct arena *a)
{
    if (v->text)
        return str_of(v->text);
    size_t cap = strlen(v->hex);
    uint8_t *p = arena_alloc(a, cap + 1);
    int n = hex_decode(str_of(v->hex), p, cap);
    assert_true(n >= 0);
    return (struct str){(char *)p, (size_t)n};
}

/* What shares its shape with another: records that stand alone, messages of our
 * own profile that Elvaco's could be, a Pulsar answer without its request. */
static bool is_ambiguous(const char *codec, const struct codec_vector *v)
{
    return strcmp(codec, "mbus-records") == 0 ||
           strcmp(codec, "karat-928lw") == 0 ||
           (strcmp(codec, "pulsar-heat") == 0 &&
            strstr(v->name, "request and answer") == NULL);
}

static void every_good_vector_is_recognised(void **state)
{
    int seen = 0;

    (void)state;
    for (const struct codec *const *c = codec_list(); *c; c++) {
        for (const struct codec_vector *v = (*c)->vectors; v->name; v++) {
            struct arena *a = arena_new(1 << 20);
            struct str s = payload_of(v, a);
            const struct codec *got = codec_recognise(s, v->port);

            if (!v->err && !is_ambiguous((*c)->name, v) && got != *c)
                fail_msg("%s, %s: taken for %s", (*c)->name, v->name,
                         got->name);
            seen += !v->err;
            arena_free(a);
        }
    }
    assert_true(seen > 100);
}

static void anything_is_taken_for_something(void **state)
{
    (void)state;
    assert_non_null(codec_recognise(STR(""), 0));
    for (int i = 0; i < 256; i++) {
        char byte[16];
        memset(byte, i, sizeof(byte));
        for (size_t n = 1; n <= sizeof(byte); n++)
            assert_non_null(codec_recognise((struct str){byte, n}, i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_good_vector_is_recognised),
        cmocka_unit_test(anything_is_taken_for_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
