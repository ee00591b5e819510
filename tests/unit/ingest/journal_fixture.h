/*
 * journal_fixture.h - a journal in a directory of its own, records that prove
 * themselves, and a disk that fails on demand: pread, pwrite, fsync and
 * fdatasync of the program are the ones below.
 */
#pragma once

#include "ingest/journal.h"
#include "ingest/segment.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB                 INT64_C(1048576)
#define assert_ok(r)        assert_string_equal(err_name(r), "ok")
#define assert_err(r, name) assert_string_equal(err_name(r), name)

/* -- the disk -------------------------------------------------------------- */

static atomic_int disk_syncs;      /* fdatasync calls */
static atomic_int disk_sync_error; /* errno of all of them; 0: they succeed */
static atomic_int disk_write_error;
static atomic_int disk_record_error; /* of writes between the headers that are
                                        shorter than a block of zeros */
static atomic_llong disk_bad_page; /* reads that touch its page: EIO; -1 none */

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t disk_let_go = PTHREAD_COND_INITIALIZER;
static bool disk_held; /* under the lock: fdatasync waits */

static inline void disk_hold(bool hold)
{
    pthread_mutex_lock(&disk_lock);
    disk_held = hold;
    pthread_cond_broadcast(&disk_let_go);
    pthread_mutex_unlock(&disk_lock);
}

int fdatasync(int fd);
int fdatasync(int fd)
{
    (void)fd;
    atomic_fetch_add(&disk_syncs, 1);
    pthread_mutex_lock(&disk_lock);
    while (disk_held)
        pthread_cond_wait(&disk_let_go, &disk_lock);
    pthread_mutex_unlock(&disk_lock);
    errno = atomic_load(&disk_sync_error);
    return errno ? -1 : 0;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    errno = atomic_load(&disk_write_error);
    if ((int64_t)n < MIB && offset >= SEGMENT_HEAD &&
        offset < MIB - SEGMENT_HEAD && errno == 0)
        errno = atomic_load(&disk_record_error);
    return errno ? -1 : syscall(SYS_pwrite64, fd, p, n, offset);
}

ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
    long long bad = atomic_load(&disk_bad_page);

    if (bad >= 0 && bad / 4096 * 4096 < offset + (long long)n &&
        offset < bad / 4096 * 4096 + 4096) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, p, n, offset);
}

/* -- the journal ----------------------------------------------------------- */

static uv_loop_t loop;
static char dir[64];
static struct journal *journal;
static struct journal_recovery found;
static struct journal_options options;

static inline void dir_clear(void)
{
    DIR *d = opendir(dir);

    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

static inline void disk_heal(void)
{
    atomic_store(&disk_sync_error, 0);
    atomic_store(&disk_write_error, 0);
    atomic_store(&disk_record_error, 0);
    atomic_store(&disk_bad_page, -1);
    disk_hold(false);
}

static inline int setup(void **state)
{
    (void)state;
    disk_heal();
    snprintf(dir, sizeof(dir), "/tmp/headend-journal-XXXXXX");
    if (!mkdtemp(dir) || uv_loop_init(&loop) < 0)
        return -1;
    options = (struct journal_options){
        .dir = dir,
        .segment_size = MIB,
        .quota = 64 * MIB,
        .clock = &clock_system,
    };
    return 0;
}

static inline int open_result(void)
{
    return journal_open(&loop, &options, &journal, &found);
}

static inline void open_journal(void)
{
    assert_ok(open_result());
}

static inline void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static inline void close_journal(void)
{
    bool closed = false;

    if (!journal)
        return;
    journal_close(journal, on_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    journal = NULL;
    assert_true(closed);
}

static inline int teardown(void **state)
{
    (void)state;
    disk_heal();
    close_journal();
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) < 0)
        return -1;
    dir_clear();
    return rmdir(dir);
}

/* -- records that prove themselves ----------------------------------------- */

static uint8_t record_bytes[RECORD_MAX + 1];

