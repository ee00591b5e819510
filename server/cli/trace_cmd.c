/*
 * trace_cmd.c - headend trace: one frame from the socket to its readings. It
 * looks across tenants, so it is a tool for whoever may log in as the server.
 */
#include "schema/frame.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg trace_args[] = {{"json", NULL, false, "print JSON"}, {0}};

static const char scope_sql[] =
    "SELECT set_config('headend.tenants', (SELECT array_agg(tenant_id)::text"
    " FROM tenant_list()), false)";

static const char frame_sql[] =
    "SELECT f.tenant_id, t.name AS tenant, f.frame_id, f.received_at,"
    " f.frame_time, f.source, i.name AS integration, f.peer, f.size,"
    " m.meter_id, m.serial, m.dev_eui, f.counter, f.port, f.rssi AS rssi_dbm,"
    " round(f.snr / 10.0, 1) AS snr_db, f.fate, f.reason, f.detail, "
    "f.duplicate_of,"
    " f.codec, f.codec_version, f.extras, encode(f.payload, 'hex') AS payload"
    " FROM frame f JOIN tenant t USING (tenant_id)"
    " LEFT JOIN integration i USING (tenant_id, integration_id)"
    " LEFT JOIN meter m USING (tenant_id, meter_id) WHERE f.frame_id = $1";

static const char readings_sql[] =
    "SELECT obis AS register, time, value, unit, quality, meter_time,"
    " uncertainty_ms, revision FROM reading WHERE tenant_id = $2 AND meter_id ="
    " $3 AND frame_id = $1 ORDER BY time, obis, revision";

static const char events_sql[] =
    "SELECT time, code, severity, state, detail FROM event"
    " WHERE tenant_id = $2 AND meter_id = $3 AND frame_id = $1"
    " ORDER BY time, code";

static const char journal_sql[] =
    "SELECT journal_no, node, cursor, stored_at FROM journal"
    " WHERE journal_no = $1";

/* Fate and source are numbers in the table, words for people. */
static const char *shown(const PGresult *r, int column)
{
    const char *v = PQgetvalue(r, 0, column);
    if (strcmp(PQfname(r, column), "fate") == 0)
        return fate_name((enum fate)atoi(v));
    if (strcmp(PQfname(r, column), "source") == 0)
        return source_name((enum frame_source)atoi(v));
    return v;
}

static void print_frame(const PGresult *r)
{
    for (int k = 0; k < PQnfields(r); k++)
        if (!PQgetisnull(r, 0, k))
            printf("  %-14s %s\n", PQfname(r, k), shown(r, k));
}

static void json_frame(struct buf *o, const PGresult *r)
{
    buf_z(o, "{");
    for (int k = 0; k < PQnfields(r); k++) {
        buf_printf(o, "%s\"%s\":", k ? "," : "", PQfname(r, k));
        if (PQgetisnull(r, 0, k))
            buf_z(o, "null");
        else
            buf_json_str(o, str_of(shown(r, k)));
    }
}

static void json_rows(struct buf *o, const char *name, const PGresult *r)
{
    buf_printf(o, ",\"%s\":[", name);
    for (int i = 0; i < PQntuples(r); i++) {
        buf_z(o, i ? "," : "");
        table_json_row(o, r, i);
    }
    buf_z(o, "]");
}

static void print_rows(const char *name, const PGresult *r)
{
    printf("%s: %d\n", name, PQntuples(r));
    if (PQntuples(r))
        table_print(r);
}

static int found(struct cli *c, PGconn *pq, const PGresult *frame)
{
    const char *values[3] = {
        PQgetvalue(frame, 0, 2), PQgetvalue(frame, 0, 0),
        PQgetisnull(frame, 0, 9) ? "0" : PQgetvalue(frame, 0, 9)};
    PGresult *readings = db_query(pq, readings_sql, 3, values);
    PGresult *events = db_query(pq, events_sql, 3, values);
    int status = readings && events ? 0 : 1;

    if (status == 0 && cli_get(c, trace_args, "json")) {
        struct buf o = {0};
        json_frame(&o, frame);
        json_rows(&o, "readings", readings);
        json_rows(&o, "events", events);
        buf_z(&o, "}\n");
        fwrite(o.p, 1, o.n, stdout);
        buf_done(&o);
    } else if (status == 0) {
        long long id = atoll(values[0]);
        printf("frame: journal %d, position %lld\n", frame_journal(id),
               (long long)frame_position(id));
        print_frame(frame);
        print_rows("readings", readings);
        print_rows("events", events);
    }
    PQclear(readings);
    PQclear(events);
    return status;
}

/* Not in the database: journaled only, expired, or never there? */
static int not_found(PGconn *pq, long long id)
{
    char number[24];
    const char *values[1] = {number};
    long long position = frame_position(id);
    snprintf(number, sizeof number, "%d", frame_journal(id));
    PGresult *r = db_query(pq, journal_sql, 1, values);

    if (r && PQntuples(r) == 0)
        cli_fail("frame %lld: there is no journal %s", id, number);
    else if (r && position >= atoll(PQgetvalue(r, 0, 2)))
        cli_fail("frame %lld: pending at position %lld of journal %s (node "
                 "%s), which is stored up to %s; or it does not exist",
                 id, position, number, PQgetvalue(r, 0, 1),
                 PQgetvalue(r, 0, 2));
    else if (r)
        cli_fail("frame %lld: not stored; no such frame, or past its tenant's "
                 "retention",
                 id);
    PQclear(r);
    return 1;
}

int cmd_trace(struct cli *c)
{
    char *end;
    long long id = strtoll(c->free[0], &end, 10);
    char number[24];
    const char *values[1] = {number};

    if (*end || id <= 0)
        return cli_fail("%s: a frame id is a number, as /api/v1/frames shows",
                        c->free[0]);
    snprintf(number, sizeof number, "%lld", id);
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    int status = 1;
    PGresult *scope = db_query(pq, scope_sql, 0, NULL);
    PGresult *frame = scope ? db_query(pq, frame_sql, 1, values) : NULL;
    if (frame)
        status = PQntuples(frame) ? found(c, pq, frame) : not_found(pq, id);
    PQclear(scope);
    PQclear(frame);
    PQfinish(pq);
    return status;
}
