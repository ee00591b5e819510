/*
 * vectors.h - the proof that comes with a payload codec: frames and what they
 * must give. A JSON list of {"port", "hex", "object"}, each with an optional
 * "name" and "recvTime"; "error": true for one that must fail.
 */
#pragma once

#include "codecs/script/script.h"

struct vectors_outcome {
    uint32_t passed;
    struct str difference; /* of the first that failed; empty: none did */
};

/* Runs them all until one differs. ERR_CONFLICT (it differs), ERR_FORMAT (no
 * such list; `difference` says why), ERR_AWAY (no host). */
int vectors_run(struct scripts *s, struct hash128 key, struct str source,
                struct str vectors, struct arena *a,
                struct vectors_outcome *ret);

/* Where two JSON texts differ first ("history.0.volume: 1.5, not 1.7"); numbers
 * by value, members in any order. Empty: nowhere. */
struct str vectors_difference(struct arena *a, struct str expected,
                              struct str got);
