/*
 * frames.c - GET /api/v1/frames (newest first) and /api/v1/frames/{id}, which
 * adds the payload, the detail of a refusal and what came of it.
 */
#include "server/api/list.h"
#include "server/base/decimal.h"
#include "server/base/hex.h"
#include "server/store/frame.h"

#include <inttypes.h>
#include <stdio.h>

/* Tenths of a decibel as decibels: "-75" is -7.5. */
static void put_snr(struct buf *b, struct str tenths)
{
    char text[DECIMAL_TEXT];
    struct decimal d;

    if (tenths.p && decimal_parse(tenths, &d) == 0) {
        d.exp10 -= 1;
        put_number(b, "snr", str_of(decimal_text(d, text)));
    } else {
        put_number(b, "snr", (struct str){0});
    }
}

/* Without the closing brace. */
static void put_frame(struct buf *b, const struct frame_row *f)
{
    buf_printf(b, "{\"frame_id\":\"%" PRId64 "\"", f->frame_id);
    put_time(b, "received_at", f->received_us);
    put_time(b, "frame_time", f->frame_us);
    put_text(b, "source", str_of(source_name((enum frame_source)f->source)));
    put_number(b, "integration_id", f->integration_id);
    put_number(b, "meter_id", f->meter_id);
    put_text(b, "fate", str_of(fate_name((enum fate)f->fate)));
    put_text(b, "reason", f->reason);
    put_text(b, "codec", f->codec);
    put_number(b, "codec_version", f->codec_version);
    put_number(b, "counter", f->counter);
    put_number(b, "port", f->port);
    buf_printf(b, ",\"size\":%" PRId64, f->size);
    put_number(b, "rssi_dbm", f->rssi_dbm);
    put_snr(b, f->snr_tenths);
    put_text(b, "peer", f->peer);
    put_text(b, "duplicate_of", f->duplicate_of);
}

static int64_t cursor_id(const struct list *l)
{
    return strtoll(l->key.text, NULL, 10);
}

static int query(struct list *l, int64_t n)
{
    const struct pg_taker taker = {list_row, list_done, l};
    struct frame_filter *f = l->filter;

    f->before_us = l->keyed ? l->key.n : TIME_NONE;
    f->before_id = cursor_id(l);
    f->limit = n;
    return frame_list(l->call->api->deps.pool, f, &taker);
}

static void row(struct list *l, const PGresult *res, struct buf *out,
                struct list_key *key)
{
    struct frame_row f;

    (void)l;
    frame_read(res, 0, &f);
    put_frame(out, &f);
    buf_u8(out, '}');
    key->n = f.received_us;
    snprintf(key->text, sizeof key->text, "%" PRId64, f.frame_id);
}

static const struct list_kind kind = {.query = query, .row = row};

static bool read_fate(struct call *c, int *ret)
{
    struct str s = http_query(c->r, "fate");

    *ret = 0;
    if (!s.p)
        return true;
    for (enum fate f = FATE_STORED; f <= FATE_REJECTED; f++)
        if (str_is(s, fate_name(f))) {
            *ret = f;
            return true;
        }
    http_problem(c->r, 400, "fate",
                 "\"fate\" takes stored, duplicate, quarantined or rejected.");
    return false;
}

static void frames_serve(struct call *c)
{
    struct frame_filter *f = arena_alloc(http_arena(c->r), sizeof *f);
    struct list *l;

    f->tenant_id = c->tenant_id;
    f->reason = call_text(c, "reason");
    if (!call_period(c, &f->from_us, &f->to_us) || !read_fate(c, &f->fate) ||
        !call_int(c, "meter_id", 1, INT32_MAX, 0, &f->meter_id))
        return;
    l = list_new(c, &kind);
    if (!l)
        return;
    if (l->keyed && (!call_is_time(l->key.n) || cursor_id(l) <= 0)) {
        list_bad_cursor(c);
        return;
    }
    l->filter = f;
    l->head = STR("{\"frames\":[");
    list_query(l);
}

/* As hex, and as text where it is text. */
static void put_payload(struct buf *b, struct call *c, struct str hex)
{
    uint8_t *bytes = arena_alloc(http_arena(c->r), hex.n / 2 + 1);
    int n = bytes ? hex_decode(hex, bytes, hex.n / 2) : -1;
    struct str text = {(const char *)bytes, n > 0 ? (size_t)n : 0};

    put_text(b, "payload", hex);
    put_text(b, "payload_text",
             n > 0 && str_utf8(text) ? text : (struct str){0});
}

static void one_row(void *arg, const PGresult *res, int at)
{
    struct call *c = arg;
    struct buf *b = &c->api->scratch;
    struct frame_row f;

    frame_read(res, at, &f);
    buf_clear(b);
    put_frame(b, &f);
    put_text(b, "detail", f.detail);
    put_number(b, "extras", f.extras);
    put_payload(b, c, f.payload);
    buf_printf(b, ",\"frames\":%" PRId64 ",\"captures\":%" PRId64 "}\n",
               f.frames, f.captures);
    c->found = arena_str(http_arena(c->r), buf_view(b));
}

static void frame_serve(struct call *c)
{
    const struct pg_taker taker = {one_row, call_reply_found, c};
    int64_t id;
    int r;

    if (!call_id(c, &id))
        return;
    r = frame_get(c->api->deps.pool, c->tenant_id, id, &taker);
    if (r < 0)
        call_failed(c, r, NULL);
}

static const struct field list_fields[] = {
    {"from", IN_QUERY, FIELD_TIME, .help = "First arrival, inclusive."},
    {"to", IN_QUERY, FIELD_TIME, .help = "End, exclusive."},
    {"fate", IN_QUERY, FIELD_TEXT,
     .one_of = "stored|duplicate|quarantined|rejected",
     .help = "What became of it."},
    {"meter_id", IN_QUERY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Only this meter's."},
    {"reason", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Why it was not stored."},
    {0}};
static const struct field id_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT64_MAX, .help = "frame_id"},
    {0}};

const struct endpoint frame_endpoints[] = {
    {"GET", "/api/v1/frames", RIGHT_VIEW, .name = "frames_list",
     .title = "Frames and their fate, newest first.", .fields = list_fields,
     .list = "frames", .serve = frames_serve, .answer = "frame"},
    {"GET", "/api/v1/frames/{id}", RIGHT_VIEW, .name = "frame_get",
     .title = "One frame: its payload, and what came of it.",
     .fields = id_fields, .serve = frame_serve, .answer = "frame_whole"},
    {0}};
