/*
 * notes.h - what happened to commands, on its way into the database: gathered,
 * written together, kept while the database is away. Loop thread only.
 */
#pragma once

#include "ingest/receipt.h"
#include "server/store/pg.h"

struct notes; /* opaque */

struct note {
    int32_t tenant_id;
    struct downlink_ref ref;
    const char *event; /* of command_after(); static */
    const char *actor; /* lives as long as the notes */
    const char *detail;
    /* May be NULL: once it is written, or cannot be written now. Later. */
    void (*done)(void *arg, int err);
    void *done_arg;
};

struct notes *notes_new(uv_loop_t *loop, struct pg_pool *pool);
/* Copies. Above some thousand the oldest are forgotten: patience ends then. */
void notes_add(struct notes *n, const struct note *note);
/* Nobody waits any more: `done` of all, and of all to come, at once. What can
 * still be written is. */
void notes_stop(struct notes *n);
void notes_free(struct notes *n); /* NULL is fine */
