/*
 * pg.c - requests wait in one line for the next idle connection of the pool.
 * A request is one libpq pipeline: scope, statement, sync - an implicit
 * transaction and one round trip. Rows come one by one (single-row mode).
 */
#include "server/store/pg.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/store/conn.h"
#include <stdio.h>
#include <stdlib.h>

/* Rows taken in one turn of the loop, so that no long answer holds it up. */
enum { TURN_ROWS = 1000 };

enum step { STEP_SCOPE, STEP_STATEMENT, STEP_SYNC };

struct pg_request {
    struct pg_pool *pool;
    struct pg_request *next; /* in line */
    struct member *member;   /* while running */
    int32_t tenant_id;
    char *actor, *address;
    uint32_t rights;
    bool write;
    const char *sql;
    int n;
    char *values[PG_PARAMS];
    pg_row_fn *row;
    pg_done_fn *done;
    void *arg;
    struct pg_outcome outcome;
};

struct member { /* one connection of the pool */
    struct pg_pool *pool;
    struct pg_conn *conn;
    struct pg_request *running;
    enum step step;
    struct ticker *deadline, *more; /* more: rows that are here already */
};

struct pg_pool {
    uv_loop_t *loop;
    struct pg_options o;
    struct pg_request *first, **last;
    int waiting, open;
    struct ticker *kick; /* runs the line outside of callers' stacks */
    bool closing, said_away;
    char error[256];
    void (*closed)(void *);
    void *closed_arg;
    struct member members[]; /* o.connections */
};

static void request_end(struct pg_request *r, int err, const char *text)
{
    if (r->outcome.err == 0 && err != 0) {
        r->outcome.err = err;
        snprintf(r->outcome.error, sizeof r->outcome.error, "%s", text);
    }
    r->done(r->arg, &r->outcome);
    for (int i = 0; i < r->n; i++)
        free(r->values[i]);
    free(r->actor);
    free(r->address);
    free(r);
}

static struct pg_request *line_pop(struct pg_pool *p)
{
    struct pg_request *r = p->first;
    if (!r)
        return NULL;
    p->first = r->next;
    if (!p->first)
        p->last = &p->first;
    p->waiting--;
    return r;
}

static bool send_pipeline(PGconn *pq, const struct pg_request *r)
{
    char tenants[24] = "{}", rights[16] = "";
    const char *scope[5] = {tenants, r->write ? "off" : "on",
                            r->actor ? r->actor : "server",
                            r->address ? r->address : "", rights};

    if (r->tenant_id != PG_NO_TENANT)
        snprintf(tenants, sizeof tenants, "{%d}", r->tenant_id);
    if (r->actor)
        snprintf(rights, sizeof rights, "%u", r->rights);
    return PQenterPipelineMode(pq) &&
           PQsendQueryParams(pq,
                             "SELECT set_config('headend.tenants', $1, true),"
                             " set_config('transaction_read_only', $2, true),"
                             " set_config('headend.actor', $3, true),"
                             " set_config('headend.address', $4, true),"
                             " set_config('headend.rights', $5, true)",
                             5, NULL, scope, NULL, NULL, 0) &&
           PQsendQueryParams(pq, r->sql, r->n, NULL,
                             (const char *const *)r->values, NULL, NULL, 0) &&
           PQpipelineSync(pq);
}

static void run_next(struct member *m)
{
    PGconn *pq = pg_conn_pq(m->conn);
    if (!pq || m->running || m->pool->closing)
        return;
    struct pg_request *r = line_pop(m->pool);
    if (!r)
        return;
    r->member = m;
    m->running = r;
    m->step = STEP_SCOPE;
    if (m->pool->o.deadline_ms > 0)
        ticker_start(m->deadline, (uint64_t)m->pool->o.deadline_ms, 0);
    if (!send_pipeline(pq, r))
        pg_conn_fail(m->conn, PQerrorMessage(pq));
    else
        pg_conn_flush(m->conn);
}

static void run_line(void *arg)
{
    struct pg_pool *p = arg;
    while (p->first && !pg_pool_up(p)) /* nobody will come soon */
        request_end(line_pop(p), ERR_AWAY, p->error);
    for (int i = 0; i < p->o.connections && p->first; i++)
        run_next(&p->members[i]);
}

static void finish_running(struct member *m, int err, const char *text)
{
    struct pg_request *r = m->running;
    m->running = NULL;
    ticker_stop(m->deadline);
    if (r)
        request_end(r, err, text);
}

static void take_error(struct pg_request *r, const PGresult *res)
{
    struct pg_outcome *o = &r->outcome;
    if (o->err)
        return; /* the first one is the cause */
    o->err = ERR_DATABASE;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *column = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
    if (!column)
        column = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    snprintf(o->column, sizeof o->column, "%s", column ? column : "");
    snprintf(o->sqlstate, sizeof o->sqlstate, "%s", state ? state : "");
    snprintf(o->error, sizeof o->error, "%s", text ? text : "unknown");
}

