/*
 * visit.h - meters that want to be looked at: the newest contact of each, kept
 * with what it points to. Many wait while few are looked at, so what a look
 * finds has its own memory.
 */
#pragma once

#include "server/clocks/book.h"
#include "server/clocks/judge.h"
#include <uthash.h>

enum { VISIT_TEXT = 512 };

/* Of the round that looks at it. */
struct finding {
    struct clock_outcome outcome;
    struct slot_hand slot;
    struct book_entry kept;
};

struct visit {
    uint64_t key;
    struct clock_contact c;
    char *text; /* its topic, and its payload if it asks; NULL: neither */
    bool asks;
    struct finding *found; /* NULL: not yet */
    UT_hash_handle hh;
};

/* A uthash of them by meter; NULL is empty. */
struct visits {
    struct visit *by_meter;
};

/* A contact that asks stays until it is answered: what came after it is read
 * from the database. */
void visits_note(struct visits *v, const struct clock_contact *c, bool asks);
struct finding *visit_find(struct visit *v); /* the one it has, or a new one */
struct visit *visits_find(const struct visits *v, int32_t tenant,
                          int32_t meter);
/* Moves one over, without what was found; a newer one of that meter there stays
 * instead. */
void visits_move(struct visits *from, struct visit *one, struct visits *to);
void visits_drop(struct visits *v, struct visit *one);
void visits_clear(struct visits *v);
static inline uint32_t visits_count(const struct visits *v)
{
    return HASH_COUNT(v->by_meter);
}
