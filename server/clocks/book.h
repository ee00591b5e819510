/*
 * book.h - the models of all clocks, in memory, for the stages of the pipeline
 * (timesvc/reconcile.h): what meter_clock holds, as far as this node knows.
 * Loop thread only.
 */
#pragma once

#include "timesvc/evidence.h"

struct clock_book; /* opaque */

struct book_entry {
    struct clock_model model;
    int64_t accepted_us, interval_us;
    int64_t slot_look_us; /* no word about its slot before that */
    bool calm; /* when it was last looked at: right, and nothing under way */
};

struct clock_book *book_new(void);
void book_free(struct clock_book *b); /* NULL is fine */
/* Copies. */
void book_put(struct clock_book *b, int32_t tenant, int32_t meter,
              const struct book_entry *e);
/* false: nothing is known, *ret is as it was. `b` may be NULL. */
bool book_get(const struct clock_book *b, int32_t tenant, int32_t meter,
              struct book_entry *ret);
/* A sample that would teach nothing: less than a minute after the last one of
 * a calm clock, and it shows what was expected. `e` may be NULL. */
bool book_old_news(const struct book_entry *e, int64_t heard_us,
                   int64_t clock_us);
/* Clocks by state, at our time `now_us`; of more than forty thousand the
 * others when they were counted last, or not yet: each call goes on. */
struct book_counts {
    int64_t by_state[CLOCK_UNTRUSTED + 1];
    int64_t offset_us_worst; /* of those that are trusted, either way */
};
void book_count(struct clock_book *b, int64_t now_us, struct book_counts *ret);
