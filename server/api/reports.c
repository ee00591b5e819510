/*
 * reports.c - what a tenant's own systems pull: reports, their runs, what is in
 * them (server/report makes them).
 *   content -> about -> chunk, chunk ... (each when the client has room)
 */
#include "server/api/call.h"
#include "timesvc/cron.h"

#include <inttypes.h>
#include <stdio.h>

/* The grammar of schedules is C (timesvc/cron.h). */
static void put(struct call *c)
{
    const struct json *schedule = json_get(c->body, "schedule");
    struct cron ignored;
    struct cron_error why;

    if (schedule && schedule->type == JSON_STRING &&
        cron_parse(schedule->text, 0, &ignored, &why) < 0)
        http_problem(c->r, 422, "schedule", "At character %zu: %s.", why.at + 1,
                     why.text);
    else
        call_write(c, c->binding->direct, c->binding->once, c->body_text.p);
}

/* ---- content ---- */

enum { ABOUT_STATE, ABOUT_FORMAT, ABOUT_CHUNKS, ABOUT_GONE };

struct content {
    struct call *call;
    struct str state;
    bool csv, gone, waiting;
    int64_t next, chunks;
    size_t queued;
};

static void chunk_ask(struct content *t);

static void content_end(struct content *t, bool whole)
{
    t->waiting = false;
    http_stream_end(t->call->r, whole);
}

static void on_drain(void *arg)
{
    struct content *t = arg;

    if (t->waiting)
        chunk_ask(t);
}

static void on_close(void *arg)
{
    struct content *t = arg;

    if (t->waiting)
        content_end(t, false);
}

static void chunk_row(void *arg, const PGresult *res, int row)
{
    struct content *t = arg;

    t->next++;
    t->queued = http_stream_write(t->call->r, column_str(res, row, 0));
}

static void chunk_done(void *arg, const struct pg_outcome *o)
{
    struct content *t = arg;

    if (o->err < 0 || o->rows == 0 || http_gone(t->call->r))
        content_end(t, false); /* half of it is not taken for all */
    else if (t->next == t->chunks)
        content_end(t, true);
    else if (t->queued > HTTP_STREAM_HIGH)
        t->waiting = true;
    else
        chunk_ask(t);
}

static void ask(struct content *t, const char *sql, const char *chunk,
                pg_row_fn *row, pg_done_fn *done)
{
    struct call *c = t->call;
    const struct pg_actor actor = call_actor(c);
    char tenant[16];
    const struct pg_call call = {.tenant_id = c->tenant_id,
                                 .actor = &actor,
                                 .sql = sql,
                                 .n = chunk ? 3 : 2,
                                 .values = {tenant, c->values[0], chunk},
                                 .row = row,
                                 .done = done,
                                 .arg = t};

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0 && chunk)
        content_end(t, false);
    else if (r < 0)
        call_failed(c, r, NULL);
}

static void chunk_ask(struct content *t)
{
    char chunk[24];

    t->waiting = false;
    snprintf(chunk, sizeof chunk, "%" PRId64, t->next);
    ask(t,
        "SELECT body FROM report_content WHERE tenant_id = $1::int"
        " AND run_id = $2::bigint AND chunk = $3::int",
        chunk, chunk_row, chunk_done);
}

static void content_begin(struct content *t)
{
    struct call *c = t->call;
    const char *ending = t->csv ? "csv" : "jsonl";
    char name[96];

    snprintf(name, sizeof name, "attachment; filename=\"report-run-%s.%s\"",
             c->values[0], ending);
    http_set_header(c->r, "Content-Disposition", name);
    http_stream_begin(c->r, 200,
                      t->csv ? "text/csv; charset=utf-8; header=present"
                             : "application/x-ndjson",
                      on_drain, on_close, t);
    if (t->chunks)
        chunk_ask(t);
    else
        content_end(t, true);
}

