/*
 * fuzz_codecs_dlms.c - DLMS push payloads with a key at hand: no crash, an
 * error text with every failure, and whatever decodes is within its limits,
 * prints and normalises.
 */
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                    8, 9, 10, 11, 12, 13, 14, 15};
    struct codec_input in = {.payload = {(const char *)data, size}, .key = key};

    fuzz_codec_input("dlms-push", &in);
    return 0;
}