/* One result of the pipeline. */
static void take_result(struct member *m, PGresult *res)
{
    struct pg_request *r = m->running;
    switch (PQresultStatus(res)) {
    case PGRES_SINGLE_TUPLE:
        r->outcome.rows++;
        if (r->row)
            r->row(r->arg, res, 0);
        break;
    case PGRES_COMMAND_OK:
        if (m->step == STEP_STATEMENT)
            r->outcome.rows = atoll(PQcmdTuples(res));
        break;
    case PGRES_TUPLES_OK:
    case PGRES_PIPELINE_ABORTED:
        break;
    case PGRES_PIPELINE_SYNC:
        m->step = STEP_SYNC;
        break;
    default:
        take_error(r, res);
    }
}

static void on_input(void *arg)
{
    struct member *m = arg;
    for (int taken = 0;; taken++) {
        PGconn *pq = pg_conn_pq(m->conn);
        if (!pq || !m->running || PQisBusy(pq))
            return;
        if (taken == TURN_ROWS) {
            ticker_start(m->more, 1, 0); /* at 0 it would ring in this turn */
            return;
        }
        PGresult *res = PQgetResult(pq);
        if (!res) { /* the next statement's results begin */
            if (m->step == STEP_SCOPE) {
                m->step = STEP_STATEMENT;
                PQsetSingleRowMode(pq);
            }
            continue;
        }
        take_result(m, res);
        PQclear(res);
        if (m->step == STEP_SYNC) {
            PQexitPipelineMode(pq);
            finish_running(m, 0, "");
            run_next(m);
            return;
        }
    }
}

static void on_up(void *arg)
{
    struct member *m = arg;
    if (m->pool->said_away)
        log_info("database is back", "connections=%d", m->pool->o.connections);
    m->pool->said_away = false;
    m->pool->open++;
    run_next(m);
}

static void on_down(void *arg, const char *error)
{
    struct member *m = arg;
    struct pg_pool *p = m->pool;
    p->open = 0;
    for (int i = 0; i < p->o.connections; i++)
        p->open += p->members[i].conn && pg_conn_pq(p->members[i].conn) != NULL;
    snprintf(p->error, sizeof p->error, "%s", error);
    if (p->open == 0 && !p->said_away && !p->closing) {
        log_warning("database is away", "error=%s", error);
        p->said_away = true; /* once per outage */
    }
    finish_running(m, ERR_AWAY, error);
    if (!p->closing)
        ticker_start(p->kick, 0, 0);
}

static void on_deadline(void *arg)
{
    struct member *m = arg;
    pg_conn_fail(m->conn, "no answer within the deadline");
}

int pg_pool_new(uv_loop_t *loop, const struct pg_options *o,
                struct pg_pool **ret)
{
    if (o->connections < 1 || o->connections > 64)
        return ERR_RANGE;
    struct pg_pool *p =
        mem_alloc(sizeof *p + sizeof p->members[0] * (size_t)o->connections);
    p->loop = loop;
    p->o = *o;
    p->last = &p->first;
    p->kick = ticker_new(loop, run_line, p);
    snprintf(p->error, sizeof p->error, "not connected yet");
    struct pg_conn_options co = {o->url, o->role, o->connect_s, NULL};
    for (int i = 0; i < o->connections; i++) {
        struct member *m = &p->members[i];
        m->pool = p;
        m->deadline = ticker_new(loop, on_deadline, m);
        m->more = ticker_new(loop, on_input, m);
        m->conn = pg_conn_new(
            loop, &co,
            &(struct pg_conn_events){on_up, on_input, NULL, on_down, m});
    }
    *ret = p;
    return 0;
}

static void member_closed(void *arg)
{
    struct pg_pool *p = arg;
    if (--p->open == 0 && p->closed)
        p->closed(p->closed_arg);
}

void pg_pool_close(struct pg_pool *p, void (*done)(void *), void *arg)
{
    p->closing = true;
    p->closed = done;
    p->closed_arg = arg;
    ticker_free(p->kick);
    for (struct pg_request *r; (r = line_pop(p));)
        request_end(r, ERR_AWAY, "shutting down");
    for (int i = 0; i < p->o.connections; i++)
        finish_running(&p->members[i], ERR_AWAY, "shutting down");
    p->open = p->o.connections;
    for (int i = 0, n = p->o.connections; i < n; i++) {
        ticker_free(p->members[i].deadline);
        ticker_free(p->members[i].more);
        pg_conn_close(p->members[i].conn, member_closed, p);
    }
}

void pg_pool_free(struct pg_pool *p)
{
    free(p);
}

bool pg_pool_up(const struct pg_pool *p)
{
    return p->open > 0 && !p->closing;
}

const char *pg_pool_error(const struct pg_pool *p)
{
    return p->open > 0 ? "" : p->error;
}

int pg_call(struct pg_pool *p, const struct pg_call *c)
{
    if (p->waiting >= p->o.queue || p->closing)
        return ERR_FULL;
    struct pg_request *r = mem_alloc(sizeof *r);
    *r = (struct pg_request){.pool = p,
                             .tenant_id = c->tenant_id,
                             .write = c->write,
                             .sql = c->sql,
                             .n = c->n,
                             .row = c->row,
                             .done = c->done,
                             .arg = c->arg};
    if (c->actor) {
        r->actor = mem_strdup(c->actor->name);
        r->address = mem_strdup(c->actor->address);
        r->rights = c->actor->rights;
    }
    for (int i = 0; i < c->n; i++)
        r->values[i] = mem_strdup(c->values[i]);
    *p->last = r;
    p->last = &r->next;
    p->waiting++;
    ticker_start(p->kick, 0, 0);
    return 0;
}
