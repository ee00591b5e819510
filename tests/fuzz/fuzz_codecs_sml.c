/*
 * fuzz_codecs_sml.c - SML payloads, as they come and as the content of a frame
 * whose checksum fits: no crash, an error text with every failure, and whatever
 * decodes is within its limits, prints and normalises.
 */
#include "codecs/crc16.h"
#include "fuzz_codec.h"

enum { START = 8, END = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t start[START] = {0x1B, 0x1B, 0x1B, 0x1B, 1, 1, 1, 1};
    uint8_t *frame = malloc(START + size + END), *end = frame + START + size;

    fuzz_codec("sml", 0, data, size);
    if (!frame)
        return 0;
    memcpy(frame, start, START);
    if (size)
        memcpy(frame + START, data, size);
    memcpy(end, start, 4);
    end[4] = 0x1A;
    end[5] = 0;
    uint16_t crc = crc16_x25(frame, START + size + 6);
    end[6] = (uint8_t)crc;
    end[7] = (uint8_t)(crc >> 8);
    fuzz_codec("sml", 0, frame, START + size + END);
    free(frame);
    return 0;
}
