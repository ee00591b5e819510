/*
 * fuzz_codecs_cme.c - reports of Elvaco's gateways: no crash, an error text
 * with every failure, values within their limits.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_codec("elvaco-cme", 0, data, size);
    return 0;
}
