/*
 * Any bytes as a request target: parsed or refused, and what was parsed is
 * text that a pattern can be matched with.
 */
#include "server/http/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char pattern[] = "/api/v1/meters/{id}/readings";
    struct arena *a = arena_new(1024 * 1024);
    struct target t = {.n = 0};

    if (target_parse(a, (struct str){(const char *)data, size}, &t) == 0) {
        if (t.n == 0)
            abort();
        for (uint32_t i = 0; i < t.n_pairs; i++)
            if (!str_utf8(t.pairs[i].name) || !str_utf8(t.pairs[i].value))
                abort();
        if (target_match(&t, pattern) && target_param(&t, pattern, "id").n == 0)
            abort();
    }
    arena_free(a);
    return 0;
}
