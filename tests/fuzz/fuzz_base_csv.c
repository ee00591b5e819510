/*
 * fuzz_base_csv.c - any file becomes a JSON array that our own reader takes, or
 * an error with a sentence.
 */
#include "server/base/csv.h"
#include "server/base/json.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const columns[] = {"serial|secondary_address", "model",
                                          "parameters.|param."};
    char *text = malloc(size + 1), error[CSV_ERROR] = "";
    struct buf out = {0};

    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    int n = csv_json(text, columns, 3, 1000, &out, error);
    assert((n < 0) == (*error != 0));
    if (n >= 0) {
        struct arena *a = arena_new(0);
        struct json *rows;
        struct json_error why;
        assert(json_parse(a, buf_view(&out), (struct json_limits){4, 1u << 20},
                          &rows, &why) == 0);
        assert(rows->type == JSON_ARRAY && rows->count == (uint32_t)n);
        arena_free(a);
    }
    buf_done(&out);
    free(text);
    return 0;
}
