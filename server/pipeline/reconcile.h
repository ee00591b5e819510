/*
 * reconcile.h - the journal against the database, once at start-up: one log
 * line says that they agree, or where they do not. Asks one bounded question;
 * nothing waits for it.
 */
#pragma once

#include "ingest/journal.h"
#include "server/store/pg.h"

/* `cursor` as the database had it, `pending` frames of the journal behind it.
 * The journal must outlive the pool. */
void reconcile_start(struct pg_pool *pool, const struct journal *j,
                     int64_t cursor, int64_t pending);
