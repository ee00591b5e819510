/*
 * kinds.h - the kinds of commands, between what is kept (a word and JSON) and
 * what a codec takes (struct command). Pure.
 */
#pragma once

#include "codecs/codec.h"
#include "server/base/buf.h"

/* The bytes for the meter, in the arena. ERR_UNKNOWN: no such kind;
 * ERR_FORMAT: arguments that cannot be of it; or what the codec says. `codec`
 * may be NULL where the kind is "raw". *confirmed: the device is to confirm the
 * downlink. */
int kind_encode(struct str kind, struct str arguments, const char *id,
                const struct codec *codec, struct encoded *ret,
                bool *confirmed);

/* What all codecs of this program can say, for codec_commands_put(): their
 * names as text[], and [[codec, kind, [choices]], ...]. Each is asked. */
void kinds_put(struct buf *names, struct buf *rows);