static void about_row(void *arg, const PGresult *res, int row)
{
    struct content *t = arg;
    struct call *c = t->call;

    t->state = arena_str(http_arena(c->r), column_str(res, row, ABOUT_STATE));
    t->csv = str_is(column_str(res, row, ABOUT_FORMAT), "csv");
    t->chunks = column_int(res, row, ABOUT_CHUNKS, 0);
    t->gone = str_is(column_str(res, row, ABOUT_GONE), "t");
}

static void about_done(void *arg, const struct pg_outcome *o)
{
    struct content *t = arg;
    struct http_request *r = t->call->r;

    if (o->err < 0) {
        call_failed(t->call, o->err, o);
    } else if (!t->state.p) {
        call_none(t->call);
    } else if (t->gone) {
        http_problem(r, 410, NULL,
                     "Its content was kept for as long as the"
                     " report says (keep_days).");
    } else if (str_is(t->state, "done")) {
        content_begin(t);
    } else if (str_is(t->state, "failed")) {
        http_problem(r, 409, NULL, "The run failed: it has no content.");
    } else {
        http_set_header(r, "Retry-After", "2");
        http_problem(r, 409, NULL, "The run is %.*s: it has no content yet.",
                     STR_ARGS(t->state));
    }
}

static void content(struct call *c)
{
    struct content *t = arena_alloc(http_arena(c->r), sizeof *t);

    *t = (struct content){.call = c};
    ask(t,
        "SELECT state, spec ->> 'format', chunks, kept_until < now()"
        " FROM report_run WHERE tenant_id = $1::int AND run_id = $2::bigint",
        NULL, about_row, about_done);
}

/* ---- the rows ---- */

#define ID(what, most)                                                         \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = (most), .help = what        \
    }
#define ID_REPORT ID("report_id", INT32_MAX)
#define ID_RUN    ID("run_id", INT64_MAX)
#define REPORT                                                                 \
    {"covers", IN_BODY, FIELD_TEXT, .one_of = "hour|day|month",                \
     .help = "Sums and missing: of the last closed one (day), in the "         \
             "tenant's zone. Readings and events are those that came since "   \
             "the run before."},                                               \
        {"by", IN_BODY, FIELD_TEXT, .one_of = "hour|day|month",                \
         .help = "Sums: of each of these."},                                   \
        {"group_id",                                                           \
         IN_BODY,                                                              \
         FIELD_INT,                                                            \
         .nullable = true,                                                     \
         .min = 1,                                                             \
         .max = INT32_MAX,                                                     \
         .help = "Only meters of this group; null: all."},                     \
        {"registers", IN_BODY, FIELD_WORDS, .max = 100,                        \
         .help = "Only these OBIS codes; none: all."},                         \
        {"format", IN_BODY, FIELD_TEXT, .one_of = "csv|jsonl",                 \
         .help = "CSV, or a JSON object a line."},                             \
        {"separator", IN_BODY,  FIELD_TEXT,                                    \
         .min = 1,    .max = 1, .help = "Of CSV fields: , ; | or a tab."},     \
        {"decimal", IN_BODY,  FIELD_TEXT,                                      \
         .min = 1,  .max = 1, .help = "Of CSV values: . or a comma."},         \
        {"schedule",                                                           \
         IN_BODY,                                                              \
         FIELD_TEXT,                                                           \
         .nullable = true,                                                     \
         .min = 1,                                                             \
         .max = CRON_TEXT,                                                     \
         .help = "Minute hour day month weekday, in the tenant's zone, such "  \
                 "as 5 0 * * *; null: on demand."},                            \
        {"enabled", IN_BODY, FIELD_BOOL,                                       \
         .help = "Whether its schedule counts."},                              \
        {"keep_days", IN_BODY,                                                 \
         FIELD_INT,   .min = 1,                                                \
         .max = 3660, .help = "How long the content of a run is kept (30)."},  \
    {                                                                          \
        0                                                                      \
    }

