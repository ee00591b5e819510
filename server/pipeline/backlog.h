/*
 * backlog.h - counts what a stretch of the journal holds, per tenant, off the
 * loop: a start-up knows then how many frames are pending, and whose.
 */
#pragma once

#include "ingest/journal.h"
#include "ingest/ledger.h"

/* Reads [from, until) and books it (ledger_backlog, ledger_counted), then
 * `done`; or nothing is booked and `done` gets the error. Nothing of that
 * stretch may be released before. */
void backlog_count(uv_loop_t *loop, const struct journal *j,
                   struct ledger *books, int64_t from, int64_t until,
                   void (*done)(void *arg, int err), void *arg);
