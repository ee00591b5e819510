/*
 * fuzz_codecs_elvaco.c - Elvaco LoRaWAN payloads: no crash, an error text with
 * every failure, and whatever decodes is within its limits, prints and
 * normalises.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_codec("elvaco-cmi41", 2, data, size);
    return 0;
}
