/*
 * reports.c - look -> (report_due) due -> (report_tick) ticked ... ->
 * (report_take) took -> (report_step) stepped ... -> (report_yield) yielded ->
 * look. One question at a time. After some steps others have their turn, so
 * that a report of a million rows keeps out nobody. A server that dies leaves
 * a lease behind that runs out; the run goes on where its last page ended.
 */
#include "server/report/reports.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/report/plan.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LOOK_MS = 500,
    EXPIRE_MS = 3600 * 1000,
    DEADLINE_MS = 25000, /* of a step, which takes well under a second */
    TURN_STEPS = 20,
    QUEUE = 200
};
#define LEASE_S  "30" /* longer than DEADLINE_MS */
#define ATTEMPTS "5"

struct reports {
    struct reports_options o;
    struct pg_pool *pool;
    struct ticker *look, *expire;
    struct reports_stats stats;
    bool busy, stopped;
    int ticks;         /* under way */
    int32_t tenant_id; /* of the run that is made; its id: */
    char run[24], lease[40];
    int steps; /* of this turn */
    bool taken, more;
    char most[24], kept[24];
};

static void look(void *arg);
static void take(struct reports *r);
static void step(struct reports *r);

static void complain(const char *what, const struct pg_outcome *o)
{
    static struct log_limit limit;

    if (o->err == ERR_DATABASE && log_allowed(&limit))
        log_error(what, "error=%s", o->error);
}

/* ---- ticks ---- */

static int64_t column_us(const PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column)
               ? TIME_NONE
               : strtoll(PQgetvalue(res, row, column), NULL, 10);
}

static void ticked_row(void *arg, const PGresult *res, int row)
{
    struct reports *r = arg;

    r->stats.ticks += *PQgetvalue(res, row, 0) == 't';
}

static void ticked(void *arg, const struct pg_outcome *o)
{
    struct reports *r = arg;

    complain("report not planned", o);
    if (--r->ticks == 0)
        take(r);
}

/* Rows of report_due(); the ticks go out behind it on the same connection. */
static void due_row(void *arg, const PGresult *res, int row)
{
    static struct log_limit limit;
    struct reports *r = arg;
    struct plan_due d = {.tenant_id = atoi(PQgetvalue(res, row, 0)),
                         .report_id = atoll(PQgetvalue(res, row, 1)),
                         .schedule = str_of(PQgetvalue(res, row, 3)),
                         .zone = str_of(PQgetvalue(res, row, 4)),
                         .planned_us = column_us(res, row, 5),
                         .due_us = column_us(res, row, 6),
                         .now_us = column_us(res, row, 7),
                         .oldest_us = column_us(res, row, 8),
                         .hop_us = column_us(res, row, 9)};
    struct plan_tick t = {.next_us = TIME_NONE};
    int err = plan_tick(&d, &t);
    char next[24];
    const struct pg_call call = {
        .tenant_id = d.tenant_id,
        .write = true,
        .sql = "SELECT report_tick($1::int, $2::int, $3::bigint, $4,"
               " $5::bigint, $6::boolean, $7::bigint)",
        .n = 7,
        .values = {PQgetvalue(res, row, 0), PQgetvalue(res, row, 1),
                   PQgetvalue(res, row, 2), d.zone.p,
                   d.due_us == TIME_NONE ? NULL : PQgetvalue(res, row, 6),
                   t.run ? "t" : "f", t.next_us == TIME_NONE ? NULL : next},
        .row = ticked_row,
        .done = ticked,
        .arg = r};

    if (err < 0 && log_allowed(&limit))
        log_error("report's schedule cannot be read",
                  "tenant=%d report=%" PRId64 " err=%s", d.tenant_id,
                  d.report_id, err_name(err));
    snprintf(next, sizeof next, "%" PRId64, t.next_us);
    if (pg_call(r->pool, &call) == 0)
        r->ticks++;
}

static void due(void *arg, const struct pg_outcome *o)
{
    struct reports *r = arg;

    complain("reports not read", o);
    if (--r->ticks == 0)
        take(r);
}

/* ---- runs ---- */

static void rest(struct reports *r, bool again)
{
    r->busy = false;
    r->stats.running = false;
    if (again && !r->stopped)
        look(r);
}

static void took_row(void *arg, const PGresult *res, int row)
{
    struct reports *r = arg;

    r->taken = true;
    r->tenant_id = atoi(PQgetvalue(res, row, 0));
    snprintf(r->run, sizeof r->run, "%s", PQgetvalue(res, row, 1));
    snprintf(r->lease, sizeof r->lease, "%s", PQgetvalue(res, row, 2));
}

static void took(void *arg, const struct pg_outcome *o)
{
    struct reports *r = arg;

    complain("report not taken", o);
    r->steps = 0;
    if (o->err < 0 || !r->taken) {
        rest(r, false);
        return;
    }
    r->stats.running = true;
    step(r);
}

static void take(struct reports *r)
{
    const struct pg_call call = {.tenant_id = PG_NO_TENANT,
                                 .write = true,
                                 .sql = "SELECT * FROM report_take(" LEASE_S
                                        ", " ATTEMPTS ", $1::bigint)",
                                 .n = 1,
                                 .values = {r->kept},
                                 .row = took_row,
                                 .done = took,
                                 .arg = r};

    r->taken = false;
    if (r->stopped || pg_call(r->pool, &call) < 0)
        rest(r, false);
}