static const struct field report_id[] = {ID_REPORT, {0}};
static const struct field run_id[] = {ID_RUN, {0}};
static const struct field report_add[] = {
    {"name", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 100,
     .help = "Its name, once a tenant."},
    {"holds", IN_BODY, FIELD_TEXT, true,
     .one_of = "readings|sums|events|missing",
     .help = "What it holds; missing: meters without a reading."},
    REPORT};
static const struct field report_change[] = {
    ID_REPORT,
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {"name", IN_BODY, FIELD_TEXT, .min = 1, .max = 100,
     .help = "Its name, once a tenant."},
    REPORT};
static const struct field run_add[] = {
    ID_REPORT,
    {"from", IN_BODY, FIELD_TIME, .help = "Of this time, whenever it came ..."},
    {"to", IN_BODY, FIELD_TIME, .help = "... up to here, exclusive."},
    {"test", IN_BODY, FIELD_BOOL,
     .help = "What the next run would hold; that one holds it again."},
    {0}};
static const struct field run_list[] = {ID_REPORT,
                                        {"state", IN_QUERY, FIELD_TEXT,
                                         .one_of = "queued|running|done|failed",
                                         .help = "Only these."},
                                        {0}};

const struct endpoint report_endpoints[] = {
    {"GET", "/api/v1/reports", RIGHT_EXPORT, 0, "reports_list",
     "Reports, by report_id.", .list = "reports",
     .sql = "SELECT report_json(r), r.report_id, '' FROM report r"
            " WHERE r.tenant_id = $1::int AND r.report_id >"
            " coalesce($2::bigint, 0) AND ($3::text IS NULL OR true)"
            " ORDER BY r.report_id LIMIT $4::int",
     .answer = "report"},
    {"GET", "/api/v1/reports/{id}", RIGHT_EXPORT, 0, "report_get",
     "One of them.", report_id,
     .sql = "SELECT report_json(r) FROM report r"
            " WHERE r.tenant_id = $1::int AND r.report_id = $2::int",
     .answer = "report"},
    {"POST", "/api/v1/reports", RIGHT_EXPORT, 0, "report_add",
     "A new report, of what comes from now on.", report_add, .serve = put,
     .call = "report_put($1, $2, NULL)", .status = 201, .answer = "report"},
    {"PATCH", "/api/v1/reports/{id}", RIGHT_EXPORT, 0, "report_change",
     "Changes a report; its next run begins where the last one ended.",
     report_change, .serve = put, .call = "report_put($1, $2, $3::int)",
     .answer = "report"},
    {"DELETE", "/api/v1/reports/{id}", RIGHT_EXPORT, 0, "report_remove",
     "Removes a report, its runs and what is in them.", report_id,
     .call = "report_remove($1, $3::int)", .status = 204},
    {"POST", "/api/v1/reports/{id}/runs", RIGHT_EXPORT, 0, "report_run_add",
     "Runs it now: as its schedule would, as a test, or of a time.", run_add,
     .call = "report_ask($1, $2, $3::int)", .status = 202,
     .answer = "report_run"},
    {"GET", "/api/v1/reports/{id}/runs", RIGHT_EXPORT, 0, "report_runs_list",
     "Its runs, newest first.", run_list, .list = "runs",
     .sql = "SELECT * FROM report_runs($1::int, $2::int, $3, $4::bigint,"
            " $6::int) WHERE $5::text IS NULL OR true",
     .answer = "report_run"},
    {"GET", "/api/v1/report-runs/{id}", RIGHT_EXPORT, 0, "report_run_get",
     "One run.", run_id,
     .sql = "SELECT report_run_json(x) FROM report_run x"
            " WHERE x.tenant_id = $1::int AND x.run_id = $2::bigint",
     .answer = "report_run"},
    {"GET", "/api/v1/report-runs/{id}/content", RIGHT_EXPORT, ENDPOINT_FILE,
     "report_run_content", "What is in it, the same however often it is asked.",
     run_id, .serve = content},
    {0}};
