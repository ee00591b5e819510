/*
 * crc16.c - bit by bit over a nibble table: 16 entries stay in one cache line.
 */
#include "codecs/crc16.h"

static uint16_t run(const uint8_t *p, size_t n, uint16_t crc,
                    const uint16_t table[16])
{
    for (size_t i = 0; i < n; i++) {
        crc = (uint16_t)(crc >> 4 ^ table[(crc ^ p[i]) & 15]);
        crc = (uint16_t)(crc >> 4 ^ table[(crc ^ p[i] >> 4) & 15]);
    }
    return crc;
}

uint16_t crc16_x25(const void *p, size_t n)
{
    static const uint16_t table[16] = {
        0x0000, 0x1081, 0x2102, 0x3183, 0x4204, 0x5285, 0x6306, 0x7387,
        0x8408, 0x9489, 0xA50A, 0xB58B, 0xC60C, 0xD68D, 0xE70E, 0xF78F,
    };
    return (uint16_t)~run(p, n, 0xFFFF, table);
}

static const uint16_t table_a001[16] = {
    0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
    0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
};

uint16_t crc16_arc(const void *p, size_t n)
{
    return run(p, n, 0, table_a001);
}

uint16_t crc16_modbus(const void *p, size_t n)
{
    return run(p, n, 0xFFFF, table_a001);
}
