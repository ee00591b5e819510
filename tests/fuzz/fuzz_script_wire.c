/* What a codec-host, perhaps taken over by a script, may answer; and a question
 * as the host reads it. */
#include "codecs/script/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str body = {(const char *)data, n};
    struct wire_request q;
    struct wire_answer a;

    if (wire_get_request(body, &q) == 0) {
        struct buf b = {0};
        wire_put_request(&b, &q);
        if (b.n != n + 4)
            __builtin_trap();
        buf_done(&b);
    }
    if (wire_get_answer(body, &a) == 0 && a.text.n + 5 != n)
        __builtin_trap();
    return 0;
}
