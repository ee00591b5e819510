/*
 * damage.h - for codecs whose telegrams carry a checksum: a telegram that lost
 * its end, or one bit, is an error. Includes after cmocka.h.
 */
#pragma once

#include "codecs/registry.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include <stdlib.h>

struct telegram {
    const struct codec *codec;
    const struct codec_vector *vector;
    char *p;
    size_t n;
    uint8_t key[16];
    bool has_key;
};

static inline const struct codec_vector *vector_named(const char *codec,
                                                      const char *name)
{
    const struct codec_vector *v = codec_find(str_of(codec))->vectors;

    while (v->name && strcmp(v->name, name) != 0)
        v++;
    assert_non_null(v->name);
    return v;
}

static inline struct telegram telegram(const char *codec, const char *name)
{
    struct telegram t = {.codec = codec_find(str_of(codec)),
                         .vector = vector_named(codec, name)};
    struct str in = str_of(t.vector->hex ? t.vector->hex : t.vector->text);

    t.p = malloc(in.n + 1);
    assert_non_null(t.p);
    t.n = in.n;
    if (t.vector->hex)
        t.n = (size_t)hex_decode(in, (uint8_t *)t.p, in.n);
    else
        memcpy(t.p, in.p, in.n);
    if (t.vector->key)
        t.has_key = hex_decode(str_of(t.vector->key), t.key, 16) == 16;
    return t;
}

/* The bytes are copied to their exact size, so that ASan sees over-reads. */
static inline int decode_bytes(const struct telegram *t, const char *p,
                               size_t n, struct arena *a, struct decoded *d)
{
    char *copy = malloc(n ? n : 1);
    struct codec_input in = {.payload = {copy, n},
                             .port = t->vector->port,
                             .key = t->has_key ? t->key : NULL};

    assert_non_null(copy);
    memcpy(copy, p, n);
    int r = codec_decode(t->codec, &in, a, d);
    if (r < 0)
        assert_true(d->error && d->error_offset <= n);
    free(copy);
    return r;
}

/* Every shorter telegram fails, down to `until` bytes less. */
static inline void every_cut_fails(const char *codec, const char *name,
                                   size_t blanks)
{
    struct telegram t = telegram(codec, name);
    struct arena *a = arena_new(4 << 20);

    for (size_t n = 0; n < t.n - blanks; n++) {
        struct decoded d;
        if (decode_bytes(&t, t.p, n, a, &d) >= 0)
            fail_msg("%s, %s: %zu of %zu bytes were accepted", codec, name, n,
                     t.n);
        arena_reset(a);
    }
    arena_free(a);
    free(t.p);
}

/* Every change of one bit fails. */
static inline void every_flip_fails(const char *codec, const char *name,
                                    size_t from, size_t to)
{
    struct telegram t = telegram(codec, name);
    struct arena *a = arena_new(4 << 20);

    for (size_t bit = from * 8; bit < (to ? to : t.n) * 8; bit++) {
        struct decoded d;

        t.p[bit / 8] ^= (char)(1 << bit % 8);
        if (decode_bytes(&t, t.p, t.n, a, &d) >= 0)
            fail_msg("%s, %s: bit %zu of byte %zu changed, and accepted", codec,
                     name, bit % 8, bit / 8);
        t.p[bit / 8] ^= (char)(1 << bit % 8);
        arena_reset(a);
    }
    arena_free(a);
    free(t.p);
}
