/*
 * karat.h - what is sent to KARAT-928LW modules.
 */
#pragma once

#include <stdint.h>

enum { KARAT_PORT_SLOT = 5, KARAT_SLOT = 9, KARAT_REPORT_AT = 1 };

/* Report `at_s` seconds after each whole `window_s` of UTC. */
void karat_slot(uint32_t at_s, uint32_t window_s, uint8_t out[KARAT_SLOT]);
