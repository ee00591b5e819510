/*
 * quarantine.c - GET /api/v1/quarantine (newest first, after how many frames
 * there are by reason) and /api/v1/quarantine/{id}, which looks at one: its
 * payload, how far its codec gets with it, what stopped it and where.
 */
#include "server/store/quarantine.h"
#include "schema/frame.h"
#include "server/api/list.h"
#include "server/base/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Without the closing brace. */
static void put_frame(struct buf *b, const struct quarantine_row *q)
{
    buf_printf(b, "{\"frame_id\":\"%" PRId64 "\"", q->frame_id);
    put_time(b, "received_at", q->received_us);
    put_text(b, "reason", q->reason);
    put_text(b, "detail", q->detail);
    put_number(b, "meter_id", q->meter_id);
    put_text(b, "serial", q->serial);
}

/* ---- the list: reason_row ... -> reasons_done -> list_query ---- */

struct quarantined {
    struct quarantine_filter filter;
    struct list *list;
    int64_t reasons; /* that came so far */
};

static int64_t cursor_id(const struct list *l)
{
    return strtoll(l->key.text, NULL, 10);
}

static int query(struct list *l, int64_t n)
{
    const struct pg_taker taker = {list_row, list_done, l};
    struct quarantined *q = l->filter;

    q->filter.before_us = l->keyed ? l->key.n : TIME_NONE;
    q->filter.before_id = cursor_id(l);
    q->filter.limit = n;
    return quarantine_list(l->call->api->deps.pool, &q->filter, &taker);
}

static void row(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key)
{
    struct quarantine_row q;

    (void)l;
    quarantine_read(res, 0, &q);
    put_frame(out, &q);
    buf_u8(out, '}');
    key->n = q.received_us;
    snprintf(key->text, sizeof key->text, "%" PRId64, q.frame_id);
}

static const struct list_kind kind = {.query = query, .row = row};

/* Reasons are a dozen words; they gather in the request's arena. */
static void reason_row(void *arg, const PGresult *res, int at)
{
    struct quarantined *q = arg;
    struct call *c = q->list->call;
    struct buf *b = &c->api->scratch;

    buf_clear(b);
    buf_str(b, q->list->head);
    buf_z(b, q->reasons++ ? ",{\"reason\":" : "{\"reason\":");
    buf_json_str(b, column_str(res, at, 0));
    buf_printf(b, ",\"frames\":%" PRId64 "}", column_int(res, at, 1, 0));
    q->list->head = arena_str(http_arena(c->r), buf_view(b));
}

static void reasons_done(void *arg, const struct pg_outcome *o)
{
    struct quarantined *q = arg;
    struct call *c = q->list->call;

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    q->list->head = arena_printf(http_arena(c->r), "%.*s],\"quarantine\":[",
                                 STR_ARGS(q->list->head));
    list_query(q->list);
}

static const char *source_number(const char *name)
{
    static const char *const numbers[] = {"0", "1", "2", "3", "4", "5"};

    for (int i = SOURCE_CHIRPSTACK; i <= SOURCE_JOURNAL; i++)
        if (strcmp(source_name((enum frame_source)i), name) == 0)
            return numbers[i];
    return "0"; /* not possible: its field names them all */
}

static void quarantines_serve(struct call *c)
{
    struct quarantined *q = arena_alloc(http_arena(c->r), sizeof *q);
    const struct pg_taker taker = {reason_row, reasons_done, q};
    int r;

    q->filter.tenant_id = c->tenant_id;
    for (int i = 0; i < QUARANTINE_FILTERS; i++)
        q->filter.by[i] = c->values[i];
    if (c->values[QUARANTINE_SOURCE])
        q->filter.by[QUARANTINE_SOURCE] =
            source_number(c->values[QUARANTINE_SOURCE]);
    q->list = list_new(c, &kind);
    if (!q->list)
        return;
    if (q->list->keyed &&
        (!call_is_time(q->list->key.n) || cursor_id(q->list) <= 0)) {
        list_bad_cursor(c);
        return;
    }
    q->list->filter = q;
    q->list->head = STR("{\"reasons\":[");
    r = quarantine_reasons(c->api->deps.pool, &q->filter, &taker);
    if (r < 0)
        call_failed(c, r, NULL);
}

