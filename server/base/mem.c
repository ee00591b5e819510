/*
 * mem.c - allocation that either succeeds or ends the process (see mem.h).
 */
#include "server/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *check(void *p)
{
    static const char text[] = "headend: out of memory\n";

    if (!p) {
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size)
{
    return check(calloc(1, size ? size : 1));
}

void *mem_grow(void *p, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX)
        return check(NULL);
    return check(realloc(p, bytes ? bytes : 1));
}

char *mem_strdup(const char *z)
{
    return z ? mem_strndup(z, strlen(z)) : NULL;
}

char *mem_strndup(const char *p, size_t n)
{
    char *copy = mem_alloc(n + 1);

    if (n)
        memcpy(copy, p, n);
    return copy;
}
