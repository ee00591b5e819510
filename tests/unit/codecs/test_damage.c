/*
 * Every vector of every codec, and every telegram of the corpora where they
 * stand beside the tree: cut short, one bit changed, under a changed key. A
 * codec never crashes, names reason and byte of what it refuses; and what a
 * checksum or a MAC protects never tells anything that the good telegram did
 * not.
 */
#include "codecs/registry.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL = 1 << 20 };
enum { CUTS = 128, FLIPS = 256, KEY_FLIPS = 16 }; /* of a corpus telegram */

static const char *const corpora[] = {
    "mbus",         "wmbus", "wmbus-stored-plain", "wmbus-encrypted",
    "iec62056-21",  "sml",   "sml-stream",         "dlms-push",
    "wmbus-compact"};

struct subject {
    const struct codec *codec;
    const char *name;
    const uint8_t *p;
    size_t n;
    int port;
    const uint8_t *key;
    size_t protected_from; /* byte; n: by nothing */
    struct str told;       /* decoded_text() of the good telegram */
    int err;               /* and its result */
};

/* Copied to its exact size, so that ASan sees reads beyond it. */
static int decode(const struct subject *s, const uint8_t *p, size_t n,
                  struct arena *a, struct str *told)
{
    char *copy = malloc(n ? n : 1);
    struct codec_input in = {
        .payload = {copy, n}, .port = s->port, .key = s->key};
    struct decoded d;

    assert_non_null(copy);
    memcpy(copy, p, n);
    int r = codec_decode(s->codec, &in, a, &d);
    if (r < 0 && (!d.error || d.error_offset > n))
        fail_msg("%s, %s: no reason, or none within the bytes", s->codec->name,
                 s->name);
    *told = decoded_text(&d);
    free(copy);
    return r;
}

static bool tells(struct str text, struct str item)
{
    return memmem(text.p, text.n, item.p, item.n) != NULL;
}

/* A wrong value is one that the good telegram did not tell; "event frame." is
 * an error told as an event. */
static void check(const struct subject *s, const char *what, size_t at, int r,
                  struct str told)
{
    if (r < 0)
        return;
    while (told.n > 0) {
        const char *end = memmem(told.p, told.n, "; ", 2);
        struct str item = {told.p, end ? (size_t)(end - told.p) : told.n};

        if (!tells(s->told, item) && !tells(item, STR("event frame.")))
            fail_msg("%s, %s: %s %zu gave \"%.*s\"", s->codec->name, s->name,
                     what, at, STR_ARGS(item));
        told.p += end ? item.n + 2 : item.n;
        told.n -= end ? item.n + 2 : item.n;
    }
}

/* xorshift: the same damage in every run */
static size_t pick(uint32_t *seed, size_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed % below;
}

static void cut(const struct subject *s, struct arena *a, size_t most)
{
    uint32_t seed = 2463534242u;
    struct str told;

    for (size_t i = 0; i < s->n && i < most; i++) {
        size_t n = s->n <= most ? i : pick(&seed, s->n);
        int r = decode(s, s->p, n, a, &told);

        if (s->protected_from < s->n)
            check(s, "length", n, r, told);
        arena_reset(a);
    }
}

static void flip(const struct subject *s, struct arena *a, size_t most)
{
    uint32_t seed = 2463534242u;
    uint8_t *copy = malloc(s->n);
    struct str told;

    assert_non_null(copy);
    memcpy(copy, s->p, s->n);
    for (size_t i = 0; i < s->n * 8 && i < most; i++) {
        size_t bit = s->n * 8 <= most ? i : pick(&seed, s->n * 8);

        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int r = decode(s, copy, s->n, a, &told);
        if (bit / 8 >= s->protected_from)
            check(s, "bit", bit, r, told);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        arena_reset(a);
    }
    free(copy);
}

/* Only where the key was needed: clear text needs none. */
static void change_key(const struct subject *good, struct arena *a, size_t most)
{
    struct subject s = *good;
    uint8_t key[16];
    struct str told;

    s.key = NULL;
    if (!good->key || good->err < 0 || decode(&s, s.p, s.n, a, &told) >= 0)
        return;
    s.key = key;
    for (size_t i = 0; i < 128 && i < most; i++) {
        size_t bit = i * (128 / (most < 128 ? most : 128));

        memcpy(key, good->key, sizeof(key));
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode(&s, s.p, s.n, a, &told) >= 0)
            fail_msg("%s, %s: key bit %zu changed, and accepted", s.codec->name,
                     s.name, bit);
        arena_reset(a);
    }
}

static size_t frames_of(const uint8_t *p, size_t n)
{
    static const uint8_t start[] = {0x1B, 0x1B, 0x1B, 0x1B, 1, 1, 1, 1};
    size_t frames = 0;

    for (size_t i = 0; i + sizeof(start) <= n; i++)
        frames += memcmp(p + i, start, sizeof(start)) == 0;
    return frames;
}