/* ---- one frame ---- */

static void put_hex(struct buf *b, struct arena *a, struct str bytes)
{
    char *hex = arena_alloc(a, 2 * bytes.n + 1);

    put_text(b, "payload",
             hex ? str_of(hex_encode(bytes.p, bytes.n, hex)) : (struct str){0});
    put_text(b, "payload_text", str_utf8(bytes) ? bytes : (struct str){0});
}

static void put_examined(struct call *c, const struct quarantine_row *q)
{
    struct buf *b = &c->api->scratch;
    struct arena *a = http_arena(c->r);
    struct api_examined x = {0};
    size_t most = q->record.n / 2 + 1;
    uint8_t *record = arena_alloc(a, most);
    int n = record && q->record.n > 2
                ? hex_decode((struct str){q->record.p + 2, q->record.n - 2},
                             record, most)
                : -1;

    if (n > 0)
        c->api->deps.examine((struct str){(char *)record, (size_t)n}, q->codec,
                             a, &x, c->api->deps.arg);
    put_text(b, "device", x.device);
    put_hex(b, a, x.payload);
    put_text(b, "codec", x.codec);
    put_text(b, "decoded", x.decoded);
    put_text(b, "error", x.error);
    if (x.error.p)
        buf_printf(b, ",\"error_offset\":%u", x.offset);
    else
        buf_z(b, ",\"error_offset\":null");
    buf_z(b, "}\n");
}

static void one_row(void *arg, const PGresult *res, int at)
{
    struct call *c = arg;
    struct quarantine_row q;

    quarantine_read(res, at, &q);
    buf_clear(&c->api->scratch);
    put_frame(&c->api->scratch, &q);
    put_examined(c, &q);
    c->found = arena_str(http_arena(c->r), buf_view(&c->api->scratch));
}

static void quarantine_serve(struct call *c)
{
    const struct pg_taker taker = {one_row, call_reply_found, c};
    int64_t id;
    int r;

    if (!call_id(c, &id))
        return;
    r = quarantine_get(c->api->deps.pool, c->tenant_id, id, &taker);
    if (r < 0)
        call_failed(c, r, NULL);
}

/* In the order of enum quarantine_filters. */
static const struct field list_fields[] = {
    {"reason", IN_QUERY, FIELD_TEXT, .max = 64, .help = "Only this reason."},
    {"from", IN_QUERY, FIELD_TIME, .help = "First arrival, inclusive."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {"meter_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this meter's."},
    {"serial", IN_QUERY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "Of the meter with this serial, or of one that calls itself so."},
    {"device", IN_QUERY, FIELD_TEXT, .min = 16, .max = 32,
     .help = "Of this DevEUI, its meter known or not."},
    {"codec", IN_QUERY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "Of meters whose model names this codec."},
    {"source", IN_QUERY, FIELD_TEXT, .one_of = "chirpstack|tts|heo|tcp|journal",
     .help = "How it came."},
    {"integration_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only what came by this integration."},
    {0}};
static const struct field id_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT64_MAX, .help = "frame_id"},
    {0}};

const struct endpoint quarantine_endpoints[] = {
    {"GET", "/api/v1/quarantine", RIGHT_VIEW, .name = "quarantine_list",
     .title = "Frames that could not become readings, newest first.",
     .fields = list_fields, .list = "quarantine", .serve = quarantines_serve,
     .answer = "quarantined"},
    {"GET", "/api/v1/quarantine/{id}", RIGHT_VIEW, .name = "quarantine_get",
     .title = "One of them: its bytes, and how far its codec gets.",
     .fields = id_fields, .serve = quarantine_serve,
     .answer = "quarantined_whole"},
    {0}};