/* Number and size decide every byte. */
static inline struct str record_of(uint32_t number, size_t n)
{
    uint32_t x = number * 2654435761u + 12345;

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        record_bytes[i] = (uint8_t)(x >> 11);
    }
    if (n >= 4)
        memcpy(record_bytes, &number, 4);
    return (struct str){(char *)record_bytes, n};
}

static inline bool record_is(struct str bytes, uint32_t number, size_t n)
{
    return str_eq(bytes, record_of(number, n));
}

static inline uint32_t record_number(struct str bytes)
{
    uint32_t number = UINT32_MAX;

    if (bytes.n >= 4)
        memcpy(&number, bytes.p, 4);
    return number;
}

/* Outcomes of appends: 1 while open. */
static inline void on_done(void *arg, int err)
{
    *(int *)arg = err;
}

/* Appends one record and waits for its outcome. */
static inline int append_wait(uint32_t number, size_t n)
{
    int outcome = 1;
    int r = journal_append(journal, record_of(number, n), on_done, &outcome);

    if (r < 0)
        return r;
    while (outcome == 1)
        uv_run(&loop, UV_RUN_ONCE);
    return outcome;
}

/* -- what is read back ----------------------------------------------------- */

enum { SEEN_MAX = 100000 };
static struct seen {
    int64_t position, skipped;
    uint32_t number, n;
    bool damaged, whole;
} seen[SEEN_MAX];
static uint32_t n_seen, n_damaged;

static inline void see(const struct journal_record *r)
{
    struct seen s = {
        .position = r->position,
        .skipped = r->skipped,
        .damaged = r->damaged,
        .number = record_number(r->bytes),
        .n = (uint32_t)r->bytes.n,
    };

    s.whole = !r->damaged && record_is(r->bytes, s.number, r->bytes.n);
    n_damaged += s.damaged;
    assert_true(n_seen < SEEN_MAX);
    seen[n_seen++] = s;
}

/* Everything from `from` to the end, in chunks of about max_bytes. */
static inline void read_from(int64_t from, size_t max_bytes)
{
    struct journal_chunk chunk = {.next = from};
    int64_t until = journal_end(journal);

    n_seen = n_damaged = 0;
    while (chunk.next < until) {
        int64_t before = chunk.next;
        assert_ok(
            journal_read(journal, chunk.next, until, max_bytes, 1000, &chunk));
        assert_true(chunk.next > before && chunk.next <= until);
        assert_true(chunk.n > 0 || chunk.next == until);
        for (uint32_t i = 0; i < chunk.n; i++)
            see(&chunk.records[i]);
    }
    journal_chunk_done(&chunk);
}

/* Exactly the records of these numbers, whole, in this order, no damage. */
static inline void assert_numbers(uint32_t first, uint32_t n)
{
    read_from(journal_first(journal), 65536);
    assert_int_equal(n_damaged, 0);
    assert_int_equal(n_seen, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(seen[i].number, first + i);
        assert_true(seen[i].whole);
    }
}

/* -- files ----------------------------------------------------------------- */

static inline int segment_fd(int64_t number)
{
    char path[sizeof(dir) + SEGMENT_NAME + 1], name[SEGMENT_NAME];

    snprintf(path, sizeof(path), "%s/%s", dir,
             segment_name(number, "seg", name));
    return open(path, O_RDWR | O_CLOEXEC);
}

static inline uint8_t *segment_load(int64_t number)
{
    uint8_t *image = mem_alloc(MIB);
    int fd = segment_fd(number);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, image, MIB, 0), MIB);
    close(fd);
    return image;
}

static inline void segment_store(int64_t number, const uint8_t *image, size_t n)
{
    int fd = segment_fd(number);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, image, n, 0), n);
    close(fd);
}

static inline void segment_remove(int64_t number)
{
    char path[sizeof(dir) + SEGMENT_NAME + 1], name[SEGMENT_NAME];

    snprintf(path, sizeof(path), "%s/%s", dir,
             segment_name(number, "seg", name));
    assert_int_equal(unlink(path), 0);
}