static void yielded(void *arg, const struct pg_outcome *o)
{
    complain("report not given back", o);
    rest(arg, o->err == 0);
}

/* What concerns the run that is made: $1 tenant, $2 run, $3 lease. */
static void ask(struct reports *r, const char *sql, const char *more,
                pg_row_fn *row, pg_done_fn *done)
{
    char tenant[16];
    const struct pg_call call = {.tenant_id = r->tenant_id,
                                 .write = true,
                                 .sql = sql,
                                 .n = more ? 4 : 3,
                                 .values = {tenant, r->run, r->lease, more},
                                 .row = row,
                                 .done = done,
                                 .arg = r};

    snprintf(tenant, sizeof tenant, "%d", r->tenant_id);
    if (r->stopped || pg_call(r->pool, &call) < 0)
        rest(r, false); /* its lease runs out */
}

static void stumbled_row(void *arg, const PGresult *res, int row)
{
    struct reports *r = arg;
    bool failed = *PQgetvalue(res, row, 0) == 't';

    r->stats.failed += failed;
    r->stats.stumbles += !failed;
}

static void stepped_row(void *arg, const PGresult *res, int row)
{
    struct reports *r = arg;
    const char *state = PQgetvalue(res, row, 0);

    r->more = strcmp(state, "running") == 0;
    if (strcmp(state, "done") == 0) {
        r->stats.done++;
        r->stats.rows += atoll(PQgetvalue(res, row, 1));
        r->stats.bytes += atoll(PQgetvalue(res, row, 2));
        log_info("report done", "tenant=%d run=%s rows=%s bytes=%s",
                 r->tenant_id, r->run, PQgetvalue(res, row, 1),
                 PQgetvalue(res, row, 2));
    } else if (!r->more) {
        r->stats.failed++;
        log_warning("report failed", "tenant=%d run=%s", r->tenant_id, r->run);
    }
}

static void stepped(void *arg, const struct pg_outcome *o)
{
    struct reports *r = arg;

    if (o->err == ERR_DATABASE) {
        log_warning("report stumbled", "tenant=%d run=%s error=%s",
                    r->tenant_id, r->run, o->error);
        ask(r,
            "SELECT report_stumbled($1::int, $2::bigint, $3::uuid, $4,"
            " " ATTEMPTS ")",
            o->error, stumbled_row, yielded);
    } else if (o->err < 0 || !r->more) {
        rest(r, o->err == 0);
    } else if (++r->steps < TURN_STEPS) {
        step(r);
    } else {
        ask(r, "SELECT report_yield($1::int, $2::bigint, $3::uuid)", NULL, NULL,
            yielded);
    }
}

static void step(struct reports *r)
{
    r->more = false;
    ask(r,
        "SELECT * FROM report_step($1::int, $2::bigint, $3::uuid, " LEASE_S
        ", $4::bigint)",
        r->most, stepped_row, stepped);
}

static void look(void *arg)
{
    struct reports *r = arg;
    const struct pg_call call = {.tenant_id = PG_NO_TENANT,
                                 .sql = "SELECT * FROM report_due()",
                                 .row = due_row,
                                 .done = due,
                                 .arg = r};

    if (r->stopped || r->busy || !pg_pool_up(r->pool))
        return;
    r->busy = pg_call(r->pool, &call) == 0;
    r->ticks = r->busy; /* the question itself is one of them */
}

/* ---- the room ---- */

static void expired(void *arg, const struct pg_outcome *o)
{
    (void)arg;
    complain("reports not cleared", o);
}

static void expire(void *arg)
{
    struct reports *r = arg;

    pg_call(r->pool, &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                       .write = true,
                                       .sql = "SELECT report_expire()",
                                       .done = expired});
}

struct reports *reports_new(const struct reports_options *o)
{
    struct reports *r = mem_alloc(sizeof *r);
    const struct pg_options po = {o->database_url, o->database_role, 1,
                                  o->connect_s,    DEADLINE_MS,      QUEUE};

    *r = (struct reports){.o = *o};
    snprintf(r->most, sizeof r->most, "%" PRId64, o->content_most);
    snprintf(r->kept, sizeof r->kept, "%" PRId64, o->kept_most);
    pg_pool_new(o->loop, &po, &r->pool);
    r->look = ticker_new(o->loop, look, r);
    r->expire = ticker_new(o->loop, expire, r);
    return r;
}

void reports_start(struct reports *r)
{
    if (r->stopped)
        return;
    ticker_start(r->look, 1, LOOK_MS);
    ticker_start(r->expire, 60 * 1000, EXPIRE_MS);
}

void reports_stop(struct reports *r, void (*done)(void *), void *arg)
{
    r->stopped = true;
    ticker_free(r->look);
    ticker_free(r->expire);
    r->look = r->expire = NULL;
    pg_pool_close(r->pool, done, arg);
}

void reports_stats(const struct reports *r, struct reports_stats *ret)
{
    *ret = r->stats;
}

void reports_free(struct reports *r)
{
    pg_pool_free(r->pool);
    free(r);
}
