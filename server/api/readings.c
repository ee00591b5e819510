/*
 * readings.c - GET /api/v1/meters/{id}/readings, as JSON with a cursor or as
 * CSV without end. First the meter, so that another tenant's is 404.
 */
#include "schema/quality.h"
#include "server/api/list.h"
#include "server/store/meter.h"
#include "server/store/reading.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    enum quality bit;
    const char *name;
} flags[] = {
    {QUALITY_NO_METER_TIME, "no_meter_time"},
    {QUALITY_TIME_INVALID, "time_invalid"},
    {QUALITY_TIME_SHIFTED, "time_shifted"},
    {QUALITY_LOCAL_TIME, "local_time"},
    {QUALITY_DST_AMBIGUOUS, "dst_ambiguous"},
    {QUALITY_LATE, "late"},
    {QUALITY_METER_ERROR, "meter_error"},
    {QUALITY_UNIT_KEPT, "unit_kept"},
    {QUALITY_IDENTITY_MISMATCH, "identity_mismatch"},
    {QUALITY_INVALID, "invalid"},
    {QUALITY_UNPROTECTED, "unprotected"},
    {QUALITY_SUSPECT, "suspect"},
    {QUALITY_TIME_UNCERTAIN, "time_uncertain"},
    {QUALITY_OUR_CLOCK_UNSURE, "our_clock_unsure"},
};

struct readings {
    struct reading_filter filter; /* what the client asked for */
    struct list *list;
    int64_t page;          /* rows that the list asked for */
    bool in_window;        /* the window is known, its end not yet reached */
    bool more;             /* there are captures behind it */
    int64_t window_end_us; /* its last capture; TIME_NONE: it is empty */
    char obis[OBIS_TEXT];
};

static void put_flags(struct buf *b, int64_t quality)
{
    const char *comma = "";

    buf_z(b, ",\"flags\":[");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!(quality & flags[i].bit))
            continue;
        buf_printf(b, "%s\"%s\"", comma, flags[i].name);
        comma = ",";
    }
    buf_u8(b, ']');
}

static void put_json(struct buf *b, const struct reading_row *r)
{
    buf_z(b, "{\"register\":");
    buf_json_str(b, r->obis);
    put_text(b, "unit", r->unit);
    put_text(b, "kind", r->kind);
    put_time(b, "time", r->time_us);
    put_text(b, "value", r->value);
    buf_printf(b, ",\"quality\":%" PRId64, r->quality);
    put_flags(b, r->quality);
    put_time(b, "meter_time", r->meter_time_us);
    put_time(b, "received_at", r->received_us);
    buf_printf(b,
               ",\"uncertainty_ms\":%" PRId64 ",\"revision\":%" PRId64
               ",\"frame_id\":\"%" PRId64 "\"}",
               r->uncertainty_ms, r->revision, r->frame_id);
}

static const char csv_head[] =
    "register,unit,kind,time,value,quality,meter_time,received_at,"
    "uncertainty_ms,revision,frame_id\r\n";

static void put_csv(struct buf *b, const struct reading_row *r)
{
    buf_csv(b, r->obis);
    buf_u8(b, ',');
    buf_csv(b, r->unit);
    buf_u8(b, ',');
    buf_csv(b, r->kind);
    buf_u8(b, ',');
    put_csv_time(b, r->time_us);
    buf_u8(b, ',');
    buf_csv(b, r->value);
    buf_printf(b, ",%" PRId64 ",", r->quality);
    put_csv_time(b, r->meter_time_us);
    buf_u8(b, ',');
    put_csv_time(b, r->received_us);
    buf_printf(b, ",%" PRId64 ",%" PRId64 ",%" PRId64 "\r\n", r->uncertainty_ms,
               r->revision, r->frame_id);
}

/* query -> window_row, window_done -> query_page. */
static int query_page(struct readings *q)
{
    struct list *l = q->list;
    const struct pg_taker taker = {list_row, list_done, l};
    struct reading_filter f = q->filter;

    f.to_us = q->window_end_us + 1;
    if (l->keyed && l->key.n >= f.from_us) {
        f.from_us = l->key.n;
        f.after_obis = l->key.text;
    }
    f.limit = q->page;
    l->last = !q->more;
    return reading_list(l->call->api->deps.pool, &f, &taker);
}

static void window_row(void *arg, const PGresult *res, int at)
{
    struct readings *q = arg;

    reading_window_read(res, at, &q->window_end_us, &q->more);
}

