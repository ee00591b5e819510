/* Any text as a module: the script made of it is as long, line by line. */
#include "codecs/host/scripts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str source = {(const char *)data, n};
    struct buf out = {0};

    if (scripts_is_module(source) && !memchr(data, 0, n)) {
        scripts_from_module(source, &out);
        if (out.n != n)
            __builtin_trap();
    }
    buf_done(&out);
    return 0;
}
