/*
 * fuzz_base_framer.c - however a stream is cut, the same objects are found;
 * and what json_parse takes for an object, the framer finds whole. The first
 * byte says how the rest is cut.
 */
#include "server/base/err.h"
#include "server/base/json.h"

#include <stdlib.h>

#define DEMAND(x) ((x) ? (void)0 : abort())

enum { MOST = 64 };

struct outcome {
    size_t ends[MOST];
    int n, err;
};

/* Up to MOST objects, fed `step` bytes at a time. */
static struct outcome frame(struct str text, size_t step)
{
    struct json_framer f = {0};
    struct outcome o = {.n = 0};
    size_t start = 0, end = 0;

    while (end < text.n && o.n < MOST) {
        int r;

        end = text.n - end > step ? end + step : text.n;
        while (o.n < MOST &&
               (r = json_framer_scan(&f, text.p + start, end - start)) != 0) {
            if (r < 0) {
                o.err = r;
                return o;
            }
            DEMAND((size_t)r <= end - start);
            start += (size_t)r;
            o.ends[o.n++] = start;
            json_framer_next(&f);
        }
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena *arena;
    struct json *v;
    struct str text;
    struct outcome whole, cut;

    if (size < 2)
        return 0;
    text = (struct str){(const char *)data + 1, size - 1};
    whole = frame(text, size);
    cut = frame(text, 1u + data[0]);
    DEMAND(whole.n == cut.n && whole.err == cut.err);
    DEMAND(memcmp(whole.ends, cut.ends, (size_t)whole.n * sizeof *cut.ends) ==
           0);

    arena = arena ? arena : arena_new(4 << 20);
    arena_reset(arena);
    if (json_parse(arena, text, (struct json_limits){0}, &v, NULL) == 0 &&
        v->type == JSON_OBJECT) {
        DEMAND(whole.n == 1 && whole.err == 0);
        DEMAND(str_trim(
                   (struct str){text.p + whole.ends[0], text.n - whole.ends[0]})
                   .n == 0);
    }
    return 0;
}
