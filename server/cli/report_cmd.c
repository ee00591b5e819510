/*
 * report_cmd.c - headend report add | list | run | show | download. A running
 * server makes what is asked for.
 */
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "timesvc/cron.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_arg report_add_args[] = {
    {"tenant", "NAME", true, "whose it is"},
    {"name", "NAME", true, "its name inside the tenant"},
    {"holds", "WHAT", true,
     "readings | events, that came since the run before; sums | missing"
     " (meters without a reading), of the last closed hour, day or month"},
    {"covers", "PERIOD", false, "sums, missing: hour | day (default) | month"},
    {"by", "PERIOD", false, "sums: of each hour | day | month (as --covers)"},
    {"group", "ID", false, "only meters of this group"},
    {"registers", "OBIS,...", false, "only these, such as 6-0:1.0.0"},
    {"format", "FORMAT", false, "csv (default) | jsonl"},
    {"separator", "C", false, "of CSV fields: , (default) ; | or tab"},
    {"decimal", "C", false, "of CSV values: . (default) or ,"},
    {"schedule", "CRON", false,
     "minute hour day month weekday, in the tenant's zone; none: on demand"},
    {"keep-days", "N", false, "how long what it held is kept (30)"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg report_list_args[] = {
    {"tenant", "NAME", false, "one tenant instead of all"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg report_run_args[] = {
    {"from", "TIME", false, "of this time, whenever it came ..."},
    {"to", "TIME", false, "... up to here, exclusive"},
    {"test", NULL, false, "the next run holds the same again"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg report_show_args[] = {{"json", NULL, false, "print JSON"},
                                           {0}};
const struct cli_arg report_download_args[] = {
    {"out", "FILE", false, "instead of standard output"}, {0}};

/* One row, its first column JSON, its second what a person is told. */
static int tell(PGresult *r, bool json, const char *none)
{
    bool found = r && PQntuples(r) == 1;

    if (found)
        puts(PQgetvalue(r, 0, json ? 0 : 1));
    else if (r)
        cli_fail("%s", none);
    PQclear(r);
    return found ? 0 : 1;
}

static int schedule_check(const char *text)
{
    struct cron ignored;
    struct cron_error why;

    if (text && cron_parse(str_of(text), 0, &ignored, &why) < 0)
        return cli_fail("--schedule, at character %zu: %s", why.at + 1,
                        why.text);
    return 0;
}

int cmd_report_add(struct cli *c)
{
    static const char sql[] =
        "SELECT j, format('report %s is there: %s', j ->> 'report_id',"
        " j ->> 'name') FROM report_put($1::int, jsonb_strip_nulls("
        "jsonb_build_object('name', $2::text, 'holds', $3::text, 'covers',"
        " $4::text, 'by', $5::text, 'group_id', $6::int, 'registers',"
        " to_jsonb(string_to_array($7, ',')), 'format', $8::text, 'separator',"
        " CASE $9 WHEN 'tab' THEN E'\\t' ELSE $9 END, 'decimal', $10::text,"
        " 'schedule', $11::text, 'keep_days', $12::int)), NULL) j";
    static const char *const names[] = {
        "name",   "holds",     "covers",  "by",       "group",    "registers",
        "format", "separator", "decimal", "schedule", "keep-days"};
    const struct cli_arg *a = report_add_args;
    enum { NAMES = sizeof names / sizeof *names };
    const char *values[1 + NAMES];
    char id[16];

    if (schedule_check(cli_get(c, a, "schedule")) != 0)
        return 1;
    PGconn *pq = db_open(c, DB_SERVER);
    int32_t tenant = pq ? db_tenant_named(pq, cli_get(c, a, "tenant")) : -1;
    snprintf(id, sizeof id, "%d", tenant);
    values[0] = id;
    for (size_t i = 0; i < NAMES; i++)
        values[1 + i] = cli_get(c, a, names[i]);
    int status = tenant < 0
                     ? 1
                     : tell(db_query(pq, sql, 1 + NAMES, values),
                            cli_get(c, a, "json") != NULL, "it was not made");
    PQfinish(pq);
    return status;
}

/* A connection that sees all tenants: ids of reports and runs are of none. */
static PGconn *open_all(const struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);

    if (pq && db_all(pq) == 0)
        return pq;
    PQfinish(pq);
    return NULL;
}

static int print_rows(const struct cli *c, const char *sql, int n,
                      const char *const *values, bool json, const char *name)
{
    PGconn *pq = open_all(c);
    PGresult *r = pq ? db_query(pq, sql, n, values) : NULL;

    if (r && json)
        table_json(r, name);
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

int cmd_report_list(struct cli *c)
{
    static const char sql[] =
        "SELECT t.name AS tenant, r.report_id, r.name, r.holds, r.covers,"
        " r.schedule, r.enabled, s.due_at AS next_at,"
        " (SELECT x.state FROM report_run x WHERE x.tenant_id = r.tenant_id"
        "  AND x.report_id = r.report_id ORDER BY x.run_id DESC LIMIT 1)"
        " AS last_run FROM report r JOIN report_state s USING (tenant_id,"
        " report_id) JOIN tenant t USING (tenant_id) WHERE $1::text IS NULL"
        " OR t.name = $1 ORDER BY t.name, r.report_id";
    const char *values[1] = {cli_get(c, report_list_args, "tenant")};

    return print_rows(c, sql, 1, values,
                      cli_get(c, report_list_args, "json") != NULL, "reports");
}

int cmd_report_show(struct cli *c)
{
    static const char sql[] =
        "SELECT x.run_id, x.state, x.due_at, x.made_by, x.test, x.from_at,"
        " x.to_at, x.rows, x.bytes, x.finished_at, x.kept_until, x.error"
        " FROM report_run x WHERE x.report_id = $1::int"
        " ORDER BY x.run_id DESC LIMIT 50";

    return print_rows(c, sql, 1, c->free,
                      cli_get(c, report_show_args, "json") != NULL, "runs");
}

int cmd_report_run(struct cli *c)
{
    static const char sql[] =
        "SELECT j, format('run %s waits for a running server', j ->> 'run_id')"
        " FROM report r CROSS JOIN LATERAL report_ask(r.tenant_id,"
        " jsonb_strip_nulls(jsonb_build_object('from', $2::text, 'to',"
        " $3::text, 'test', $4::boolean)), r.report_id) j"
        " WHERE r.report_id = $1::int";
    const struct cli_arg *a = report_run_args;
    const char *values[4] = {c->free[0], cli_get(c, a, "from"),
                             cli_get(c, a, "to"),
                             cli_get(c, a, "test") ? "t" : NULL};
    PGconn *pq = open_all(c);
    int status =
        pq ? tell(db_query(pq, sql, 4, values), cli_get(c, a, "json") != NULL,
                  "no such report; `headend report list` shows them")
           : 1;

    PQfinish(pq);
    return status;
}

/* Chunk by chunk: as much memory as one takes. */
static int copy_chunks(PGconn *pq, const char *run, int chunks, FILE *out)
{
    static const char sql[] = "SELECT body FROM report_content"
                              " WHERE run_id = $1::bigint AND chunk = $2::int";
    char chunk[16];
    const char *values[2] = {run, chunk};

    for (int i = 0; i < chunks; i++) {
        snprintf(chunk, sizeof chunk, "%d", i);
        PGresult *r = db_query(pq, sql, 2, values);
        bool found = r && PQntuples(r) == 1;
        size_t n = found ? (size_t)PQgetlength(r, 0, 0) : 0;
        bool written = found && fwrite(PQgetvalue(r, 0, 0), 1, n, out) == n;
        PQclear(r);
        if (!found)
            return cli_fail("run %s: its content was kept for as long as the"
                            " report says",
                            run);
        if (!written)
            return cli_fail("cannot write: %s", strerror(errno));
    }
    return 0;
}

int cmd_report_download(struct cli *c)
{
    static const char sql[] =
        "SELECT chunks, state, coalesce(error, '') FROM report_run"
        " WHERE run_id = $1::bigint";
    const char *path = cli_get(c, report_download_args, "out");
    PGconn *pq = open_all(c);
    PGresult *r = pq ? db_query(pq, sql, 1, c->free) : NULL;
    int status = 1;

    if (r && PQntuples(r) == 0) {
        cli_fail("no run %s; `headend report show` lists them", c->free[0]);
    } else if (r && strcmp(PQgetvalue(r, 0, 1), "done") != 0) {
        cli_fail("run %s is %s: %s", c->free[0], PQgetvalue(r, 0, 1),
                 *PQgetvalue(r, 0, 2) ? PQgetvalue(r, 0, 2) : "no content yet");
    } else if (r) {
        FILE *out = path ? fopen(path, "w") : stdout;
        if (out)
            status =
                copy_chunks(pq, c->free[0], atoi(PQgetvalue(r, 0, 0)), out);
        if (!out || fflush(out) != 0 || (path && fclose(out) != 0))
            status = cli_fail("%s: %s", path ? path : "standard output",
                              strerror(errno));
    }
    PQclear(r);
    PQfinish(pq);
    return status;
}
