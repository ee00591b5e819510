/*
 * arena.h - memory with the life of a thing (a frame, a request, a batch):
 * many allocations, one end. Not thread-safe; one owner at a time.
 */
#pragma once

#include "server/base/str.h"

struct arena; /* opaque */

/* `limit`: the most bytes it may hold; 0 means none. */
struct arena *arena_new(size_t limit);
void arena_free(struct arena *a);  /* NULL is fine */
void arena_reset(struct arena *a); /* forgets all, keeps one block */
size_t arena_used(const struct arena *a);

/* Zeroed, aligned for any type; NULL when the limit is reached. */
void *arena_alloc(struct arena *a, size_t size);

/* Copies; p is NULL when the limit is reached. NUL-terminated as a favour. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
