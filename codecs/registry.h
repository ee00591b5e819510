/*
 * registry.h - the codecs this program knows, in one visible list.
 */
#pragma once

#include "codecs/codec.h"

enum { CODECS_MAX = 256 };

/* Ends with NULL; at most CODECS_MAX, in an order that stays. */
const struct codec *const *codec_list(void);
const struct codec *codec_find(struct str name); /* NULL when unknown */
/* Position in codec_list(); ERR_UNKNOWN. */
int codec_number(const struct codec *c);
/* One more, at start, before other threads run: its position, or ERR_FULL. The
 * caller has checked it, its name too (codecs/loaded.h). */
int codec_add(const struct codec *c);

/* The built-in codec whose kind the payload looks like; `port` 0: not known.
 * Never NULL: what looks like nothing is taken for a radio frame, or on a port
 * of LoRaWAN for the message of a heat meter. */
const struct codec *codec_recognise(struct str payload, int port);

/* Decodes with the codec's own guard rails: ABI, empty payload, error text
 * always set on failure. *d is initialised here over `arena`. */
int codec_decode(const struct codec *c, const struct codec_input *in,
                 struct arena *arena, struct decoded *d);

/* Runs one vector; 0, or ERR_CONFLICT with what came instead in *got. */
int codec_check(const struct codec *c, const struct codec_vector *v,
                struct arena *arena, struct str *got);
