/*
 * scripts.h - the host's own scripts, and a codec's module made a script.
 */
#pragma once

#include "server/base/buf.h"

extern const char scripts_prelude[], scripts_shims[], scripts_lookup[];

/* Does a line begin with `export`? ChirpStack 4.17 runs codecs as modules. */
bool scripts_is_module(struct str source);
/* The same text, line by line and column by column, without `export`. */
void scripts_from_module(struct str source, struct buf *out);
