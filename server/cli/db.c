/*
 * db.c - see db.h.
 */
#include "server/cli/db.h"
#include "server/store/migrate.h"
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void quiet(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static bool migrated(PGconn *pq)
{
    PGresult *r =
        PQexec(pq, "SELECT coalesce(max(number), 0) FROM schema_migration");
    int there = PQntuples(r) == 1 ? atoi(PQgetvalue(r, 0, 0)) : 0;
    PQclear(r);
    if (there == migration_latest())
        return true;
    cli_fail("the database is at migration %d, this program needs %d: run "
             "`headend migrate`",
             there, migration_latest());
    return false;
}

static bool take_role(PGconn *pq, const char *role)
{
    if (!*role || strcmp(role, PQuser(pq)) == 0)
        return true;
    char *name = PQescapeIdentifier(pq, role, strlen(role));
    char sql[160];
    snprintf(sql, sizeof sql, "SET ROLE %s", name ? name : "");
    PQfreemem(name);
    PGresult *r = PQexec(pq, sql);
    bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;
    if (!ok)
        cli_fail("cannot work as role %s: %s", role, PQerrorMessage(pq));
    PQclear(r);
    return ok;
}

/* Who acts, for the audit trail. */
static void tell_who(PGconn *pq)
{
    const struct passwd *me = getpwuid(geteuid());
    const char *values[1] = {me ? me->pw_name : "?"};

    PQclear(PQexecParams(
        pq, "SELECT set_config('headend.actor', 'command line ' || $1, false)",
        1, NULL, values, NULL, NULL, 0));
}

PGconn *db_open(const struct cli *c, enum db_as as)
{
    const char *url = c->settings.database_url;
    if (as == DB_ADMIN && *c->settings.database_admin_url)
        url = c->settings.database_admin_url;
    const char *keys[] = {"dbname", "connect_timeout", "application_name",
                          NULL};
    const char *values[] = {url, "10", "headend", NULL};
    PGconn *pq = PQconnectdbParams(keys, values, 1);

    if (PQstatus(pq) != CONNECTION_OK) {
        cli_fail("database.url %s: %s", url, PQerrorMessage(pq));
        PQfinish(pq);
        return NULL;
    }
    PQsetNoticeProcessor(pq, quiet, NULL);
    tell_who(pq);
    if (as == DB_SERVER &&
        (!migrated(pq) || !take_role(pq, c->settings.database_role))) {
        PQfinish(pq);
        return NULL;
    }
    return pq;
}

/* Row-level security hides which key was taken, so the constraint's name must
 * tell. */
static const char *taken(const PGresult *r)
{
    static const struct {
        const char *constraint, *text;
    } known[] = {
        {"integration_tenant_id_name_key",
         "the tenant has an integration of that name"},
        {"tenant_name_key", "there is a tenant of that name"},
    };
    const char *name = PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME);
    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].constraint) == 0)
            return known[i].text;
    return NULL;
}

PGresult *db_query(PGconn *pq, const char *sql, int n,
                   const char *const *values)
{
    PGresult *r = PQexecParams(pq, sql, n, NULL, values, NULL, NULL, 0);
    ExecStatusType s = PQresultStatus(r);
    if (s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK)
        return r;
    const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL);
    if (taken(r))
        cli_fail("%s", taken(r));
    else
        cli_fail("%s%s%s", primary ? primary : PQerrorMessage(pq),
                 detail ? ": " : "", detail ? detail : "");
    PQclear(r);
    return NULL;
}

int db_tenant(PGconn *pq, int32_t tenant_id)
{
    char scope[24];
    const char *values[1] = {scope};
    snprintf(scope, sizeof scope, "{%d}", tenant_id);
    PGresult *r = db_query(
        pq, "SELECT set_config('headend.tenants', $1, false)", 1, values);
    PQclear(r);
    return r ? 0 : -1;
}

int db_all(PGconn *pq)
{
    PGresult *r = db_query(pq,
                           "SELECT set_config('headend.tenants', (SELECT "
                           "array_agg(tenant_id)::text"
                           " FROM tenant_list()), false)",
                           0, NULL);
    PQclear(r);
    return r ? 0 : -1;
}

int32_t db_tenant_named(PGconn *pq, const char *name)
{
    const char *values[1] = {name};
    PGresult *r =
        db_query(pq, "SELECT tenant_id FROM tenant_find($1)", 1, values);
    int32_t id = -1;
    if (r && PQntuples(r) == 1)
        id = atoi(PQgetvalue(r, 0, 0));
    else if (r)
        cli_fail("no tenant \"%s\"; `headend tenant list` shows them", name);
    PQclear(r);
    return id >= 0 && db_tenant(pq, id) == 0 ? id : -1;
}
