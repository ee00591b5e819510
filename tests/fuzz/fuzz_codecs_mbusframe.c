/*
 * fuzz_codecs_mbusframe.c - frames of the wired M-Bus, without and with a key:
 * no crash, an error text with every failure, values within their limits.
 */
#include "fuzz_codec.h"

static const uint8_t key[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                8, 9, 10, 11, 12, 13, 14, 15};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct codec_input in = {.payload = {(const char *)data, size}};

    fuzz_codec_input("mbus", &in);
    in.key = key;
    fuzz_codec_input("mbus", &in);
    return 0;
}