static void window_done(void *arg, const struct pg_outcome *o)
{
    struct readings *q = arg;
    struct pg_outcome away = {.err = ERR_AWAY};

    if (o->err < 0 || q->window_end_us == TIME_NONE) {
        list_done(q->list, o);
        return;
    }
    q->in_window = true;
    away.err = query_page(q);
    if (away.err < 0)
        list_done(q->list, &away);
}

static int query(struct list *l, int64_t n)
{
    struct readings *q = l->filter;
    const struct pg_taker taker = {window_row, window_done, q};

    q->page = n;
    if (q->in_window && l->came == l->asked)
        return query_page(q);
    if (q->in_window)
        q->filter.from_us = q->window_end_us + 1;
    q->in_window = false;
    return reading_window(l->call->api->deps.pool, &q->filter, &taker);
}

static void row(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key)
{
    struct reading_row r;

    reading_read(res, 0, &r);
    if (l->csv)
        put_csv(out, &r);
    else
        put_json(out, &r);
    key->n = r.time_us;
    snprintf(key->text, sizeof key->text, "%.*s", STR_ARGS(r.obis));
}

static const struct list_kind kind = {
    .csv_head = csv_head, .query = query, .row = row};

static void found_meter(void *arg, const PGresult *res, int at)
{
    struct readings *q = arg;
    struct call *c = q->list->call;
    struct buf *b = &c->api->scratch;
    struct meter_row m;

    meter_read(res, at, &m);
    buf_clear(b);
    buf_printf(b, "{\"meter_id\":%" PRId64, m.meter_id);
    put_text(b, "serial", m.serial);
    buf_z(b, ",\"readings\":[");
    q->list->head = arena_str(http_arena(c->r), buf_view(b));
}

static void looked_for_meter(void *arg, const struct pg_outcome *o)
{
    struct readings *q = arg;
    struct call *c = q->list->call;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else if (!q->list->head.p)
        call_none(c);
    else
        list_query(q->list);
}

static bool read_register(struct call *c, struct readings *q)
{
    struct str s = http_query(c->r, "register");
    struct obis o;

    if (!s.p)
        return true;
    if (obis_parse(s, &o) == 0) {
        q->filter.obis = obis_text(o, q->obis);
        return true;
    }
    http_problem(c->r, 400, "register",
                 "\"register\" takes an OBIS code such as 6-0:1.0.0.");
    return false;
}

/* A cursor of ours names an instant and a register. */
static bool check_cursor(struct call *c, const struct list *l)
{
    struct obis o;

    if (!l->keyed ||
        (call_is_time(l->key.n) && obis_parse(str_of(l->key.text), &o) == 0))
        return true;
    list_bad_cursor(c);
    return false;
}

static void readings_serve(struct call *c)
{
    struct readings *q = arena_alloc(http_arena(c->r), sizeof *q);
    const struct pg_taker taker = {found_meter, looked_for_meter, q};
    struct reading_filter *f = &q->filter;
    int r;

    f->tenant_id = c->tenant_id;
    if (!call_id(c, &f->meter_id) || !call_period(c, &f->from_us, &f->to_us) ||
        !read_register(c, q))
        return;
    q->list = list_new(c, &kind);
    if (!q->list || !check_cursor(c, q->list))
        return;
    q->list->filter = q;
    if (q->list->keyed && q->list->key.n > f->from_us)
        f->from_us = q->list->key.n;
    r = meter_get(c->api->deps.pool, c->tenant_id, f->meter_id, &taker);
    if (r < 0)
        call_failed(c, r, NULL);
}

static const struct field fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = "meter_id"},
    {"from", IN_QUERY, FIELD_TIME, .help = "First instant, inclusive."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {"register", IN_QUERY, FIELD_TEXT, .max = 32,
     .help = "Only this OBIS code, such as 6-0:1.0.0."},
    {"format", IN_QUERY, FIELD_TEXT, .one_of = "json|csv",
     .help = "CSV has no end; JSON pages."},
    {0}};

const struct endpoint reading_endpoints[] = {
    {"GET", "/api/v1/meters/{id}/readings", RIGHT_VIEW, .name = "readings_list",
     .title = "Readings of a meter, by time.", .fields = fields,
     .list = "readings", .serve = readings_serve, .answer = "reading"},
    {0}};
