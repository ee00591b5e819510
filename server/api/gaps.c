/*
 * gaps.c - GET /api/v1/gaps: the meters of which frames are missing, as their
 * counters show. What came late is not missing any more.
 */
#include "server/api/list.h"
#include "server/store/gap.h"

#include <inttypes.h>

static void put_gap(struct buf *b, const struct gap_row *g)
{
    buf_printf(b, "{\"meter_id\":%" PRId64, g->meter_id);
    put_text(b, "serial", g->serial);
    put_text(b, "dev_eui", g->dev_eui);
    buf_printf(b,
               ",\"received\":%" PRId64 ",\"missing\":%" PRId64
               ",\"late\":%" PRId64 ",\"last_counter\":%" PRId64,
               g->received, g->missing, g->late, g->last_counter);
    put_time(b, "last_at", g->last_us);
    buf_printf(b, ",\"counters\":%.*s}", STR_ARGS(g->open));
}

static int query(struct list *l, int64_t n)
{
    const struct pg_taker taker = {list_row, list_done, l};
    struct gap_filter *f = l->filter;

    f->after = l->keyed ? l->key.n : 0;
    f->limit = n;
    return gap_list(l->call->api->deps.pool, f, &taker);
}

static void row(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key)
{
    struct gap_row g;

    (void)l;
    gap_read(res, 0, &g);
    put_gap(out, &g);
    *key = (struct list_key){.n = g.meter_id};
}

static const struct list_kind kind = {.query = query, .row = row};

static void gaps_serve(struct call *c)
{
    struct list *l = list_new(c, &kind);
    struct gap_filter *f = arena_alloc(http_arena(c->r), sizeof *f);

    if (!l)
        return;
    f->tenant_id = c->tenant_id;
    l->filter = f;
    l->head = STR("{\"gaps\":[");
    list_query(l);
}

const struct endpoint gap_endpoints[] = {
    {"GET", "/api/v1/gaps", RIGHT_VIEW, 0, "gaps_list",
     "Meters whose frames did not all arrive.", .list = "gaps",
     .serve = gaps_serve, .answer = "gap"},
    {0}};
