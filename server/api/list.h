/*
 * list.h - inside of the room: a list that is sent while it is read, in pages
 * of at most LIST_PAGE rows. Between two pages no connection of the database is
 * held, so that a slow client keeps nobody else waiting; a page is asked for
 * when the client has taken most of the one before.
 */
#pragma once

#include "server/api/call.h"

enum { LIST_PAGE = 2000, LIST_DEFAULT = 1000, LIST_MOST = 10000 };

/* Where a row stands in its list's order. */
struct list_key {
    int64_t n;
    char text[96];
};

struct list;

struct list_kind {
    const char *csv_head; /* NULL: the endpoint's `csv`, or there is none */
    /* Asks the store for at most `n` rows after l->key (if l->keyed), list_row
     * and list_done taking them. Clears l->last where fewer rows do not mean
     * the end. */
    int (*query)(struct list *l, int64_t n);
    /* Writes one row and gives its key. */
    void (*row)(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key);
    /* Writes what ends the whole list, or NULL. */
    void (*last)(struct list *l, struct buf *out);
};

struct list {
    struct call *call;
    const struct list_kind *kind;
    void *filter;    /* the kind's own */
    struct str head; /* JSON up to and with the '[' */
    struct str csv_head;
    bool csv;
    int64_t limit; /* rows for the client; 0: all */
    bool keyed;
    struct list_key key; /* the last row sent, or the client's cursor */

    int64_t sent;        /* rows, in all */
    int64_t asked, came; /* rows, of this page or the one before */
    bool last;           /* nothing follows this page if it is short */
    size_t queued;
    bool begun, more, waiting;
};

/* Reads limit, after and (where there is CSV) format and Accept. NULL: a bad
 * value was answered. */
struct list *list_new(struct call *c, const struct list_kind *kind);
/* The cursor cannot be one of this list: 400. */
void list_bad_cursor(struct call *c);
/* Asks for the next page; begins the list. */
void list_query(struct list *l);

/* For the kinds' queries. */
void list_row(void *arg, const PGresult *res, int row);
void list_done(void *arg, const struct pg_outcome *o);
