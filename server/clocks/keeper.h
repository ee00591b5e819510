/*
 * keeper.h - keeps the clocks: after each contact the meter's model is brought
 * up to date, a correction decided, kept in the database and only then sent.
 * The newest contact of a meter counts; a round takes some hundred meters. Loop
 * thread only.
 */
#pragma once

#include "server/clocks/book.h"
#include "server/clocks/judge.h"
#include "server/store/pg.h"
#include <uv.h>

struct keeper; /* opaque */

/* What carries corrections to meters; a queue of commands may implement it. 0,
 * or an error: it did not leave (the correction stays open, and fails unless a
 * later sample shows it). */
struct correction_sender {
    void *arg;
    int (*downlink)(void *arg, const struct clock_contact *c,
                    const struct clock_answer *a, int64_t correction_id);
    /* Into the session that the meter has open; its clock is to be `shift_us`
     * ahead of ours then. */
    int (*set_clock)(void *arg, int32_t tenant, int32_t meter,
                     int64_t correction_id, int64_t shift_us);
    /* Into that session: to dial in `at_s` after each whole `window_s` of UTC.
     * (By radio a slot is a downlink as above; its id is -1.) */
    int (*set_slot)(void *arg, int32_t tenant, int32_t meter, int32_t at_s,
                    int32_t window_s);
};

struct keeper_options {
    struct pg_pool *pool;
    struct clock_book *book; /* filled; outlives us */
    const struct clock *clock;
    struct correction_sender sender;
    bool (*ours_unsure)(void *arg); /* our own clock cannot be trusted */
    void (*loaded)(void *arg);      /* the book holds all that was known */
    void *arg;
};

struct keeper *keeper_new(uv_loop_t *loop, const struct keeper_options *o);
/* The database is usable: reads all models, then `loaded`. */
void keeper_start(struct keeper *k);
bool keeper_loaded(const struct keeper *k);
/* Copies. Contacts that tell and ask nothing are ignored. */
void keeper_contact(struct keeper *k, const struct clock_contact *c);
/* Begins no round any more: before the pool is closed. */
void keeper_stop(struct keeper *k);
void keeper_free(struct keeper *k); /* no round may be under way */

struct keeper_stats {
    int64_t waiting; /* meters whose contact was not looked at yet */
    int64_t rounds, failed;
    int64_t sent, verified, lost, unsent; /* corrections */
    int64_t by_verdict[CORRECTION_REFUSED + 1];
    int64_t jumps;
    int64_t slots; /* told */
};
void keeper_stats(const struct keeper *k, struct keeper_stats *ret);
