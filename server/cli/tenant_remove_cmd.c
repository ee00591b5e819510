/*
 * tenant_remove_cmd.c - headend tenant remove: a tenant leaves. Each step is
 * durable before the next, so that the command may be killed and called again:
 *   leave (suspended; nothing is received any more) -> export (files, their
 *   directory, then the database are told) -> keys shredded -> rows deleted,
 *   a transaction for each table or partition -> its name is free
 */
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/cli/db.h"
#include "server/store/migrate.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cli_arg tenant_remove_args[] = {
    {"yes", "NAME", true, "the name again: there is no way back"},
    {"export", "DIR", false,
     "where everything is written first, as CSV; needed until that is done"},
    {0}};

enum { TELL_S = 5 };

struct leaving {
    PGconn *pq;
    const char *name, *dir;
    char id[16];
    bool exported;
    struct buf manifest;
};

static int done(PGresult *r)
{
    PQclear(r);
    return r ? 0 : -1;
}

static int run(struct leaving *l, const char *sql)
{
    return done(db_query(l->pq, sql, 0, NULL));
}

/* For statements of which $1 is the tenant. */
static int run_for(struct leaving *l, const char *sql)
{
    const char *values[1] = {l->id};

    return done(db_query(l->pq, sql, 1, values));
}

/* ---- export ---- */

/* Durable: the file, then its name. */
static int keep(FILE *f, const char *dir)
{
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err =
        fflush(f) != 0 || fsync(fileno(f)) != 0 || at < 0 || fsync(at) != 0
            ? -errno
            : 0;

    if (at >= 0)
        close(at);
    return fclose(f) != 0 && err == 0 ? -errno : err;
}

static FILE *file_new(struct leaving *l, const char *name, const char *ending)
{
    char path[1200];

    snprintf(path, sizeof path, "%s/%s%s", l->dir, name, ending);
    int at = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = at < 0 ? NULL : fdopen(at, "w");
    if (!f)
        cli_fail("%s: %s", path, strerror(errno));
    return f;
}

/* A line every few seconds, while something takes long. */
static void tell(const char *doing, const char *name, long long rows,
                 int64_t *told_us)
{
    int64_t now = clock_mono(&clock_system);

    if (now - *told_us < TELL_S * US_PER_S)
        return;
    printf("%s %s: %lld rows\n", doing, name, rows);
    *told_us = now;
}

/* COPY's rows into the file; their count, or -1 after telling why. */
static long long copy_out(struct leaving *l, const char *name, FILE *f)
{
    char *text = NULL;
    int n;
    long long rows = -1; /* the header */
    int64_t told_us = clock_mono(&clock_system);

    while ((n = PQgetCopyData(l->pq, &text, 0)) > 0) {
        if (fwrite(text, 1, (size_t)n, f) != (size_t)n)
            rows = -1000000000000; /* fsync tells the reason */
        rows++;
        PQfreemem(text);
        if (rows % 10000 == 0)
            tell("exporting", name, rows, &told_us);
    }
    PGresult *end = PQgetResult(l->pq);
    bool ok = n == -1 && PQresultStatus(end) == PGRES_COMMAND_OK;
    if (!ok)
        cli_fail("%s", PQerrorMessage(l->pq));
    PQclear(end);
    return ok && rows >= 0 ? rows : -1;
}

/* `from` is a table or a view, `name` its file. */
static int export_one(struct leaving *l, const char *name, const char *columns,
                      const char *from)
{
    struct buf sql = {0};
    FILE *f = file_new(l, name, ".csv");
    long long rows = -1;

    if (!f)
        return -1;
    buf_printf(&sql,
               "COPY (SELECT %s FROM %s WHERE tenant_id = %s) TO STDOUT"
               " (FORMAT csv, HEADER)",
               columns, from, l->id);
    buf_u8(&sql, 0);
    PGresult *r = PQexec(l->pq, (char *)sql.p);
    if (PQresultStatus(r) == PGRES_COPY_OUT)
        rows = copy_out(l, name, f);
    else
        cli_fail("%s: %s", name, PQerrorMessage(l->pq));
    PQclear(r);
    buf_done(&sql);
    int err = keep(f, l->dir);
    if (err < 0)
        return cli_fail("%s/%s.csv: %s", l->dir, name, strerror(-err)), -1;
    buf_printf(&l->manifest, "%s\n    {\"file\": \"%s.csv\", \"rows\": %lld}",
               l->manifest.n ? "," : "", name, rows);
    if (rows > 0)
        printf("exported %s: %lld rows\n", name, rows);
    return rows < 0 ? -1 : 0;
}

static int export_tables(struct leaving *l)
{
    PGresult *r =
        db_query(l->pq,
                 "SELECT * FROM (SELECT name, tenant_export_columns(name) AS"
                 " columns FROM tenant_tables() UNION ALL SELECT 'reading', '*'"
                 " UNION ALL SELECT 'tenant', '*') x"
                 " WHERE columns IS NOT NULL ORDER BY 1",
                 0, NULL);
    int status = r ? 0 : -1;

    for (int i = 0; status == 0 && i < PQntuples(r); i++) {
        const char *name = PQgetvalue(r, i, 0);
        status = export_one(l, name, PQgetvalue(r, i, 1), name);
    }
    PQclear(r);
    return status;
}

