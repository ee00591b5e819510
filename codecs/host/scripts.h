/*
 * scripts.h - the host's own scripts, and a codec's file made a text, its
 * module a script.
 */
#pragma once

#include "server/base/buf.h"

extern const char scripts_prelude[], scripts_shims[], scripts_lookup[];

/* A file as UTF-8 without a byte order mark: a byte that is none is taken as
 * Latin-1. It lives in `bytes`, or in `own` where anything was changed. */
struct str scripts_text(struct str bytes, struct buf *own);

/* Does a statement begin with `export`? ChirpStack 4.17 runs codecs as modules.
 */
bool scripts_is_module(struct str source);
/* The same text, line by line, without `export`. */
void scripts_from_module(struct str source, struct buf *out);
