/*
 * crc16.h - the reflected CRC-16 family of meter protocols, low bit first.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* X.25: HDLC and SML. check("123456789") = 906E. */
uint16_t crc16_x25(const void *p, size_t n);
/* Modbus: Pulsar. check("123456789") = 4B37. */
uint16_t crc16_modbus(const void *p, size_t n);
/* ARC: DSMR P1. check("123456789") = BB3D. */
uint16_t crc16_arc(const void *p, size_t n);