/* From which byte on a checksum or a MAC covers the telegram. */
static size_t protection(const char *codec, const uint8_t *p, size_t n,
                         bool key)
{
    const uint8_t *bang = n > 6 ? memrchr(p, '!', n) : NULL;

    if (strcmp(codec, "mbus") == 0)
        return n > 0 && p[0] == 0x68 ? 0 : n;
    if (strcmp(codec, "sml") == 0) /* of a dump any frame may be lost */
        return frames_of(p, n) == 1 ? 0 : n;
    if (strcmp(codec, "dlms-push") == 0)
        return n > 0 && p[0] == 0x7E ? 0 : n;
    if (strcmp(codec, "iec62056-21") == 0)
        return bang && p + n - bang >= 5 && bang[1] > ' ' ? 0 : n;
    if (strcmp(codec, "wmbus") != 0 || n < 20)
        return n;
    if (p[1] == 0xCD || p[1] == 0x3D ||
        n > (size_t)p[0] + 1) /* link checksums */
        return 0;
    if (p[10] == 0x8D) /* ELL, its payload checksum */
        return 17;
    if (key && p[10] == 0x8C && p[13] == 0x90) /* MAC */
        return 14;
    if (key && p[10] == 0x7A && (p[14] & 0x1F) == 10) /* mode 10 */
        return 2;
    return n;
}

static void damage(struct subject *s, size_t cuts, size_t flips, size_t keys)
{
    struct arena *a = arena_new(16 << 20), *keep = arena_new(16 << 20);

    s->protected_from = protection(s->codec->name, s->p, s->n, s->key != NULL);
    s->err = decode(s, s->p, s->n, keep, &s->told);
    if (s->err < 0) /* what is refused protects nothing */
        s->protected_from = s->n;
    cut(s, a, cuts);
    flip(s, a, flips);
    change_key(s, a, keys);
    arena_free(a);
    arena_free(keep);
}

static void damaged_vectors_give_no_wrong_value(void **state)
{
    static uint8_t bytes[1 << 16];

    (void)state;
    for (const struct codec *const *c = codec_list(); *c; c++) {
        for (const struct codec_vector *v = (*c)->vectors; v->name; v++) {
            struct subject s = {
                .codec = *c, .name = v->name, .port = v->port, .p = bytes};
            struct str in = str_of(v->hex ? v->hex : v->text);
            uint8_t key[16];

            assert_true(in.n < sizeof(bytes));
            memcpy(bytes, in.p, in.n);
            s.n = v->hex ? (size_t)hex_decode(in, bytes, sizeof(bytes)) : in.n;
            if (v->key && hex_decode(str_of(v->key), key, 16) == 16)
                s.key = key;
            damage(&s, ALL, s.n < 512 ? ALL : 2000, ALL);
        }
    }
}

/* What is asked of the decoder stands before what is expected. */
static void damage_line(char *line, struct arena *a)
{
    char *end = strstr(line, ", \"expect\"");
    struct json_error why;
    struct json *ask;
    uint8_t key[16];

    if (end)
        memcpy(end, "}", 2);
    if (json_parse(a, str_of(line), (struct json_limits){0}, &ask, &why) < 0)
        fail_msg("%zu: %s", why.offset, why.text);
    struct str hex = json_str(json_get(ask, "hex"));
    uint8_t *p = arena_alloc(a, hex.n / 2 + 1);
    int size = hex_decode(hex, p, hex.n / 2 + 1);
    struct str name = json_str(json_get(ask, "name"));
    struct subject s = {.codec = codec_find(json_str(json_get(ask, "codec"))),
                        .name = arena_printf(a, "%.*s", STR_ARGS(name)).p,
                        .p = p,
                        .n = (size_t)size};

    assert_true(size > 0 && s.codec);
    if (hex_decode(json_str(json_get(ask, "key")), key, 16) == 16)
        s.key = key;
    damage(&s, CUTS, s.n < 1024 ? FLIPS : FLIPS / 4, KEY_FLIPS);
}

static void damaged_real_telegrams_give_no_wrong_value(void **state)
{
    struct arena *a = arena_new(16 << 20);
    char *line = NULL;
    size_t cap = 0, lines = 0;
    const char *folder = getenv("HEADEND_CORPORA");

    if (!folder)
        folder = SOURCE_DIR "/../shared/corpora";

    (void)state;
    for (size_t i = 0; i < sizeof(corpora) / sizeof(*corpora); i++) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s.jsonl", folder, corpora[i]);
        FILE *f = fopen(path, "r");
        while (f && getline(&line, &cap, f) > 0) {
            damage_line(line, a);
            arena_reset(a);
            lines++;
        }
        if (f)
            fclose(f);
    }
    free(line);
    arena_free(a);
    if (lines == 0) {
        print_message("360 real telegrams are not beside the tree\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_vectors_give_no_wrong_value),
        cmocka_unit_test(damaged_real_telegrams_give_no_wrong_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
