/*
 * feed.c - GET /api/v1/feed: what becomes new, as server-sent events (WHATWG
 * HTML 9.2), in the order of commits; a client that comes back with
 * Last-Event-ID misses nothing of the last day and gets nothing twice. One that
 * is too slow is not waited for: it reads on when it has room.
 *   feed_serve -> (feed_listen) begun -> poll -> (feed_read) polled -> poll ...
 */
#include "server/api/call.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FEED_ID = 48,
    FEED_ROWS = 500, /* of one look */
    LOOK_MS = 300,
    QUIET_LOOKS = 50,     /* then a comment keeps proxies from cutting */
    LONGEST_LOOKS = 3000, /* about a quarter of an hour: then the client
                             comes back, and proves again who it is */
    LISTENERS = 500       /* of this server */
};

static int listeners; /* at this moment; of the loop thread */

struct listener {
    struct call *call;
    struct ticker *look;
    char at[FEED_ID]; /* the last that was sent */
    struct str kinds; /* "readings,event", or none: all */
    int looks, quiet;
    int64_t rows;
    bool asking, closed, full;
};

static void feed_end(struct listener *f, bool ok)
{
    if (!f->closed)
        http_stream_end(f->call->r, ok);
    f->closed = true;
    ticker_free(f->look);
    f->look = NULL;
}

static void on_close(void *arg)
{
    struct listener *f = arg;

    listeners--;
    if (!f->asking)
        feed_end(f, true);
}

static void on_drain(void *arg)
{
    struct listener *f = arg;

    f->full = false;
}

static bool wanted(const struct listener *f, struct str kind)
{
    struct str rest = f->kinds;

    while (rest.n) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
        if (str_eq((struct str){rest.p, n}, kind))
            return true;
        n += comma != NULL;
        rest = (struct str){rest.p + n, rest.n - n};
    }
    return f->kinds.n == 0;
}

static void feed_row(void *arg, const PGresult *res, int row)
{
    struct listener *f = arg;
    struct buf *b = &f->call->api->scratch;
    struct str id = column_str(res, row, 0), kind = column_str(res, row, 1),
               about = column_str(res, row, 2);

    snprintf(f->at, sizeof f->at, "%.*s", STR_ARGS(id));
    f->rows++;
    if (kind.p && !wanted(f, kind))
        return;
    buf_clear(b);
    buf_printf(b, "id: %s\nevent: %.*s\ndata: ", f->at,
               kind.p ? (int)kind.n : 5, kind.p ? kind.p : "reset");
    buf_str(b, about.p ? about : STR("{}"));
    buf_z(b, "\n\n");
    f->quiet = 0;
    f->full = http_stream_write(f->call->r, buf_view(b)) > HTTP_STREAM_HIGH;
}

static void poll(void *arg);

static void polled(void *arg, const struct pg_outcome *o)
{
    struct listener *f = arg;

    f->asking = false;
    if (http_gone(f->call->r) || o->err == ERR_DATABASE) {
        feed_end(f, false);
        return;
    }
    if (++f->quiet >= QUIET_LOOKS) { /* also while PostgreSQL is away */
        f->quiet = 0;
        http_stream_write(f->call->r, STR(": here\n\n"));
    }
    if (++f->looks >= LONGEST_LOOKS || http_stopping(f->call->api->deps.http))
        feed_end(f, true);
    else
        ticker_start(f->look, f->rows == FEED_ROWS ? 1 : LOOK_MS, 0);
}

static void poll(void *arg)
{
    struct listener *f = arg;
    char tenant[16];
    const struct pg_call call = {
        .tenant_id = f->call->tenant_id,
        .sql = "SELECT * FROM feed_read($1::int, $2, 500)",
        .n = 2,
        .values = {tenant, f->at},
        .row = feed_row,
        .done = polled,
        .arg = f};

    if (http_gone(f->call->r)) {
        feed_end(f, true);
        return;
    }
    if (f->full) {
        ticker_start(f->look, LOOK_MS, 0);
        return;
    }
    snprintf(tenant, sizeof tenant, "%d", f->call->tenant_id);
    f->rows = 0;
    f->asking = true;
    if (pg_call(f->call->api->deps.pool, &call) < 0)
        polled(f, &(struct pg_outcome){.err = ERR_AWAY});
}

static void begun_row(void *arg, const PGresult *res, int row)
{
    struct listener *f = arg;

    if (!*f->at)
        snprintf(f->at, sizeof f->at, "%.*s",
                 STR_ARGS(column_str(res, row, 0)));
}

static void begun(void *arg, const struct pg_outcome *o)
{
    struct listener *f = arg;
    struct call *c = f->call;
    struct buf *b = &c->api->scratch;

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    http_set_header(c->r, "Cache-Control", "no-store");
    http_set_header(c->r, "X-Accel-Buffering", "no");
    listeners++;
    http_stream_begin(c->r, 200, "text/event-stream", on_drain, on_close, f);
    buf_clear(b);
    buf_printf(b, "retry: 2000\nid: %s\nevent: ready\ndata: {}\n\n", f->at);
    http_stream_write(c->r, buf_view(b));
    f->look = ticker_new(c->api->deps.loop, poll, f);
    ticker_start(f->look, 1, 0);
}

/* "123456-789" */
static bool is_feed_id(struct str s)
{
    size_t i = 0, dash;

    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    dash = i;
    if (dash == 0 || dash > 19 || i == s.n || s.p[i++] != '-')
        return false;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i == s.n && i > dash + 1 && i - dash <= 19;
}

static void feed_serve(struct call *c)
{
    struct listener *f = arena_alloc(http_arena(c->r), sizeof *f);
    struct str last = http_header(c->r, "Last-Event-ID");
    char tenant[16];
    const struct pg_call call = {.tenant_id = c->tenant_id,
                                 .write = true,
                                 .sql = "SELECT feed_listen($1::int)",
                                 .n = 1,
                                 .values = {tenant},
                                 .row = begun_row,
                                 .done = begun,
                                 .arg = f};

    f->call = c;
    f->kinds = str_of(c->values[0]);
    if (listeners >= LISTENERS) {
        http_set_header(c->r, "Retry-After", "10");
        http_problem(c->r, 429, NULL, "Too many listeners on this server.");
        return;
    }
    if (last.n && !is_feed_id(last)) {
        http_problem(c->r, 400, "Last-Event-ID",
                     "Last-Event-ID takes the id of an earlier event.");
        return;
    }
    snprintf(f->at, sizeof f->at, "%.*s", STR_ARGS(last));
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0)
        call_failed(c, r, NULL);
}

static const struct field fields[] = {
    {"kinds", IN_QUERY, FIELD_TEXT, .max = 100,
     .help = "Only these, such as readings,event,meter,command,report."},
    {0}};

const struct endpoint feed_endpoints[] = {
    {"GET", "/api/v1/feed", RIGHT_VIEW, ENDPOINT_STREAM, "feed",
     "What becomes new, as server-sent events; Last-Event-ID goes on.", fields,
     .serve = feed_serve, .answer = "any"},
    {0}};
