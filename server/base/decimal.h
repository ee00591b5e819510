/*
 * decimal.h - exact decimal numbers: mantissa * 10^exp10. No value between a
 * meter and a bill is ever a double.
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

enum { DECIMAL_TEXT = 64, DECIMAL_EXP = 18 }; /* |exp10| <= 18 after parse */

struct decimal {
    int64_t mantissa; /* never INT64_MIN in a result of these functions */
    int exp10;
};

/* "12", "-3.50", "4706,0000", "1.5e3" (JSON numbers and decimal commas).
 * Trailing zeros are kept: "4706.0000" is 47060000 * 10^-4.
 * ERR_FORMAT, or ERR_RANGE when it needs more than int64 or |exp10| > 18. */
int decimal_parse(struct str s, struct decimal *ret);

/* The same number with another power of ten. ERR_RANGE when that is not
 * exact or does not fit: nothing is ever rounded. */
int decimal_rescale(struct decimal d, int exp10, struct decimal *ret);

/* Exact product with mul * 10^exp10 (unit conversion). ERR_RANGE. */
int decimal_scale(struct decimal d, int64_t mul, int exp10,
                  struct decimal *ret);

/* The same number without trailing zeros in the mantissa; 0 is 0 * 10^0. */
struct decimal decimal_reduce(struct decimal d);
int decimal_cmp(struct decimal a, struct decimal b); /* by value: -1, 0, 1 */

/* Plain notation with exactly -exp10 decimals ("2013.060"); returns out. */
char *decimal_text(struct decimal d, char out[DECIMAL_TEXT]);
