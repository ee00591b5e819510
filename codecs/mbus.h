/*
 * mbus.h - a run of EN 13757-3 data records as decoded values, for every codec
 * whose payload holds one.
 *
 * Rows: a date and time with storage 0 is the meter's clock and the time of
 * row 0. A valid date with storage n gives the values of storage n a row of
 * their own; without one they stay in row 0. The storage number stays with the
 * value either way: whether a bare date means the begin or the end of that day
 * is the meter's habit, so a stored value never poses as the register read at
 * that moment. What fits no register (text, dates of extremes, manufacturer
 * data, unknown VIFs) is kept as Q_TEXT, Q_DATE, Q_MANUFACTURER or Q_UNKNOWN.
 */
#pragma once

#include "codecs/codec.h"

/* The records from byte `from` to the end. ERR_SHORT, ERR_FORMAT, ERR_FULL;
 * what stood before the broken record is then in *d, for people to see. */
int mbus_decode(struct str payload, size_t from, struct decoded *d);

/* The same for data alone, under a list of DIBs and VIBs (a compact frame). */
int mbus_decode_compact(struct str list, struct str payload, size_t from,
                        struct decoded *d);

/* Keeps n bytes that only their maker understands. */
int mbus_add_manufacturer(struct decoded *d, const uint8_t *p, size_t n,
                          size_t offset);

/* Three letters of five bits each; empty where they are none. */
struct str mbus_manufacturer(struct arena *a, unsigned code);
