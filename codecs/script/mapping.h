/*
 * mapping.h - what the fields of a payload codec's result mean: which become
 * registers, which become events. A mapping is a JSON file of our own form
 * (README.md); what it does not name is kept as an extra. Values are exact: a
 * number is the decimal text that JSON has for it, times an exact factor.
 */
#pragma once

#include "codecs/codec.h"
#include "server/base/json.h"

struct mapping; /* opaque; lives in the arena it was read into */

enum { MAPPING_MAX = 64 << 10, MAPPING_ENTRIES = 512 };

/* `text` must outlive *ret. ERR_FORMAT, ERR_SHORT, ERR_FULL, ERR_UNKNOWN with
 * *why: what is wrong with which entry. */
int mapping_read(struct arena *a, struct str text, struct mapping **ret,
                 struct str *why);

/* It wants the output of normalizeUplink instead of decodeUplink's. */
bool mapping_of_normalized(const struct mapping *m);

/* Fills *d, which decoded_init has prepared, from a result's JSON text; m NULL:
 * everything becomes an extra. ERR_FORMAT, ERR_FULL with d->error set. */
int mapping_apply(const struct mapping *m, struct str result,
                  struct decoded *d);
