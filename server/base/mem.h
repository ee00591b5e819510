/*
 * mem.h - heap for things of bounded size. Running out of memory for those
 * ends the process: the journal makes that safe, half-done work would not be.
 * Whatever a device or a tenant can grow has a limit of its own elsewhere.
 */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t size); /* zeroed; never NULL */
/* realloc of n*size, not zeroed; never NULL */
void *mem_grow(void *p, size_t n, size_t size);
char *mem_strdup(const char *z); /* NULL in, NULL out */
char *mem_strndup(const char *p, size_t n);
