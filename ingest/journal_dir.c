/*
 * journal_dir.c - see journal_dir.h.
 * Promises: a directory entry is synced before anybody relies on it, and what
 * cannot be understood is never changed.
 */
#include "ingest/journal_dir.h"
#include "ingest/reader.h"
#include "server/base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOTE_MAX = 64, NUMBER_MAX = 32767 };
static const int64_t size_min = INT64_C(1) << 20, size_max = INT64_C(1) << 30;
static const int64_t size_step = 4096;

/* -- notes: one short line in a file of its own ---------------------------- */

static int note_read(int dir, const char *name, char out[NOTE_MAX])
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sys_err(errno);
    ssize_t n = read(fd, out, NOTE_MAX - 1);
    int r = n < 0 ? sys_err(errno) : 0;
    close(fd);
    out[n < 0 ? 0 : n] = '\0';
    return r;
}

/* Replaces it whole: written and synced aside, then named. */
static int note_write(int dir, const char *name, const char *text)
{
    int fd =
        openat(dir, "note.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sys_err(errno);
    ssize_t n = (ssize_t)strlen(text), r = write(fd, text, (size_t)n);
    int e = r == n ? 0 : sys_err(r < 0 ? errno : ENOSPC);
    if (e == 0 && fsync(fd) < 0)
        e = sys_err(errno);
    close(fd);
    if (e == 0 && (renameat(dir, "note.tmp", dir, name) < 0 || fsync(dir) < 0))
        e = sys_err(errno);
    if (e < 0)
        unlinkat(dir, "note.tmp", 0);
    return e;
}

/* -- opening --------------------------------------------------------------- */

static int directory_make(const char *path, int *ret)
{
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return sys_err(errno);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sys_err(errno);
    int parent =
        made ? openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int r = made && (parent < 0 || fsync(parent) < 0) ? sys_err(errno) : 0;
    if (parent >= 0)
        close(parent);
    if (r < 0)
        close(fd);
    else
        *ret = fd;
    return r;
}

static int lock_take(struct journal_dir *d)
{
    d->lock = openat(d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock < 0)
        return sys_err(errno);
    if (flock(d->lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? ERR_AWAY : sys_err(errno);
    return 0;
}

static bool size_allowed(int64_t size)
{
    return size >= size_min && size <= size_max && size % size_step == 0;
}

static int format_create(struct journal_dir *d, int64_t segment_size)
{
    struct segment_numbers list;
    char text[NOTE_MAX];
    int r = segment_list(d->fd, "seg", &list);

    if (r < 0)
        return r;
    free(list.v);
    if (list.n > 0)
        return ERR_FORMAT; /* segments of which nobody knows the size */
    if (!size_allowed(segment_size))
        return ERR_RANGE;
    snprintf(text, sizeof(text), "headend journal 1 %" PRId64 "\n",
             segment_size);
    r = note_write(d->fd, "format", text);
    if (r == 0)
        d->segment_size = segment_size;
    return r;
}

static int format_read(struct journal_dir *d, int64_t segment_size)
{
    char text[NOTE_MAX], again[NOTE_MAX];
    int64_t size = 0;
    int r = note_read(d->fd, "format", text);

    if (r == UV_ENOENT)
        return format_create(d, segment_size);
    if (r < 0)
        return r;
    if (sscanf(text, "headend journal 1 %10" SCNd64, &size) != 1 ||
        !size_allowed(size))
        return ERR_FORMAT;
    snprintf(again, sizeof(again), "headend journal 1 %" PRId64 "\n", size);
    if (strcmp(text, again) != 0)
        return ERR_FORMAT;
    d->segment_size = size;
    return 0;
}

static int number_read(struct journal_dir *d)
{
    char text[NOTE_MAX], again[NOTE_MAX];
    int r = note_read(d->fd, "number", text);

    if (r < 0)
        return r == UV_ENOENT ? 0 : r;
    long number = strtol(text, NULL, 10);
    snprintf(again, sizeof(again), "%ld\n", number);
    if (strcmp(text, again) != 0 || number < 1 || number > NUMBER_MAX)
        return ERR_FORMAT;
    d->number = (int)number;
    return 0;
}

int journal_dir_open(const char *path, int64_t segment_size,
                     struct journal_dir *ret)
{
    struct journal_dir d = JOURNAL_DIR_NONE;
    int r = directory_make(path, &d.fd);

    if (r == 0)
        r = lock_take(&d);
    if (r == 0)
        r = format_read(&d, segment_size);
    if (r == 0)
        r = number_read(&d);
    if (r < 0)
        journal_dir_close(&d);
    else
        *ret = d;
    return r;
}

void journal_dir_close(struct journal_dir *d)
{
    if (d->lock >= 0)
        close(d->lock);
    if (d->fd >= 0)
        close(d->fd);
    *d = JOURNAL_DIR_NONE;
}

int journal_dir_set_number(struct journal_dir *d, int number)
{
    char text[NOTE_MAX];

    if (number < 1 || number > NUMBER_MAX)
        return ERR_RANGE;
    snprintf(text, sizeof(text), "%d\n", number);
    int r = note_write(d->fd, "number", text);
    if (r == 0)
        d->number = number;
    return r;
}

/* -- recovery -------------------------------------------------------------- */

static int spares_count(const struct journal_dir *d, struct journal_tail *t)
{
    struct segment_numbers list;
    char name[SEGMENT_NAME];
    int r = segment_list(d->fd, "spare", &list);

    if (r < 0)
        return r;
    for (size_t i = 0; i < list.n; i++) {
        if (i < SEGMENT_SPARES)
            t->spares++;
        else
            unlinkat(d->fd, segment_name(list.v[i], "spare", name), 0);
    }
    free(list.v);
    return 0;
}

/* What was begun behind the last valid record goes. What an end mark follows
 * was synced: it stays, as damage, and the journal goes on at the mark. */
static int tail_cut(struct journal_tail *t, const struct segment_stretch *st)
{
    struct segment *s = &t->segment;
    int64_t bound = s->size - SEGMENT_HEAD, rest = t->offset;
    bool marked = st->found < bound;
    struct segment_stretch behind = *st;
    int r = 0;

    if (marked) {
        t->offset = st->found;
        rest = t->offset + RECORD_HEAD;
        r = segment_scan(s, rest, bound, &behind);
    } else {
        t->found.torn_bytes += st->claimed - t->offset;
    }
    if (r < 0 || (behind.found == bound && behind.dirty == rest && !s->cut_off))
        return r;
    r = segment_cut(s, t->offset);
    if (r == 0 && marked)
        r = segment_mark_end(s, t->offset);
    return r < 0 || !marked ? r : segment_sync(s);
}

/* Is the end in this segment? If not, it holds nothing and is retired. */
static int tail_try(const struct journal_dir *d, int64_t number,
                    struct journal_tail *t)
{
    struct segment s;
    struct segment_stretch st;
    int64_t end;
    int r = segment_open(d->fd, d->segment_size, number, true, &s);

    if (r < 0)
        return r;
    if (s.headless) { /* who knows what was in it: it stays, as damage */
        segment_close(&s);
        t->last_number = number;
        return 1;
    }
    r = reader_segment_end(d->fd, s.size, number, &end);
    if (r == 0)
        r = segment_scan(&s, end, s.size - SEGMENT_HEAD, &st);
    if (r == 0 && (end > SEGMENT_HEAD || st.found < s.size - SEGMENT_HEAD)) {
        t->segment = s;
        t->offset = end;
        t->last_number = number;
        r = tail_cut(t, &st);
        return r < 0 ? r : 1;
    }
    if (r == 0) {
        t->found.torn_bytes += st.claimed - end;
        r = segment_retire(d->fd, number, s.size, &t->spares);
    }
    segment_close(&s);
    t->last_number = number - 1;
    return r;
}

int journal_dir_recover(const struct journal_dir *d, struct journal_tail *ret)
{
    struct journal_tail t = {.segment = SEGMENT_NONE, .last_number = -1};
    struct segment_numbers list = {0};
    size_t left;
    int r;

    unlinkat(d->fd, "segment.tmp", 0);
    r = spares_count(d, &t);
    if (r == 0)
        r = segment_list(d->fd, "seg", &list);
    left = list.n;
    while (r == 0 && left > 0) {
        r = tail_try(d, list.v[left - 1], &t);
        left -= r == 0;
    }
    if (r >= 0 && fsync(d->fd) < 0)
        r = sys_err(errno);
    if (r >= 0) {
        int64_t next = (t.last_number + 1) * d->segment_size;
        t.found.end =
            t.segment.fd < 0 ? next : segment_position(&t.segment, t.offset);
        t.found.first = left > 0 ? list.v[0] * d->segment_size : next;
        t.files = (uint32_t)left + t.spares;
        *ret = t;
        r = 0;
    } else {
        segment_close(&t.segment);
    }
    free(list.v);
    return r;
}
