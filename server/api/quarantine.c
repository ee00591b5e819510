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
#include <stdlib.h>
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

/* ---- decoded again: audited -> replay -> changed ... -> done ---- */

enum { REPLAY_MOST = 10000, CHANGES_MOST = 100 };

struct again {
    struct api_replay replay;
    struct call *call;
    struct buf changes; /* JSON, the first of them */
    int n_changes;
};

static void again_changed(void *of, int64_t frame_id, const char *was,
                          const char *fate, const char *reason,
                          uint32_t readings)
{
    struct again *g = of;
    struct buf *b = &g->changes;

    if (g->n_changes++ >= CHANGES_MOST)
        return;
    buf_printf(b, "%s{\"frame_id\":\"%" PRId64 "\"", b->n ? "," : "", frame_id);
    put_text(b, "was", str_of(was));
    put_text(b, "fate", str_of(fate));
    put_text(b, "reason", str_of(reason));
    buf_printf(b, ",\"readings\":%" PRIu32 "}", readings);
}

static void again_done(void *of, int err, const struct api_replayed *r)
{
    struct again *g = of;
    struct buf *b = &g->call->api->scratch;

    buf_clear(b);
    buf_printf(b,
               "{\"dry_run\":%s,\"frames\":%" PRId64 ",\"stored\":%" PRId64
               ",\"duplicate\":%" PRId64 ",\"quarantined\":%" PRId64
               ",\"rejected\":%" PRId64 ",\"readings\":%" PRId64
               ",\"changes\":[%.*s],\"next\":",
               g->replay.dry_run ? "true" : "false", r->seen, r->stored,
               r->duplicate, r->quarantined, r->rejected, r->readings,
               STR_ARGS(buf_view(&g->changes)));
    if (r->next)
        buf_printf(b, "\"%" PRId64 "\"}\n", r->next);
    else
        buf_z(b, "null}\n");
    buf_done(&g->changes);
    if (err < 0)
        call_failed(g->call, err, NULL);
    else
        http_reply(g->call->r, 200, "application/json", buf_view(b));
}

static void again_start(void *arg, const struct pg_outcome *o)
{
    struct again *g = arg;
    const struct api_deps *d = &g->call->api->deps;
    int err = o->err < 0 ? 0 : d->replay(&g->replay, d->arg);

    if (o->err < 0) {
        call_failed(g->call, o->err, o);
    } else if (err < 0) {
        http_set_header(g->call->r, "Retry-After", "5");
        http_problem(g->call->r, 503, NULL,
                     "The server decodes other frames again just now, or its "
                     "database is away.");
    }
}

static const char *body_text(struct call *c, const char *name)
{
    struct str s = json_str(json_get(c->body, name));

    return s.p ? arena_str(http_arena(c->r), s).p : NULL;
}

/* 0 where there is none; false after a refusal. */
static bool body_id(struct call *c, const char *name, int64_t *ret)
{
    const char *text = body_text(c, name);
    char *end = NULL;

    *ret = text ? strtoll(text, &end, 10) : 0;
    if (!text || (*end == 0 && *ret > 0))
        return true;
    http_problem(c->r, 422, name, "A frame's id is a number, such as \"12\".");
    return false;
}

static void replay_serve(struct call *c)
{
    struct again *g = arena_alloc(http_arena(c->r), sizeof *g);
    char tenant[16];

    *g = (struct again){
        .call = c,
        .replay = {.tenant_id = c->tenant_id,
                   .most = REPLAY_MOST,
                   .reason = body_text(c, "reason"),
                   .serial = body_text(c, "serial"),
                   .codec = body_text(c, "codec"),
                   .from = body_text(c, "from"),
                   .to = body_text(c, "to"),
                   .dry_run = json_bool(json_get(c->body, "dry_run"), false),
                   .changed = again_changed,
                   .done = again_done,
                   .of = g}};
    const struct api_replay *r = &g->replay;
    if (!body_id(c, "frame_id", &g->replay.frame_id) ||
        !body_id(c, "after", &g->replay.after))
        return;
    if (!r->frame_id && !r->reason && !r->serial && !r->codec && !r->from &&
        !r->to && !json_bool(json_get(c->body, "all"), false)) {
        http_problem(c->r, 422, "all",
                     "Say which: frame_id, reason, serial, codec, from, to "
                     "(all that are given must fit), or all.");
        return;
    }
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    call_ask(c,
             "SELECT audit($1::int, 'quarantine.replay', 'quarantine', '',"
             " NULL, $2::jsonb) WHERE NOT $3::boolean",
             3,
             (const char *const[]){tenant, c->body_text.p,
                                   r->dry_run ? "true" : "false"},
             NULL, again_start, g);
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
    int64_t from_us, to_us; /* sound; the texts go to SQL */
    int r;

    if (!call_period(c, &from_us, &to_us))
        return;
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
#define FRAME(field, what)                                                     \
    {                                                                          \
        field, IN_BODY, FIELD_TEXT, .min = 1, .max = 19, .help = what          \
    }
static const struct field replay_fields[] = {
    FRAME("frame_id", "This one frame."),
    {"reason", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "Those quarantined for this reason."},
    {"serial", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "Those of the meter with this serial."},
    {"codec", IN_BODY, FIELD_TEXT, .min = 1, .max = 64,
     .help = "Those of meters whose model names this codec."},
    {"from", IN_BODY, FIELD_TIME, .help = "Those that arrived from then on."},
    {"to", IN_BODY, FIELD_TIME, .help = "Those that arrived before."},
    {"all", IN_BODY, FIELD_BOOL, .help = "All of the tenant's."},
    FRAME("after", "Goes on behind this frame: the \"next\" of an answer."),
    {"dry_run", IN_BODY, FIELD_BOOL,
     .help = "Only tell what would become of them."},
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
    {"POST", "/api/v1/quarantine/replay", RIGHT_CODECS,
     .name = "quarantine_replay",
     .title = "Decodes some of them again, at most 10 000 at a time.",
     .fields = replay_fields, .serve = replay_serve, .answer = "replayed"},
    {0}};
