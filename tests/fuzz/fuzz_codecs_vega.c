/*
 * fuzz_codecs_vega.c - Vega SI-11 payloads on each of their ports, and on none:
 * no crash, an error text with every failure, values within their limits.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int ports[] = {0, 2, 3, 4};

    for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
        fuzz_codec("vega-si11", ports[i], data, size);
    return 0;
}
