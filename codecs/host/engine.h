/*
 * engine.h - JavaScriptCore with limits: keeps compiled scripts, runs each
 * question in a fresh global context of its own. One thread.
 */
#pragma once

#include "codecs/script/wire.h"

/* A script's computing time, and the memory of the whole process while it
 * runs; over either it is stopped. */
enum { ENGINE_TIME_MS = 100, ENGINE_MEMORY_MIB = 160, ENGINE_SCRIPTS = 1024 };

struct engine; /* opaque */

/* Sets JSC's environment: before any other thread exists. NULL: the engine
 * could not start. */
struct engine *engine_new(void);

/* The answer's text lives in `text` until the next call. */
struct wire_answer engine_answer(struct engine *e, const struct wire_request *q,
                                 struct buf *text);

/* More memory is held than should be: end this process, start another. */
bool engine_worn(const struct engine *e);
