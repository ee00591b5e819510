/*
 * fuzz_codecs_wmbus.c - frames of the wireless M-Bus, without and with a key
 * and a learnt record list: no crash, an error text with every failure, values
 * within their limits.
 */
#include "fuzz_codec.h"

static const uint8_t key[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                8, 9, 10, 11, 12, 13, 14, 15};
static const struct str formats[] = {
    {"\x04\x13\x02\x5B\x01\xFD\x17", 7},
    {"\x0D\x78\x04\x13\x0F", 5}, /* a text, then manufacturer data */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct codec_input in = {.payload = {(const char *)data, size}};

    fuzz_codec_input("wmbus", &in);
    in.key = key;
    in.formats = formats;
    in.n_formats = 2;
    fuzz_codec_input("wmbus", &in);
    return 0;
}
