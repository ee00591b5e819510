/*
 * loaded.h - codecs from shared objects in one directory (`codecs.dir`), added
 * to the registry at start, before other threads run. What is refused is kept
 * with the reason, so that a person can be told.
 *
 * A file NAME.so exports `const struct codec headend_codec`. It may call what
 * codecs/codec.exports lists, nothing else of the program.
 */
#pragma once

#include "codecs/registry.h"

enum { CODEC_WHY = 256 };

struct codec_file {
    const char *path;
    const struct codec *codec; /* NULL: refused */
    char why[CODEC_WHY];       /* of the refusal; empty otherwise */
};

/* Loads every *.so of `dir` in the order of their names; "" is no directory.
 * The number refused; ERR_UNKNOWN: the directory cannot be read. For ever:
 * nothing is unloaded. */
int codec_load_dir(const char *dir);
/* What was found, loaded or refused. */
const struct codec_file *codec_files(uint32_t *n);
/* The file of a loaded codec, or "built in". */
const char *codec_origin(const struct codec *c);
