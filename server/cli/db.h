/*
 * db.h - PostgreSQL for the subcommands that run once and end: blocking, one
 * connection, errors told to the person at the terminal.
 */
#pragma once

#include "server/base/str.h"
#include "server/cli/cli.h"
#include <stdint.h>

enum db_as { DB_SERVER, DB_ADMIN };

/* NULL after telling why. DB_SERVER works under database.role and refuses a
 * database that was not migrated. */
PGconn *db_open(const struct cli *c, enum db_as as);

/* Everything after it runs for this tenant (row-level security). */
int db_tenant(PGconn *pq, int32_t tenant_id);

/* Everything after it runs for all tenants: for those who may log in as the
 * server. -1 after telling why. */
int db_all(PGconn *pq);

/* NULL after telling why. Text parameters. */
PGresult *db_query(PGconn *pq, const char *sql, int n,
                   const char *const *values);

/* The tenant of --tenant, made the scope. -1 after telling why. */
int32_t db_tenant_named(PGconn *pq, const char *name);
