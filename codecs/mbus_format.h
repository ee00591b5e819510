/*
 * mbus_format.h - record lists of compact frames (EN 13757-3): what a full
 * frame teaches, which list a compact frame means, whether its data fit; and
 * the checksum that all of this shares with the radio link.
 */
#pragma once

#include "codecs/codec.h"

/* CRC of EN 13757-4: polynomial 3D65, sent high byte first on the link and low
 * byte first above it. mbus_crc_add goes on from where another run ended:
 * begin with 0, complement at the end. */
uint16_t mbus_crc(const void *p, size_t n);
uint16_t mbus_crc_add(uint16_t crc, const void *p, size_t n);

/* DIBs and VIBs of the records from byte `from` on, in the arena; empty when
 * they are broken or hold what no list can tell. */
struct str mbus_format_of(struct arena *a, struct str payload, size_t from);

/* The list with this signature, of those given and our own; empty: none. */
struct str mbus_format_find(const struct codec_input *in, uint16_t signature);

/* Checksum of the full frame that `list` and the data from `from` on stand for.
 * ERR_SHORT, ERR_FORMAT. */
int mbus_format_crc(struct str list, struct str payload, size_t from,
                    uint16_t *ret);
