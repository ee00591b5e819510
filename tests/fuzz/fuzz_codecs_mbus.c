/*
 * fuzz_codecs_mbus.c - M-Bus data records: no crash, an error text with every
 * failure, and whatever decodes is within its limits, prints and normalises.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_codec("mbus-records", 0, data, size);
    return 0;
}
