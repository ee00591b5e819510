/*
 * fuzz_codecs_iec.c - IEC 62056-21 read-outs and P1 telegrams: no crash, an
 * error text with every failure, and whatever decodes is within its limits,
 * prints and normalises.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_codec("iec62056-21", 0, data, size);
    return 0;
}
