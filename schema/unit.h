/*
 * unit.h - units as meters code them and as we keep them (canonical).
 * Names follow UCUM where it has one ("Cel", "m3/h" for readability).
 */
#pragma once

#include "server/base/decimal.h"

/* X(enum, name, canonical, mul, exp10): value_canonical = value * mul *
 * 10^exp10. Energy in J, cal keeps its own canonical unit (GJ, Gcal): the
 * factor to kWh is not exact; nor is that from degF. mul = 0: no exact
 * conversion, the unit is its own canon. New ones go to the end: codecs are
 * built against these numbers. */
/* clang-format off */
#define UNIT_LIST(X)                                                           \
    X(UNIT_NONE, "1", UNIT_NONE, 1, 0)                                         \
    X(UNIT_KWH, "kWh", UNIT_KWH, 1, 0)                                         \
    X(UNIT_WH, "Wh", UNIT_KWH, 1, -3)                                          \
    X(UNIT_MWH, "MWh", UNIT_KWH, 1, 3)                                         \
    X(UNIT_KVARH, "kvarh", UNIT_KVARH, 1, 0)                                   \
    X(UNIT_VARH, "varh", UNIT_KVARH, 1, -3)                                    \
    X(UNIT_KVAH, "kVAh", UNIT_KVAH, 1, 0)                                      \
    X(UNIT_VAH, "VAh", UNIT_KVAH, 1, -3)                                       \
    X(UNIT_GJ, "GJ", UNIT_GJ, 1, 0)                                            \
    X(UNIT_J, "J", UNIT_GJ, 1, -9)                                             \
    X(UNIT_GCAL, "Gcal", UNIT_GCAL, 1, 0)                                      \
    X(UNIT_MCAL, "Mcal", UNIT_GCAL, 1, -3)                                     \
    X(UNIT_M3, "m3", UNIT_M3, 1, 0)                                            \
    X(UNIT_L, "l", UNIT_M3, 1, -3)                                             \
    X(UNIT_FT3, "ft3", UNIT_M3, 28316846592, -12)                              \
    X(UNIT_GAL, "gal", UNIT_M3, 3785411784, -12)                               \
    X(UNIT_KG, "kg", UNIT_KG, 1, 0)                                            \
    X(UNIT_T, "t", UNIT_KG, 1, 3)                                              \
    X(UNIT_KW, "kW", UNIT_KW, 1, 0)                                            \
    X(UNIT_W, "W", UNIT_KW, 1, -3)                                             \
    X(UNIT_MW, "MW", UNIT_KW, 1, 3)                                            \
    X(UNIT_KVAR, "kvar", UNIT_KVAR, 1, 0)                                      \
    X(UNIT_VAR, "var", UNIT_KVAR, 1, -3)                                       \
    X(UNIT_KVA, "kVA", UNIT_KVA, 1, 0)                                         \
    X(UNIT_VA, "VA", UNIT_KVA, 1, -3)                                          \
    X(UNIT_GJ_H, "GJ/h", UNIT_GJ_H, 1, 0)                                      \
    X(UNIT_J_H, "J/h", UNIT_GJ_H, 1, -9)                                       \
    X(UNIT_M3_H, "m3/h", UNIT_M3_H, 1, 0)                                      \
    X(UNIT_M3_MIN, "m3/min", UNIT_M3_H, 60, 0)                                 \
    X(UNIT_M3_S, "m3/s", UNIT_M3_H, 3600, 0)                                   \
    X(UNIT_L_H, "l/h", UNIT_M3_H, 1, -3)                                       \
    X(UNIT_KG_H, "kg/h", UNIT_KG_H, 1, 0)                                      \
    X(UNIT_CEL, "Cel", UNIT_CEL, 1, 0)                                         \
    X(UNIT_K, "K", UNIT_K, 1, 0)                                               \
    X(UNIT_KPA, "kPa", UNIT_KPA, 1, 0)                                         \
    X(UNIT_BAR, "bar", UNIT_KPA, 1, 2)                                         \
    X(UNIT_PA, "Pa", UNIT_KPA, 1, -3)                                          \
    X(UNIT_V, "V", UNIT_V, 1, 0)                                               \
    X(UNIT_MV, "mV", UNIT_V, 1, -3)                                            \
    X(UNIT_A, "A", UNIT_A, 1, 0)                                               \
    X(UNIT_HZ, "Hz", UNIT_HZ, 1, 0)                                            \
    X(UNIT_S, "s", UNIT_S, 1, 0)                                               \
    X(UNIT_MIN, "min", UNIT_S, 60, 0)                                          \
    X(UNIT_H, "h", UNIT_S, 3600, 0)                                            \
    X(UNIT_D, "d", UNIT_S, 86400, 0)                                           \
    X(UNIT_MONTH, "mo", UNIT_MONTH, 1, 0)                                      \
    X(UNIT_YEAR, "a", UNIT_MONTH, 12, 0)                                       \
    X(UNIT_PERCENT, "%", UNIT_PERCENT, 1, 0)                                   \
    X(UNIT_DEG, "deg", UNIT_DEG, 1, 0)                                         \
    X(UNIT_DBM, "dBm", UNIT_DBM, 1, 0)                                         \
    X(UNIT_HCA, "HCA", UNIT_HCA, 1, 0)                                         \
    X(UNIT_PULSE, "pulse", UNIT_PULSE, 1, 0)                                   \
    X(UNIT_GAL_MIN, "gal/min", UNIT_M3_H, 22712470704, -11)                    \
    X(UNIT_GAL_H, "gal/h", UNIT_M3_H, 3785411784, -12)                         \
    X(UNIT_DEGF, "degF", UNIT_DEGF, 1, 0)                                      \
    X(UNIT_GCAL_H, "Gcal/h", UNIT_GCAL_H, 1, 0)                                \
    X(UNIT_MJ, "MJ", UNIT_GJ, 1, -3)                                           \
    X(UNIT_KJ, "kJ", UNIT_GJ, 1, -6)                                           \
    X(UNIT_MPA, "MPa", UNIT_KPA, 1, 3)                                         \
    X(UNIT_MBAR, "mbar", UNIT_KPA, 1, -1)                                      \
    X(UNIT_KV, "kV", UNIT_V, 1, 3)                                             \
    X(UNIT_MA, "mA", UNIT_A, 1, -3)

enum unit {
#define X(id, name, canonical, mul, exp10) id,
    UNIT_LIST(X)
#undef X
    UNIT_COUNT
};
/* clang-format on */

const char *unit_name(enum unit u);           /* never NULL */
int unit_parse(struct str s, enum unit *ret); /* ERR_UNKNOWN */
enum unit unit_canonical(enum unit u);
/* The value in the canonical unit, exact. ERR_RANGE when int64 cannot hold it:
 * then the caller keeps the value in its own unit, flagged, never rounded. */
int unit_convert(struct decimal value, enum unit from, struct decimal *ret);
