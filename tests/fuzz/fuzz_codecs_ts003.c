/*
 * fuzz_codecs_ts003.c - LoRaWAN clock synchronization messages: no crash, an
 * error text with every failure, values within their limits.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_codec("ts003", 202, data, size);
    return 0;
}
