/*
 * A mapping file and a script's result, from one input: the mapping up to the
 * first NUL, the result behind it. Whatever comes, memory and rows stay bounded
 * and every measurement names a row that exists.
 */
#include "codecs/script/mapping.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void apply(const struct mapping *m, struct str result, struct arena *a)
{
    struct decoded d;

    if (decoded_init(&d, a) < 0)
        return;
    int err = mapping_apply(m, result, &d);
    if (err < 0 && !d.error)
        __builtin_trap();
    for (uint32_t i = 0; i < d.n_measurements; i++)
        if (d.measurements[i].row >= d.n_rows)
            __builtin_trap();
    if (!str_utf8(decoded_text(&d)))
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    size_t first = nul ? (size_t)(nul - data) : n;
    struct str mapping = {(const char *)data, first};
    struct str result = {(const char *)data + first + 1,
                         nul ? n - first - 1 : 0};
    struct arena *a = arena_new(4 << 20);
    struct mapping *m = NULL;
    struct str why;

    apply(NULL, result, a);
    if (mapping_read(a, mapping, &m, &why) == 0)
        apply(m, result, a);
    arena_free(a);
    return 0;
}
