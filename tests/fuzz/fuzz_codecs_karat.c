/*
 * fuzz_codecs_karat.c - payloads of KARAT-928LW modules on each of their ports,
 * and on none: no crash, an error text with every failure, values within their
 * limits.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int ports[] = {0, 2, 4};

    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
        fuzz_codec("karat-928lw", ports[i], data, size);
    return 0;
}
