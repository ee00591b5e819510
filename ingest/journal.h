/*
 * journal.h - the journal between the wire and everything after it.
 * A record whose append finished with 0 survives a crash of the process and
 * of the machine. Append, release and stats: loop thread. Reading: any thread.
 *
 * Positions are bytes since the journal began (int64, multiple of 8); record p
 * lies in segment p / segment_size. On disk: preallocated (zeroed) append-only
 * segments, recycled under a new number when released. A segment begins with
 * a header (magic, version, number, a random salt, CRC32C) and ends with a copy
 * of it; a record is length, CRC32C (over salt, position, length, bytes),
 * position XOR salt, bytes, padding to 8. Position and salt make stale records
 * of a recycled segment and forged records inside a payload visible as what
 * they are. An end mark behind what was synced tells damage from a torn tail.
 */
#pragma once

#include "server/base/buf.h"
#include "server/base/clock.h"
#include <uv.h>

struct journal; /* opaque */

struct journal_options {
    const char *dir;      /* created when missing; one process at a time */
    int64_t segment_size; /* bytes; 1 MiB .. 1 GiB, multiple of 4 KiB; fixed at
                             creation (later values are not looked at) */
    int64_t quota;        /* most bytes of segments on disk, at least two of
                             them; above: ERR_FULL */
    int sync_interval_ms; /* 0: every batch is synced before it is reported */
    const struct clock *clock;
};

/* What opening found, for one log line and the metrics. */
struct journal_recovery {
    int64_t first;      /* oldest position kept */
    int64_t end;        /* where the next record goes */
    int64_t torn_bytes; /* cut off the tail: never acknowledged */
};

/* Opens or creates; blocking, for start-up only. Cuts a torn tail (bytes after
 * the last valid record that are followed by nothing valid); a damaged stretch
 * that a record or an end mark follows stays and is met by journal_read.
 * ERR_AWAY: another process holds the lock; ERR_FORMAT: not a journal;
 * ERR_RANGE: size or quota; libuv's codes. A full disk does not keep an old
 * journal shut. */
int journal_open(uv_loop_t *loop, const struct journal_options *o,
                 struct journal **ret, struct journal_recovery *found);
/* Finishes what is under way, then closes; `done` on the loop thread. Appends
 * after it: ECANCELED. */
void journal_close(struct journal *j, void (*done)(void *arg), void *arg);

/* The number under which PostgreSQL knows this journal (frame ids carry it),
 * kept in the directory; 0 until set. Blocking; start-up only. */
int journal_number(const struct journal *j);
int journal_set_number(struct journal *j, int number); /* 1..32767 */

/* Copies the record (1 byte .. 512 KiB, else ERR_RANGE). On 0, `done` runs
 * exactly once, later, on the loop thread, with 0 when the record is durable,
 * else the error (ENOSPC, EIO ...: the record may or may not survive; do not
 * acknowledge). All appends of one loop turn, and all that arrive while a sync
 * is under way, share one write and one fdatasync. ERR_FULL: quota or 64 MiB of
 * unsynced memory; slow the sender down. After an I/O error the journal tries
 * again with the next append, in a fresh segment. */
typedef void journal_done_fn(void *arg, int err);
int journal_append(struct journal *j, struct str record, journal_done_fn *done,
                   void *arg);

int64_t journal_first(const struct journal *j); /* oldest position kept */
int64_t journal_end(const struct journal *j);   /* durable end */
const struct clock *journal_clock(const struct journal *j); /* the options' */
/* Called on the loop thread whenever the durable end has moved. */
void journal_on_durable(struct journal *j, void (*fn)(void *arg), void *arg);

/* Everything before `position` is stored elsewhere: its segments may go. Call
 * it with the stored cursor before the first append: if that is beyond the end
 * (the tail was lost with the disk, or with the machine in interval mode), the
 * journal goes on behind it, so that no position is ever used twice. */
void journal_release(struct journal *j, int64_t position);

struct journal_record {
    int64_t position;
    struct str bytes; /* into journal_chunk.data */
    bool damaged;     /* a stretch that no checksum vouches for, as it lies on
                         the disk (at most 64 KiB of it; `skipped` is its whole
                         length) */
    int64_t skipped;
};
struct journal_chunk {
    struct buf data;
    struct journal_record *records;
    uint32_t n, cap;
    int64_t next; /* where to go on */
};

/* Reads records of [from, until) up to about max_bytes or max_records, at
 * least one if there is any. `until` is journal_end() as the loop thread saw
 * it. Never fails for damage (see above); libuv's codes when a file cannot be
 * read. Safe on pool threads beside appends; not beside a release of the same
 * segments. The chunk is reused; end with journal_chunk_done. */
int journal_read(const struct journal *j, int64_t from, int64_t until,
                 size_t max_bytes, uint32_t max_records,
                 struct journal_chunk *chunk);
void journal_chunk_done(struct journal_chunk *chunk);

struct journal_stats {
    int64_t appended, appended_bytes, syncs, sync_us, errors, bytes_on_disk;
    int64_t waiting; /* records appended and not yet durable */
    bool full;       /* over quota now; the log says when it begins and ends */
};
void journal_stats(const struct journal *j, struct journal_stats *ret);
