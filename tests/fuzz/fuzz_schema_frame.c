/*
 * fuzz_schema_frame.c - the journal's form of a frame: no crash, and what can
 * be read is written back byte for byte.
 */
#include "schema/frame.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = {0};
    struct frame f;

    if (frame_decode((struct str){(const char *)data, size}, &f) == 0) {
        frame_encode(&f, &b);
        if (b.n != size || memcmp(b.p, data, size) != 0)
            abort();
        buf_done(&b);
    }
    return 0;
}
