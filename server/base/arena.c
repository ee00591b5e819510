/*
 * arena.c - a bump allocator over blocks that double from 4 KiB to 1 MiB.
 * A reset keeps the largest block, so an arena that is used again and again
 * stops calling malloc. Under AddressSanitizer what is not handed out is
 * poisoned, with a gap behind each piece, so overruns are seen here too.
 */
#include "server/base/arena.h"
#include "server/base/mem.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { GAP = 16 };
#else
enum { GAP = 0 };
#endif
enum { ALIGN = 16, BLOCK_FIRST = 4096, BLOCK_MOST = 1024 * 1024 };

struct block {
    struct block *older;
    size_t cap;
    _Alignas(ALIGN) uint8_t data[];
};

struct arena {
    uint8_t *at, *end; /* free part of the newest block */
    size_t used, limit;
    struct block *newest;
};

struct arena *arena_new(size_t limit)
{
    struct arena *a = mem_alloc(sizeof *a);

    a->limit = limit && limit < PTRDIFF_MAX ? limit : PTRDIFF_MAX;
    return a;
}

static void free_blocks(struct block *b)
{
    while (b) {
        struct block *older = b->older;

        free(b);
        b = older;
    }
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    free_blocks(a->newest);
    free(a);
}

static void use_block(struct arena *a, struct block *b)
{
    a->newest = b;
    a->at = b->data;
    a->end = b->data + b->cap;
    ASAN_POISON_MEMORY_REGION(b->data, b->cap);
}

void arena_reset(struct arena *a)
{
    struct block **largest = &a->newest, *keep;

    a->used = 0;
    if (!a->newest)
        return;
    for (struct block **b = &a->newest; *b; b = &(*b)->older)
        if ((*b)->cap > (*largest)->cap)
            largest = b;
    keep = *largest;
    *largest = keep->older;
    free_blocks(a->newest);
    keep->older = NULL;
    use_block(a, keep);
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

/* A block that holds at least `size`, and no more than the limit allows. */
static void add_block(struct arena *a, size_t size)
{
    size_t left = a->limit - a->used;
    size_t cap = a->newest ? 2 * a->newest->cap : BLOCK_FIRST;
    struct block *b;

    if (cap > BLOCK_MOST)
        cap = BLOCK_MOST;
    if (cap > left)
        cap = left;
    if (cap < size)
        cap = size;
    b = mem_grow(NULL, 1, sizeof *b + cap);
    *b = (struct block){a->newest, cap};
    use_block(a, b);
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t n = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    uint8_t *p;

    if (n < size || n > a->limit - a->used)
        return NULL;
    if ((size_t)(a->end - a->at) < n + GAP)
        add_block(a, n + GAP);
    p = a->at;
    a->at += n + GAP;
    a->used += n;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return memset(p, 0, size);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

    if (!p)
        return (struct str){0};
    if (s.n)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    struct str s = {0};
    char *p = NULL;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    if (n >= 0)
        p = arena_alloc(a, (size_t)n + 1);
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        s = (struct str){p, (size_t)n};
    }
    va_end(again);
    va_end(args);
    return s;
}
