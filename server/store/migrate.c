/*
 * migrate.c - brings a database to the schema of this program. 0001 makes the
 * roles as whoever connects; all later files run as headend_owner.
 */
#include "server/store/migrate.h"
#include "server/base/err.h"
#include "server/base/hash.h"
#include "server/base/hex.h"
#include "server/base/str.h"
#include <stdlib.h>

static const char lock_sql[] = "SELECT pg_advisory_lock(hashtext('headend'))";
static const char unlock_sql[] =
    "SELECT pg_advisory_unlock(hashtext('headend'))";
static const char table_sql[] =
    "SET client_min_messages = warning;"
    "CREATE TABLE IF NOT EXISTS schema_migration (number int PRIMARY KEY,"
    " name text NOT NULL, checksum text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT now());"
    "GRANT SELECT ON schema_migration TO PUBLIC";

int migration_latest(void)
{
    int latest = 0;
    for (const struct migration *m = migrations; m->number; m++)
        latest = m->number;
    return latest;
}

static int run(PGconn *pq, const char *sql, FILE *out)
{
    PGresult *r = PQexec(pq, sql);
    ExecStatusType s = PQresultStatus(r);
    int err = s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK ? 0 : ERR_DATABASE;
    if (err)
        fprintf(out, "%s", PQresultErrorMessage(r));
    PQclear(r);
    return err;
}

static void checksum(const struct migration *m, char hex[33])
{
    struct hash128 h = hash128(m->sql, strlen(m->sql));
    hex_encode(h.b, sizeof h.b, hex);
}

/* 1 applied before, 0 not yet, ERR_CONFLICT changed since. */
static int applied(PGconn *pq, const struct migration *m, FILE *out)
{
    char number[16], sum[33];
    const char *values[1] = {number};
    snprintf(number, sizeof number, "%d", m->number);
    checksum(m, sum);
    PGresult *r = PQexecParams(
        pq, "SELECT checksum FROM schema_migration WHERE number = $1", 1, NULL,
        values, NULL, NULL, 0);
    int state = PQntuples(r);
    if (PQresultStatus(r) != PGRES_TUPLES_OK) {
        fprintf(out, "%s", PQresultErrorMessage(r));
        state = ERR_DATABASE;
    } else if (state == 1 && strcmp(PQgetvalue(r, 0, 0), sum) != 0) {
        fprintf(out,
                "migration %s was applied with other content (checksum %s,"
                " this program has %s): use the program it came from\n",
                m->name, PQgetvalue(r, 0, 0), sum);
        state = ERR_CONFLICT;
    }
    PQclear(r);
    return state;
}

static int note(PGconn *pq, const struct migration *m, FILE *out)
{
    char number[16], sum[33];
    const char *values[3] = {number, m->name, sum};
    snprintf(number, sizeof number, "%d", m->number);
    checksum(m, sum);
    PGresult *r = PQexecParams(pq,
                               "INSERT INTO schema_migration (number, name,"
                               " checksum) VALUES ($1, $2, $3)",
                               3, NULL, values, NULL, NULL, 0);
    int err = PQresultStatus(r) == PGRES_COMMAND_OK ? 0 : ERR_DATABASE;
    if (err)
        fprintf(out, "%s", PQresultErrorMessage(r));
    PQclear(r);
    return err;
}

static int apply(PGconn *pq, const struct migration *m, FILE *out)
{
    int err = run(pq, "BEGIN", out);
    if (err == 0 && m->number > 1)
        err = run(pq, "SET LOCAL ROLE headend_owner", out);
    if (err == 0)
        err = run(pq, m->sql, out);
    if (err == 0)
        err = run(pq, "RESET ROLE", out);
    if (err == 0)
        err = note(pq, m, out);
    if (err == 0)
        return run(pq, "COMMIT", out);
    run(pq, "ROLLBACK", out);
    fprintf(out, "migration %s failed; nothing of it was kept\n", m->name);
    return err;
}

static int not_newer(PGconn *pq, FILE *out)
{
    PGresult *r =
        PQexec(pq, "SELECT coalesce(max(number), 0) FROM schema_migration");
    int there = PQntuples(r) == 1 ? atoi(PQgetvalue(r, 0, 0)) : 0;
    PQclear(r);
    if (there <= migration_latest())
        return 0;
    fprintf(out,
            "the database is at migration %d, this program knows %d: use a"
            " newer headend\n",
            there, migration_latest());
    return ERR_CONFLICT;
}

int migrate_run(PGconn *pq, FILE *out)
{
    int count = 0;
    int err = run(pq, lock_sql, out);
    if (err == 0)
        err = run(pq, table_sql, out);
    if (err == 0)
        err = not_newer(pq, out);
    for (const struct migration *m = migrations; err == 0 && m->number; m++) {
        int state = applied(pq, m, out);
        if (state != 0) {
            err = state < 0 ? state : 0;
            continue;
        }
        err = apply(pq, m, out);
        if (err == 0)
            fprintf(out, "applied %s\n", m->name);
        count += err == 0;
    }
    run(pq, unlock_sql, out);
    return err < 0 ? err : count;
}
