/*
 * journal_dir.h - the directory a journal lives in, and what is found there at
 * start-up. Blocking.
 *
 *   lock                   flock'ed by the one process that may use it
 *   format                 "headend journal 1 <segment size>"
 *   number                 the journal's number in PostgreSQL, once it is set
 *   0000000000000007.seg   segments (segment.h)
 *   0000000000000003.spare released ones, for the next
 */
#pragma once

#include "ingest/journal.h"
#include "ingest/segment.h"

struct journal_dir {
    int fd, lock; /* -1: none */
    int64_t segment_size;
    int number;
};
#define JOURNAL_DIR_NONE ((struct journal_dir){.fd = -1, .lock = -1})

/* Errors as journal_open. */
int journal_dir_open(const char *path, int64_t segment_size,
                     struct journal_dir *ret);
void journal_dir_close(struct journal_dir *d);
int journal_dir_set_number(struct journal_dir *d, int number);

struct journal_tail {
    struct segment segment; /* to go on in; SEGMENT_NONE: in a new one */
    int64_t offset;         /* there */
    int64_t last_number;    /* highest in use; -1: none */
    uint32_t files, spares; /* on disk; files counts the spares too */
    struct journal_recovery found;
};
/* Finds the end, cuts a torn tail, retires segments prepared but not used. */
int journal_dir_recover(const struct journal_dir *d, struct journal_tail *ret);
