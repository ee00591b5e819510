/*
 * fail.c - a library for LD_PRELOAD: makes calls of headend fail, or end it,
 * when a control file says so. File calls fail only on files of a journal
 * and on its folder (their path holds CHAOS_PATH), connect() everywhere. The
 * control file (CHAOS_CONTROL) is shared memory: one struct rule for each call,
 * written by faults.py, then a step of the wall clock. Promises: without a rule
 * every call is passed on unchanged; counters are exact among threads and
 * processes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Order and values are known to faults.py. */
enum call { WRITE, PWRITE, FDATASYNC, FSYNC, FALLOCATE, CONNECT, CALLS };
enum {
    HALF = -1,       /* half of it is written; says so */
    DIE_BEFORE = -2, /* SIGKILL instead of the call */
    DIE_TORN = -3,   /* half of it is written, then SIGKILL */
    DIE_AFTER = -4,  /* SIGKILL after the call */
};

struct rule {
    _Atomic int32_t skip;  /* calls that are let through first */
    _Atomic int32_t times; /* then so many are hit */
    _Atomic int32_t what;  /* an errno, or one of the above */
    _Atomic int32_t hits;
};

struct control {
    struct rule rules[CALLS];
    _Atomic int64_t clock_step_ns;
};

static struct control *control;
static const char *path_part;

static void __attribute__((constructor)) begin(void)
{
    const char *name = getenv("CHAOS_CONTROL");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED
                     : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE,
                            MAP_SHARED, fd, 0);

    path_part = getenv("CHAOS_PATH");
    if (fd >= 0)
        close(fd);
    if (p != MAP_FAILED)
        control = p;
}

static bool is_journal(int fd)
{
    char link[32], path[4096];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0 || !path_part)
        return false;
    path[n] = 0;
    return strstr(path, path_part) != NULL;
}

/* What this call is to suffer; 0: nothing. */
static int suffers(enum call c, int fd)
{
    struct rule *r = control ? &control->rules[c] : NULL;

    if (!r || r->times <= 0 || (c != CONNECT && !is_journal(fd)))
        return 0;
    if (atomic_fetch_sub(&r->skip, 1) > 0)
        return 0;
    if (atomic_fetch_sub(&r->times, 1) <= 0)
        return 0;
    r->hits++;
    return r->what;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    pause();
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* RESULT is what the call yields when it is let through. */
#define GUARD(call, fd, RESULT)                                                \
    int what = suffers(call, fd);                                              \
    if (what > 0) {                                                            \
        errno = what;                                                          \
        return -1;                                                             \
    }                                                                          \
    if (what == DIE_BEFORE || (what == DIE_TORN && (call) >= FDATASYNC))       \
        die();                                                                 \
    __typeof__(RESULT) result = (RESULT);                                      \
    if (what == DIE_AFTER || what == DIE_TORN)                                 \
        die();                                                                 \
    return result

static size_t part(int what, size_t n)
{
    return what == HALF || what == DIE_TORN ? n / 2 : n;
}

ssize_t write(int fd, const void *p, size_t n)
{
    GUARD(WRITE, fd, NEXT(write)(fd, p, part(what, n)));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    GUARD(PWRITE, fd, NEXT(pwrite)(fd, p, part(what, n), at));
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    GUARD(PWRITE, fd, NEXT(pwrite64)(fd, p, part(what, n), at));
}

int fdatasync(int fd)
{
    GUARD(FDATASYNC, fd, NEXT(fdatasync)(fd));
}

int fsync(int fd)
{
    GUARD(FSYNC, fd, NEXT(fsync)(fd));
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    GUARD(FALLOCATE, fd, NEXT(fallocate)(fd, mode, at, n));
}

int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
    GUARD(FALLOCATE, fd, NEXT(fallocate64)(fd, mode, at, n));
}

int connect(int fd, const struct sockaddr *to, socklen_t n)
{
    GUARD(CONNECT, fd, NEXT(connect)(fd, to, n));
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static const int64_t second = 1000000000;
    int r = NEXT(clock_gettime)(id, t);

    if (r == 0 && control &&
        (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = t->tv_sec * second + t->tv_nsec + control->clock_step_ns;
        t->tv_sec = ns / second;
        t->tv_nsec = ns % second;
    }
    return r;
}
