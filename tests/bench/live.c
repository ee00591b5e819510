/*
 * live.c - for LD_PRELOAD: counts the bytes that malloc has given out, with its
 * own eight of each, in the file "$LIVE_DIR/<pid>" (int64, mapped). What of the
 * heap lies free between them is not counted: that differs from run to run.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, behind the names that are replaced here. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);

static _Atomic int64_t before; /* the file is there */
static _Atomic int64_t *live = &before;

static int64_t size_of(void *p)
{
    return p ? (int64_t)(malloc_usable_size(p) + sizeof(size_t)) : 0;
}

static void *given(void *p)
{
    atomic_fetch_add(live, size_of(p));
    return p;
}

void *malloc(size_t n)
{
    return given(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return given(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    int64_t was = size_of(p);
    void *q = __libc_realloc(p, n);

    if (q || n == 0)
        atomic_fetch_sub(live, was);
    return given(q);
}

void *memalign(size_t alignment, size_t n)
{
    return given(__libc_memalign(alignment, n));
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return memalign(alignment, n);
}

int posix_memalign(void **ret, size_t alignment, size_t n)
{
    *ret = memalign(alignment, n);
    return *ret ? 0 : 12; /* ENOMEM */
}

void free(void *p)
{
    atomic_fetch_sub(live, size_of(p));
    __libc_free(p);
}

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("LIVE_DIR");
    char path[300];
    void *map;
    int fd;

    snprintf(path, sizeof path, "%s/%d", folder ? folder : ".", (int)getpid());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof before) < 0)
        return;
    map = mmap(NULL, sizeof before, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return;
    atomic_store((_Atomic int64_t *)map, before);
    live = map;
}
