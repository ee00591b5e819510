/*
 * fuzz_codecs_pulsar.c - conversations with Pulsar meters: no crash, an error
 * text with every failure, and whatever decodes is within its limits, prints
 * and normalises.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_codec("pulsar-heat", 0, data, size);
    fuzz_codec("pulsar-m", 0, data, size);
    return 0;
}
