/*
 * trace_cmd.c - headend trace: one frame from the socket to its readings, or
 * one reading back to its frames. It looks across tenants, so it is a tool for
 * whoever may log in as the server.
 */
#include "schema/frame.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg trace_args[] = {
    {"reading", NULL, false, "METER_ID REGISTER TIME instead of a frame"},
    {"json", NULL, false, "print JSON"},
    {0}};

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

/* What the frame said about the meter's clock: ahead of true time is > 0. */
static const char clock_sql[] =
    "SELECT heard_at, meter_time, extract(epoch FROM meter_time - heard_at) AS"
    " offset_s FROM clock_sample WHERE tenant_id = $2 AND meter_id = $3"
    " AND frame_id = $1";

/* All revisions, the current one first. */
static const char reading_sql[] =
    "SELECT r.frame_id, r.revision, r.value, r.unit, r.quality, r.meter_time,"
    " r.received_at, r.uncertainty_ms, v.codec, v.version AS codec_version"
    " FROM reading r JOIN codec_version v USING (codec_version_id)"
    " WHERE r.tenant_id = (SELECT tenant_id FROM meter WHERE meter_id = $1)"
    " AND r.meter_id = $1 AND r.obis = $2 AND r.time = $3"
    " ORDER BY r.quality & 512, r.revision DESC, r.received_at DESC";

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

static void print_rows(const char *name, const PGresult *r)
{
    printf("%s: %d\n", name, PQntuples(r));
    if (PQntuples(r))
        table_print(r);
}

struct traced { /* all that hangs on one frame */
    PGresult *frame, *readings, *events, *clock;
};

static void traced_clear(struct traced *t)
{
    PQclear(t->frame);
    PQclear(t->readings);
    PQclear(t->events);
    PQclear(t->clock);
}

/* false after telling why. t->frame may have no row. */
static bool follow(PGconn *pq, const char *frame_id, struct traced *t)
{
    const char *values[3] = {frame_id, NULL, "0"};

    *t = (struct traced){.frame = db_query(pq, frame_sql, 1, values)};
    if (!t->frame || PQntuples(t->frame) == 0)
        return t->frame != NULL;
    values[1] = PQgetvalue(t->frame, 0, 0);
    if (!PQgetisnull(t->frame, 0, 9))
        values[2] = PQgetvalue(t->frame, 0, 9);
    t->readings = db_query(pq, readings_sql, 3, values);
    t->events = db_query(pq, events_sql, 3, values);
    t->clock = db_query(pq, clock_sql, 3, values);
    return t->readings && t->events && t->clock;
}

static void traced_json(struct buf *o, const struct traced *t)
{
    json_frame(o, t->frame);
    buf_z(o, ",");
    table_json_rows(o, "readings", t->readings);
    buf_z(o, ",");
    table_json_rows(o, "events", t->events);
    buf_z(o, ",");
    table_json_rows(o, "clock", t->clock);
    buf_z(o, "}");
}

static void traced_print(const struct traced *t)
{
    long long id = atoll(PQgetvalue(t->frame, 0, 2));

    printf("frame: journal %d, position %lld\n", frame_journal(id),
           (long long)frame_position(id));
    print_frame(t->frame);
    print_rows("readings", t->readings);
    print_rows("events", t->events);
    print_rows("clock", t->clock);
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

static int trace_frame(PGconn *pq, const char *text, bool json)
{
    char *end;
    long long id = strtoll(text, &end, 10);
    struct traced t;
    int status = 1;

    if (*end || id <= 0)
        return cli_fail("%s: a frame id is a number, as /api/v1/frames shows",
                        text);
    bool known = follow(pq, text, &t);
    if (known && PQntuples(t.frame) == 0) {
        not_found(pq, id);
    } else if (known && json) {
        struct buf o = {0};
        traced_json(&o, &t);
        buf_z(&o, "\n");
        fwrite(o.p, 1, o.n, stdout);
        buf_done(&o);
        status = 0;
    } else if (known) {
        traced_print(&t);
        status = 0;
    }
    traced_clear(&t);
    return status;
}

/* The frames of the readings, one after the other; false after telling why. */
static bool reading_frames(PGconn *pq, const PGresult *readings,
                           struct buf *json)
{
    bool ok = true;

    for (int i = 0; ok && i < PQntuples(readings); i++) {
        struct traced t;
        const char *id = PQgetvalue(readings, i, 0);

        ok = follow(pq, id, &t);
        if (ok && PQntuples(t.frame) == 0) {
            if (!json)
                printf("frame %s: past its tenant's retention\n", id);
        } else if (ok && json) {
            buf_z(json, json->p[json->n - 1] == '[' ? "" : ",");
            traced_json(json, &t);
        } else if (ok) {
            traced_print(&t);
        }
        traced_clear(&t);
    }
    return ok;
}

static int trace_reading(PGconn *pq, const char *const *what, bool json)
{
    PGresult *r = db_query(pq, reading_sql, 3, what);
    int status = 1;

    if (r && PQntuples(r) == 0) {
        cli_fail("meter %s has no reading of %s at %s; "
                 "/api/v1/meters/%s/readings lists them",
                 what[0], what[1], what[2], what[0]);
    } else if (r && json) {
        struct buf o = {0};
        buf_z(&o, "{");
        table_json_rows(&o, "reading", r);
        buf_z(&o, ",\"frames\":[");
        status = reading_frames(pq, r, &o) ? 0 : 1;
        buf_z(&o, "]}\n");
        if (status == 0)
            fwrite(o.p, 1, o.n, stdout);
        buf_done(&o);
    } else if (r) {
        print_rows("reading, by revision", r);
        status = reading_frames(pq, r, NULL) ? 0 : 1;
    }
    PQclear(r);
    return status;
}

int cmd_trace(struct cli *c)
{
    bool reading = cli_get(c, trace_args, "reading") != NULL;
    bool json = cli_get(c, trace_args, "json") != NULL;

    if (c->n_free != (reading ? 3 : 1))
        return cli_fail("say which: FRAME, or --reading METER_ID REGISTER"
                        " TIME");
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    int status = 1;
    if (db_all(pq) == 0)
        status = reading ? trace_reading(pq, c->free, json)
                         : trace_frame(pq, c->free[0], json);
    PQfinish(pq);
    return status;
}
