/*
 * meters.c - GET /api/v1/meters and /api/v1/meters/{id}.
 */
#include "server/api/list.h"
#include "server/store/meter.h"

#include <inttypes.h>

static void put_meter(struct buf *b, const struct meter_row *m)
{
    buf_printf(b, "{\"meter_id\":%" PRId64, m->meter_id);
    put_text(b, "serial", m->serial);
    put_text(b, "model", m->model);
    put_text(b, "medium", m->medium);
    put_text(b, "codec", m->codec);
    put_text(b, "dev_eui", m->dev_eui);
    put_text(b, "timezone", m->timezone);
    put_text(b, "state", m->state);
    put_time(b, "last_frame_at", m->last_frame_us);
    buf_u8(b, '}');
}

static int query(struct list *l, int64_t n)
{
    const struct pg_taker taker = {list_row, list_done, l};
    struct meter_filter *f = l->filter;

    f->after = l->keyed ? l->key.n : 0;
    f->limit = n;
    return meter_list(l->call->api->deps.pool, f, &taker);
}

static void row(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key)
{
    struct meter_row m;

    (void)l;
    meter_read(res, 0, &m);
    put_meter(out, &m);
    *key = (struct list_key){.n = m.meter_id};
}

static const struct list_kind kind = {.query = query, .row = row};

static void meters_serve(struct call *c)
{
    struct list *l = list_new(c, &kind);
    struct meter_filter *f = arena_alloc(http_arena(c->r), sizeof *f);

    if (!l)
        return;
    f->tenant_id = c->tenant_id;
    f->serial = call_text(c, "serial");
    l->filter = f;
    l->head = STR("{\"meters\":[");
    list_query(l);
}

static void one_row(void *arg, const PGresult *res, int at)
{
    struct call *c = arg;
    struct meter_row m;

    buf_clear(&c->api->scratch);
    meter_read(res, at, &m);
    put_meter(&c->api->scratch, &m);
    buf_u8(&c->api->scratch, '\n');
    c->found = arena_str(http_arena(c->r), buf_view(&c->api->scratch));
}

static void meter_serve(struct call *c)
{
    const struct pg_taker taker = {one_row, call_reply_found, c};
    int64_t id;
    int r;

    if (!call_id(c, &id))
        return;
    r = meter_get(c->api->deps.pool, c->tenant_id, id, &taker);
    if (r < 0)
        call_failed(c, r, NULL);
}

static const struct field list_fields[] = {
    {"serial", IN_QUERY, FIELD_TEXT, .max = 64, .help = "Only this serial."},
    {0}};
static const struct field id_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "meter_id"},
    {0}};

const struct endpoint meter_endpoints[] = {
    {"GET", "/api/v1/meters", RIGHT_VIEW, .name = "meters_list",
     .title = "Meters, by meter_id.", .fields = list_fields, .list = "meters",
     .serve = meters_serve, .answer = "meter"},
    {"GET", "/api/v1/meters/{id}", RIGHT_VIEW, .name = "meter_get",
     .title = "One meter.", .fields = id_fields, .serve = meter_serve,
     .answer = "meter"},
    {0}};
