/*
 * segment.c - one file of the journal (see segment.h for its layout).
 * Promises: never believes a byte that a checksum does not vouch for, and
 * never reports a write that is not whole.
 */
#include "ingest/segment.h"
#include "server/base/err.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "HEJSEG\r\n"; /* CR LF: shows text-mode copies */
static const uint32_t version = 1;
static const uint32_t end_length = UINT32_MAX;

enum {
    HEAD_CRC = 40, /* offset of the header's checksum */
    PAGE = 4096,
    WINDOW = 256 * 1024,          /* bytes a scan looks at in one read */
    ZERO_BLOCK = 1024 * 1024,     /* bytes zeroed in one write */
    ZERO_STRIDE = 8 * ZERO_BLOCK, /* ... and in one sync, so that the journal's
                                     own syncs do not queue behind too much */
};

static void put32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static int write_all(int fd, const uint8_t *p, size_t n, int64_t offset)
{
    while (n > 0) {
        ssize_t r = pwrite(fd, p, n, offset);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return sys_err(r < 0 ? errno : ENOSPC);
        p += r;
        n -= (size_t)r;
        offset += r;
    }
    return 0;
}

/* Bytes read, fewer at the end of the file. */
static int64_t read_all(int fd, uint8_t *p, size_t n, int64_t offset)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, p + got, n - got, offset + (int64_t)got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return sys_err(errno);
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (int64_t)got;
}

static int write_zeros(int fd, int64_t from, int64_t to)
{
    uint8_t *zeros = mem_alloc(ZERO_BLOCK);
    int64_t unsynced = 0;
    int r = 0;

    while (r == 0 && from < to) {
        int64_t n = to - from < ZERO_BLOCK ? to - from : ZERO_BLOCK;
        r = write_all(fd, zeros, (size_t)n, from);
        from += n;
        unsynced += n;
        if (r == 0 && (unsynced >= ZERO_STRIDE || from == to)) {
            r = fdatasync(fd) < 0 ? sys_err(errno) : 0;
            unsynced = 0;
        }
    }
    free(zeros);
    return r;
}

/* -- names ----------------------------------------------------------------- */

char *segment_name(int64_t number, const char *suffix, char out[SEGMENT_NAME])
{
    snprintf(out, SEGMENT_NAME, "%016" PRId64 ".%s", number, suffix);
    return out;
}

/* The number, or -1: not a name that segment_create() gives. */
static int64_t number_of(const char *name, const char *suffix)
{
    char again[SEGMENT_NAME];

    if (strspn(name, "0123456789") != 16)
        return -1;
    int64_t number = strtoll(name, NULL, 10);
    if (number > SEGMENT_NUMBER_MAX ||
        strcmp(name, segment_name(number, suffix, again)) != 0)
        return -1;
    return number;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int segment_list(int dir, const char *suffix, struct segment_numbers *ret)
{
    struct segment_numbers list = {0};
    size_t cap = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        int r = sys_err(errno);
        if (fd >= 0)
            close(fd);
        return r;
    }
    for (struct dirent *e; (e = readdir(d));) {
        int64_t number = number_of(e->d_name, suffix);
        if (number < 0)
            continue;
        if (list.n == cap) {
            cap = cap ? 2 * cap : 16;
            list.v = mem_grow(list.v, cap, sizeof(*list.v));
        }
        list.v[list.n++] = number;
    }
    closedir(d);
    if (list.n > 0)
        qsort(list.v, list.n, sizeof(*list.v), by_number);
    *ret = list;
    return 0;
}

int segment_retire(int dir, int64_t number, int64_t size, uint32_t *spares)
{
    char name[SEGMENT_NAME], spare[SEGMENT_NAME];
    struct stat st;

    segment_name(number, "seg", name);
    segment_name(number, "spare", spare);
    if (*spares < SEGMENT_SPARES && fstatat(dir, name, &st, 0) == 0 &&
        st.st_size == size && renameat(dir, name, dir, spare) == 0) {
        (*spares)++;
        return 0;
    }
    return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? sys_err(errno) : 0;
}

/* -- header ---------------------------------------------------------------- */

static void head_put(const struct segment *s, uint8_t out[SEGMENT_HEAD])
{
    memset(out, 0, SEGMENT_HEAD);
    memcpy(out, magic, sizeof(magic));
    put32(out + 8, version);
    put64(out + 16, (uint64_t)s->number);
    put64(out + 24, (uint64_t)s->size);
    put64(out + 32, s->salt);
    put32(out + HEAD_CRC, crc32c(0, out, HEAD_CRC));
}

static bool head_get(struct segment *s, int64_t offset)
{
    uint8_t in[SEGMENT_HEAD], should[SEGMENT_HEAD];

    if (segment_read(s, offset, in, sizeof(in)) < 0)
        return false;
    s->salt = get64(in + 32);
    head_put(s, should);
    return memcmp(in, should, sizeof(in)) == 0;
}

