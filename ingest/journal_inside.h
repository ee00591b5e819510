/*
 * journal_inside.h - inside of journal.c and journal_room.c: the journal, and
 * what each asks of the other.
 */
#pragma once

#include "ingest/journal.h"
#include "ingest/journal_dir.h"
#include "server/base/log.h"
#include "server/loop/loop.h"

struct pending {
    journal_done_fn *done;
    void *arg;
    uint32_t space; /* its bytes in batch.data */
};

struct batch {
    struct buf data; /* records back to back */
    struct pending *list;
    uint32_t n, cap;
    uint32_t at; /* records already reported... */
    size_t sent; /* ...and their bytes */
};

struct round { /* the pool thread's while journal.busy */
    struct segment segment;
    int64_t offset;
    uint8_t *p;
    size_t n;
    uint32_t records;
    bool leave; /* the segment ends behind these records */
    bool sync;
    int64_t sync_us; /* how long that took */
};

struct preparation { /* the pool thread's while journal.preparing */
    bool use_spare;
    int64_t number;
    struct segment segment;
};

struct release {  /* the pool thread's while journal.releasing */
    int64_t upto; /* segment numbers below go */
    uint32_t spares, gone;
};

struct journal {
    uv_loop_t *loop;
    struct journal_dir dir;
    const struct clock *clock;
    int64_t quota;
    uint64_t sync_interval_ms;
    uv_idle_t turn; /* active: a flush starts when the loop comes round */
    struct ticker *sync_ticker;
    bool sync_due, unsynced; /* interval mode */

    struct batch filling, flushing;
    struct segment current, next; /* fd -1: none */
    int64_t offset;               /* next record's, in current */
    int64_t last_number;          /* of current or next */
    int64_t first, end;
    uint32_t files, spares; /* on disk; files counts all of them */
    int64_t ahead_us;       /* when the next segment may be tried again */

    /* Where the last waiting record will lie: what journal_append decides on.
     * `tail_ahead` segments behind the current one are spoken for. */
    int64_t tail_room;
    uint32_t tail_ahead;

    bool busy, preparing, releasing;
    struct round round;
    struct preparation preparation;
    struct release release;
    int64_t released; /* segment numbers below are to go */

    void (*on_durable)(void *);
    void *on_durable_arg;
    void (*closed)(void *); /* set: closing */
    void *closed_arg;
    struct journal_stats stats;
    struct log_limit complaint;
};

/* journal.c */
uint32_t batch_left(const struct batch *b);
/* Reports the next `count` records of `flushing`. The callbacks may append:
 * that goes to `filling`. */
void journal_report(struct journal *j, uint32_t count, int err);
/* Called whenever something ended that may let a round begin. */
void journal_flush(struct journal *j);
/* The same when the loop comes round: all appends of one turn, from whatever
 * callback, go together. */
void journal_flush_soon(struct journal *j);
/* Counts and logs, not too often. */
void journal_complain(struct journal *j, const char *what, int err);

/* journal_room.c: takes room behind the last waiting record, exactly as the
 * rounds will; false: there is none. */
bool tail_take(struct journal *j, int64_t space);
/* Places what waits anew, after waiting records or a segment fell away. What
 * finds no room fails when its turn comes. */
void tail_reset(struct journal *j);
/* Said once each way, however many appends meet it: full is over when another
 * segment can be had, not when a record small enough for the last corner comes
 * along. */
void full_set(struct journal *j, bool full);
void full_maybe_over(struct journal *j);
/* Makes the next segment while there is still room in this one. */
void prepare_ahead(struct journal *j);
/* True when the next segment became the current one; else it is being made,
 * or there will be none and who waits for it was told. */
bool next_take(struct journal *j);