/* People are of the platform: what this tenant knows of its own. */
static int export_people(struct leaving *l)
{
    return export_one(l, "people", "email, name, role",
                      "membership JOIN account USING (account_id)");
}

static int write_manifest(struct leaving *l)
{
    FILE *f = file_new(l, "manifest", ".json");
    char now[TIME_TEXT];

    if (!f)
        return -1;
    fprintf(f,
            "{\"tenant\": \"%s\", \"tenant_id\": %s, \"exported_at\": \"%s\","
            " \"migration\": %d,\n  \"files\": [%.*s\n  ]}\n",
            l->name, l->id, time_text(clock_utc(&clock_system), now),
            migration_latest(), STR_ARGS(buf_view(&l->manifest)));
    int err = keep(f, l->dir);
    return err < 0 ? cli_fail("%s/manifest.json: %s", l->dir, strerror(-err)),
           -1      : 0;
}

static int export_all(struct leaving *l)
{
    if (!l->dir)
        return cli_fail("--export DIR is needed: nothing has been exported "
                        "yet"),
               -1;
    if (mkdir(l->dir, 0700) != 0 && errno != EEXIST)
        return cli_fail("--export %s: %s", l->dir, strerror(errno)), -1;
    if (run(l, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") < 0 ||
        export_tables(l) < 0 || export_people(l) < 0 || run(l, "COMMIT") < 0 ||
        write_manifest(l) < 0)
        return -1;
    printf("exported to %s\n", l->dir);
    return run_for(l, "UPDATE tenant SET exported_at = now()"
                      " WHERE tenant_id = $1");
}

/* ---- forgetting ---- */

/* By partition where there are such: what is done is done. Who its people are,
 * and its trail, go in the last transaction. */
static int wipe(struct leaving *l)
{
    PGresult *r =
        db_query(l->pq,
                 "SELECT t.name, coalesce(p.inhrelid::regclass::text, t.name)"
                 " FROM tenant_tables() WITH ORDINALITY t (name, n)"
                 " LEFT JOIN pg_inherits p ON p.inhparent = t.name::regclass"
                 " WHERE t.name NOT IN ('audit_entry', 'membership', 'role')"
                 " ORDER BY t.n, p.inhrelid::regclass::text",
                 0, NULL);
    int64_t told_us = clock_mono(&clock_system);
    int n = PQntuples(r), status = r ? 0 : -1;
    long long rows = 0;

    for (int i = 0; status == 0 && i < n; i++) {
        const char *name = PQgetvalue(r, i, 0);
        const char *values[2] = {l->id, PQgetvalue(r, i, 1)};
        PGresult *w = db_query(l->pq, "SELECT tenant_wipe($1, $2)", 2, values);

        rows += w ? atoll(PQgetvalue(w, 0, 0)) : 0;
        status = done(w);
        tell("deleting", name, rows, &told_us);
        if (i + 1 < n && strcmp(name, PQgetvalue(r, i + 1, 0)) == 0)
            continue;
        if (rows > 0)
            printf("deleted %s: %lld rows\n", name, rows);
        rows = 0;
    }
    PQclear(r);
    return status;
}

static int leave(struct leaving *l)
{
    const char *values[1] = {l->name};
    PGresult *r = db_query(l->pq,
                           "SELECT t.tenant_id, t.exported_at IS NOT NULL FROM"
                           " tenant_leave($1) id JOIN tenant t ON tenant_id ="
                           " id",
                           1, values);
    bool found = r && PQntuples(r) == 1;

    if (found)
        snprintf(l->id, sizeof l->id, "%s", PQgetvalue(r, 0, 0));
    l->exported = found && *PQgetvalue(r, 0, 1) == 't';
    if (r && !found)
        cli_fail("no tenant \"%s\" that could be removed", l->name);
    PQclear(r);
    return found ? 0 : -1;
}

static int remove_tenant(struct leaving *l)
{
    if (run(l, "SET ROLE headend_owner") < 0 || leave(l) < 0)
        return -1;
    if (!l->exported && export_all(l) < 0)
        return -1;
    if (run_for(l, "SELECT tenant_wipe($1, 'secret'),"
                   " tenant_wipe($1, 'tenant_key')") < 0)
        return -1;
    printf("keys shredded: its secrets open nowhere any more\n");
    return wipe(l) < 0 ? -1 : run_for(l, "SELECT tenant_gone($1)");
}

int cmd_tenant_remove(struct cli *c)
{
    struct leaving l = {.name = c->free[0],
                        .dir = cli_get(c, tenant_remove_args, "export")};

    if (strcmp(cli_get(c, tenant_remove_args, "yes"), l.name) != 0)
        return cli_fail("--yes names another tenant than %s", l.name);
    setvbuf(stdout, NULL, _IOLBF, 0);
    l.pq = db_open(c, DB_ADMIN);
    int status = l.pq ? remove_tenant(&l) : -1;
    if (status == 0)
        printf("tenant %s removed\n", l.name);
    buf_done(&l.manifest);
    PQfinish(l.pq);
    return status < 0;
}