static int heads_write(const struct segment *s)
{
    uint8_t head[SEGMENT_HEAD];

    head_put(s, head);
    int r = write_all(s->fd, head, sizeof(head), 0);
    if (r == 0)
        r = write_all(s->fd, head, sizeof(head), s->size - SEGMENT_HEAD);
    return r == 0 ? segment_sync(s) : r;
}

/* -- life of a file -------------------------------------------------------- */

static const char *const temporary = "segment.tmp";

/* Gives a spare file the temporary name and opens it; -1 if there is none. */
static int spare_take(int dir, int64_t size)
{
    struct segment_numbers list = {0};
    char name[SEGMENT_NAME];
    struct stat st;
    int fd = -1;

    if (segment_list(dir, "spare", &list) < 0)
        return -1;
    if (list.n > 0 && renameat(dir, segment_name(list.v[0], "spare", name), dir,
                               temporary) == 0)
        fd = openat(dir, temporary, O_RDWR | O_CLOEXEC);
    free(list.v);
    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_size != size)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int zeroed_new(int dir, int64_t size, int *ret)
{
    int fd =
        openat(dir, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return sys_err(errno);
    /* fallocate says at once when the disk has no room for the whole. */
    int r = fallocate(fd, 0, 0, size) < 0 && errno != EOPNOTSUPP
                ? sys_err(errno)
                : write_zeros(fd, 0, size);
    if (r < 0) {
        close(fd);
        unlinkat(dir, temporary, 0);
        return r;
    }
    *ret = fd;
    return 0;
}

int segment_create(int dir, int64_t size, int64_t number, uint64_t salt,
                   bool use_spare, struct segment *ret)
{
    struct segment s = {.number = number, .size = size, .salt = salt};
    char name[SEGMENT_NAME];
    int r = 0;

    s.fd = use_spare ? spare_take(dir, size) : -1;
    if (s.fd < 0)
        r = zeroed_new(dir, size, &s.fd);
    if (r < 0)
        return r;
    r = heads_write(&s);
    segment_name(number, "seg", name);
    if (r == 0 && (renameat(dir, temporary, dir, name) < 0 || fsync(dir) < 0))
        r = sys_err(errno);
    if (r < 0) {
        segment_close(&s);
        unlinkat(dir, temporary, 0);
        unlinkat(dir, name, 0);
        return r;
    }
    *ret = s;
    return 0;
}

int segment_open(int dir, int64_t size, int64_t number, bool to_write,
                 struct segment *ret)
{
    struct segment s = {.number = number, .size = size};
    char name[SEGMENT_NAME];
    struct stat st;

    s.fd = openat(dir, segment_name(number, "seg", name),
                  (to_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (s.fd < 0)
        return sys_err(errno);
    if (fstat(s.fd, &st) < 0) {
        int r = sys_err(errno);
        close(s.fd);
        return r;
    }
    s.cut_off = st.st_size < size;
    s.headless = !head_get(&s, 0) && !head_get(&s, size - SEGMENT_HEAD);
    *ret = s;
    return 0;
}

void segment_close(struct segment *s)
{
    if (s->fd >= 0)
        close(s->fd);
    *s = SEGMENT_NONE;
}

/* -- writing --------------------------------------------------------------- */

static uint32_t record_crc(const struct segment *s, int64_t offset,
                           uint32_t length, struct str bytes)
{
    uint8_t place[20];

    put64(place, s->salt);
    put64(place + 8, (uint64_t)segment_position(s, offset));
    put32(place + 16, length);
    return crc32c(crc32c(0, place, sizeof(place)), bytes.p, bytes.n);
}

static void record_seal(const struct segment *s, int64_t offset, uint8_t *p,
                        struct str bytes)
{
    put32(p + 4, record_crc(s, offset, get32(p), bytes));
    put64(p + 8, (uint64_t)segment_position(s, offset) ^ s->salt);
}

void record_put(uint8_t *p, struct str bytes)
{
    size_t space = record_space(bytes.n);

    memset(p, 0, RECORD_HEAD);
    memset(p + space - 8, 0, 8); /* the padding */
    put32(p, (uint32_t)bytes.n);
    memcpy(p + RECORD_HEAD, bytes.p, bytes.n);
}

void segment_seal(const struct segment *s, int64_t offset, uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        struct str bytes = {(char *)p + at + RECORD_HEAD, get32(p + at)};
        record_seal(s, offset + (int64_t)at, p + at, bytes);
        at += record_space(bytes.n);
    }
}

int segment_write(const struct segment *s, int64_t offset, const uint8_t *p,
                  size_t n)
{
    return write_all(s->fd, p, n, offset);
}

int segment_mark_end(const struct segment *s, int64_t offset)
{
    uint8_t mark[RECORD_HEAD];

    put32(mark, end_length);
    record_seal(s, offset, mark, STR(""));
    return write_all(s->fd, mark, sizeof(mark), offset);
}

int segment_sync(const struct segment *s)
{
    return fdatasync(s->fd) < 0 ? sys_err(errno) : 0;
}

int segment_cut(struct segment *s, int64_t offset)
{
    int r = write_zeros(s->fd, offset, s->size);

    if (r == 0)
        r = heads_write(s);
    if (r == 0)
        s->cut_off = false;
    return r;
}

/* -- reading --------------------------------------------------------------- */

/* Page by page, so that one bad sector costs one page. */
static int read_around_errors(int fd, uint8_t *p, size_t n, int64_t offset)
{
    for (size_t at = 0; at < n;) {
        size_t page = PAGE - (size_t)((offset + (int64_t)at) % PAGE);
        if (page > n - at)
            page = n - at;
        int64_t r = read_all(fd, p + at, page, offset + (int64_t)at);
        if (r < 0 && r != UV_EIO)
            return (int)r;
        size_t got = r < 0 ? 0 : (size_t)r;
        memset(p + at + got, 0, page - got);
        at += page;
    }
    return 0;
}

int segment_read(const struct segment *s, int64_t offset, uint8_t *p, size_t n)
{
    int64_t r = read_all(s->fd, p, n, offset);

    if (r == UV_EIO)
        return read_around_errors(s->fd, p, n, offset);
    if (r < 0)
        return (int)r;
    memset(p + r, 0, n - (size_t)r);
    return 0;
}

/* Was this written as the head of a record for this very place? */
static bool head_claims(const struct segment *s, int64_t offset,
                        const uint8_t *p)
{
    return !s->headless &&
           get64(p + 8) == ((uint64_t)segment_position(s, offset) ^ s->salt);
}

enum record_state segment_check(const struct segment *s, int64_t offset,
                                int64_t bound, const uint8_t *p, size_t n,
                                struct str *bytes)
{
    int64_t room = bound - offset;

    if (room < RECORD_HEAD)
        return RECORD_BAD;
    if (n < RECORD_HEAD)
        return RECORD_PARTIAL;
    if (!head_claims(s, offset, p))
        return RECORD_BAD;

    uint32_t length = get32(p);
    bool end = length == end_length;
    struct str in = {(const char *)p + RECORD_HEAD, end ? 0 : length};
    if (!end && (length == 0 || length > RECORD_MAX ||
                 (int64_t)record_space(length) > room))
        return RECORD_BAD;
    if (n - RECORD_HEAD < in.n)
        return RECORD_PARTIAL;
    if (get32(p + 4) != record_crc(s, offset, length, in))
        return RECORD_BAD;
    if (end)
        return RECORD_END;
    *bytes = in;
    return RECORD_GOOD;
}

/* As segment_check, for a head whose record may reach out of the window. */
static enum record_state check_whole(const struct segment *s, int64_t offset,
                                     int64_t bound, const uint8_t *p, size_t n)
{
    struct str bytes;
    enum record_state state = segment_check(s, offset, bound, p, n, &bytes);

    if (state != RECORD_PARTIAL)
        return state;
    n = record_space(get32(p));
    uint8_t *whole = mem_alloc(n);
    state = segment_read(s, offset, whole, n) < 0
                ? RECORD_BAD
                : segment_check(s, offset, bound, whole, n, &bytes);
    free(whole);
    return state;
}

/* Looks at the words p[0..step) of a window of n bytes; true when a record or
 * an end mark begins there. */
static bool scan_window(const struct segment *s, int64_t at, int64_t bound,
                        const uint8_t *p, size_t n, size_t step,
                        struct segment_stretch *st)
{
    for (size_t i = 0; i + 8 <= step; i += 8) {
        int64_t here = at + (int64_t)i;
        if (i + RECORD_HEAD <= n && head_claims(s, here, p + i)) {
            enum record_state state = check_whole(s, here, bound, p + i, n - i);
            if (state == RECORD_GOOD || state == RECORD_END) {
                st->found = here;
                return true;
            }
            uint32_t length = get32(p + i);
            st->claimed = here + RECORD_HEAD +
                          (length <= RECORD_MAX ? (int64_t)length : 0);
        }
        if (get64(p + i) != 0)
            st->dirty = here + 8;
    }
    return false;
}

int segment_scan(const struct segment *s, int64_t from, int64_t bound,
                 struct segment_stretch *ret)
{
    struct segment_stretch st = {bound, from, from};
    uint8_t *p = mem_alloc(WINDOW);
    int r = 0;

    for (int64_t at = from; at + 8 <= bound;) {
        bool last = bound - at <= WINDOW;
        size_t n = last ? (size_t)(bound - at) : WINDOW;
        size_t step = last ? n : n - 8; /* a head is seen whole, or later */
        r = segment_read(s, at, p, n);
        if (r < 0 || scan_window(s, at, bound, p, n, step, &st))
            break;
        at += (int64_t)step;
    }
    if (st.claimed > st.found) /* by a broken length */
        st.claimed = st.found;
    free(p);
    if (r == 0)
        *ret = st;
    return r;
}
