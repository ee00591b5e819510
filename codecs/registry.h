/*
 * registry.h - the codecs this program knows, in one visible list.
 */
#pragma once

#include "codecs/codec.h"

/* Ends with NULL. */
const struct codec *const *codec_list(void);
const struct codec *codec_find(struct str name); /* NULL when unknown */

/* Decodes with the codec's own guard rails: ABI, empty payload, error text
 * always set on failure. *d is initialised here over `arena`. */
int codec_decode(const struct codec *c, const struct codec_input *in,
                 struct arena *arena, struct decoded *d);

/* Runs one vector; 0, or ERR_CONFLICT with what came instead in *got. */
int codec_check(const struct codec *c, const struct codec_vector *v,
                struct arena *arena, struct str *got);
