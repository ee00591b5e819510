/*
 * reconcile.c - see reconcile.h; the question is reconcile() of
 * migrations/0005_ledger.sql.
 */
#include "server/pipeline/reconcile.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include <stdlib.h>

static const char sql[] = "SELECT to_char(since AT TIME ZONE 'UTC', "
                          "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
                          " frames, booked, differing FROM reconcile(1000000)";

struct reconcile {
    int journal;
    int64_t first, end, cursor, pending;
};

static void on_row(void *arg, const PGresult *res, int row)
{
    const struct reconcile *r = arg;
    const char *since = PQgetvalue(res, row, 0);
    int64_t frames = atoll(PQgetvalue(res, row, 1));
    int64_t booked = atoll(PQgetvalue(res, row, 2));
    int64_t differing = atoll(PQgetvalue(res, row, 3));
    bool within = r->first <= r->cursor && r->cursor <= r->end;

    if (within && differing == 0)
        log_info("reconciled",
                 "journal=%d cursor=%lld end=%lld pending=%lld since=%s"
                 " frames=%lld ledger=%lld",
                 r->journal, (long long)r->cursor, (long long)r->end,
                 (long long)r->pending, *since ? since : "never",
                 (long long)frames, (long long)booked);
    if (!within)
        log_warning("journal and database disagree",
                    "journal=%d first=%lld cursor=%lld end=%lld", r->journal,
                    (long long)r->first, (long long)r->cursor,
                    (long long)r->end);
    if (differing)
        log_warning("ledger and frames disagree",
                    "since=%s frames=%lld ledger=%lld minutes=%lld", since,
                    (long long)frames, (long long)booked, (long long)differing);
}

static void on_done(void *arg, const struct pg_outcome *o)
{
    if (o->err)
        log_warning("not reconciled", "err=%s error=%s", err_name(o->err),
                    o->error);
    free(arg);
}

void reconcile_start(struct pg_pool *pool, const struct journal *j,
                     int64_t cursor, int64_t pending)
{
    struct reconcile *r = mem_alloc(sizeof *r);

    *r = (struct reconcile){journal_number(j), journal_first(j), journal_end(j),
                            cursor, pending};
    int err = pg_call(pool, &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                              .sql = sql,
                                              .row = on_row,
                                              .done = on_done,
                                              .arg = r});
    if (err < 0)
        on_done(r, &(struct pg_outcome){.err = err});
}
