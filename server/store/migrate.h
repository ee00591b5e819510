/*
 * migrate.h - numbered SQL files, forward only, applied under an advisory lock,
 * each in its own transaction, with a checksum kept beside. Blocking: for the
 * command line, never on the loop thread.
 */
#pragma once

#include <libpq-fe.h>
#include <stdio.h>

struct migration {
    int number; /* 0 ends the list */
    const char *name;
    const char *sql;
};
extern const struct migration migrations[]; /* migrations/ *.sql, at build */

int migration_latest(void);

/* Applies what is missing and says so on `out`. Count applied; ERR_DATABASE
 * (reason on `out`), ERR_CONFLICT (an applied file was changed, or the
 * database is newer than this program). */
int migrate_run(PGconn *pq, FILE *out);
