/*
 * ledger.c - GET /api/v1/ledger: by period of arrival, what was received and
 * what became of it. In each row, and so in their sum,
 *   received = stored + duplicate + quarantined + rejected + pending.
 * Pending frames are this node's; the last row, of no period, has them, and a
 * total has them in its one row. A list with an end ("to") has none: pending is
 * null there. Beside the equation: missing, frames that a later counter of
 * their meter showed to be missing; late, those of them that came after all.
 */
#include "server/api/list.h"
#include "server/store/balance.h"

#include <inttypes.h>

static int64_t pending_of(const struct list *l)
{
    const struct balance_filter *f = l->filter;
    const struct api_deps *deps = &l->call->api->deps;

    return f->to_us == TIME_NONE ? deps->pending(f->tenant_id, deps->arg) : -1;
}

static void put_row(struct buf *b, const struct balance_row *r, int64_t pending)
{
    int64_t received = pending > 0 ? pending : 0;

    for (int fate = FATE_STORED; fate <= FATE_REJECTED; fate++)
        received += r->fates[fate];
    buf_printf(b, "{\"received\":%" PRId64, received);
    put_time(b, "period", r->period_us);
    for (int fate = FATE_STORED; fate <= FATE_REJECTED; fate++)
        buf_printf(b, ",\"%s\":%" PRId64, fate_name((enum fate)fate),
                   r->fates[fate]);
    if (pending < 0)
        buf_z(b, ",\"pending\":null");
    else
        buf_printf(b, ",\"pending\":%" PRId64, pending);
    buf_printf(b, ",\"missing\":%" PRId64 ",\"late\":%" PRId64 "}", r->missing,
               r->late);
}

static int query(struct list *l, int64_t n)
{
    const struct pg_taker taker = {list_row, list_done, l};
    struct balance_filter *f = l->filter;

    f->after_us = l->keyed ? l->key.n : TIME_NONE;
    f->limit = n;
    return balance_list(l->call->api->deps.pool, f, &taker);
}

/* What is pending is asked for after the database was: a frame that is stored
 * in between is missing for a moment, but never there twice. */
static void row(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key)
{
    const struct balance_filter *f = l->filter;
    struct balance_row r;

    balance_read(res, 0, &r);
    put_row(out, &r, f->by == BY_TOTAL ? pending_of(l) : 0);
    *key = (struct list_key){.n = r.period_us};
}

static void last(struct list *l, struct buf *out)
{
    const struct balance_filter *f = l->filter;
    struct balance_row none = {.period_us = TIME_NONE};

    if (f->by == BY_TOTAL)
        return;
    if (l->sent > 0)
        buf_u8(out, ',');
    put_row(out, &none, pending_of(l));
}

static const struct list_kind kind = {.query = query, .row = row, .last = last};

static bool read_by(struct call *c, enum balance_by *ret)
{
    struct str s = http_query(c->r, "by");
    int by = s.p ? balance_by_of(s) : BY_HOUR;

    if (by < 0) {
        http_problem(c->r, 400, "by",
                     "\"by\" takes minute, hour, day or total.");
        return false;
    }
    *ret = (enum balance_by)by;
    return true;
}

static void ledger_serve(struct call *c)
{
    struct balance_filter *f = arena_alloc(http_arena(c->r), sizeof *f);
    struct list *l;

    f->tenant_id = c->tenant_id;
    if (!call_period(c, &f->from_us, &f->to_us) || !read_by(c, &f->by))
        return;
    l = list_new(c, &kind);
    if (!l)
        return;
    if (l->keyed && (!call_is_time(l->key.n) || f->by == BY_TOTAL)) {
        list_bad_cursor(c);
        return;
    }
    l->filter = f;
    l->head = arena_printf(http_arena(c->r), "{\"by\":\"%s\",\"ledger\":[",
                           balance_by_name(f->by));
    list_query(l);
}

static const struct field fields[] = {
    {"from", IN_QUERY, FIELD_TIME, .help = "First minute, inclusive."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {"by", IN_QUERY, FIELD_TEXT, .one_of = "minute|hour|day|total",
     .help = "Period of a row."},
    {0}};

const struct endpoint ledger_endpoints[] = {
    {"GET", "/api/v1/ledger", RIGHT_VIEW, .name = "ledger_list",
     .title = "Frames received, and what became of them.", .fields = fields,
     .list = "ledger", .serve = ledger_serve, .answer = "ledger_row"},
    {0}};
