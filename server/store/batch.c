/*
 * batch.c - a batch becomes two binary COPY streams into temporary tables and
 * one call of store_batch(), all in one implicit transaction:
 * store_write -> write_input (copies, then results) -> write_finish.
 */
#include "server/store/batch.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/store/conn.h"
#include "server/store/copy.h"
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

/* ---- building ---- */

struct capture_row {
    const struct capture *capture;
    int64_t frame_id, received_us;
    int32_t tenant_id, meter_id;
    int16_t codec_version_id;
};

struct profile_key {
    int64_t profile_id;
    int64_t tenant_id;
};

struct profile_known { /* in a batch: with its JSON; in the writer: the key */
    struct profile_key key;
    char *json;
    UT_hash_handle hh;
};

struct store_batch {
    struct buf frames, captures, events;
    struct capture_row *rows;
    uint32_t n_rows, cap_rows, n_frames;
    struct profile_known *profiles;
    int32_t tenants[64]; /* distinct, while they fit */
    uint32_t n_tenants;
    struct buf more_tenants; /* text of those that did not fit: ",7,8" */
    struct frame_row last;
};

static void profiles_clear(struct profile_known **set)
{
    struct profile_known *p, *next;
    HASH_ITER (hh, *set, p, next) {
        HASH_DEL(*set, p);
        free(p->json);
        free(p);
    }
}

static struct profile_known *profile_find(struct profile_known *set,
                                          const struct profile_key *key)
{
    struct profile_known *p;
    HASH_FIND(hh, set, key, sizeof *key, p);
    return p;
}

static struct profile_known *profile_put(struct profile_known **set,
                                         const struct profile_key *key)
{
    struct profile_known *p = mem_alloc(sizeof *p);
    p->key = *key;
    HASH_ADD(hh, *set, key, sizeof p->key, p);
    return p;
}

struct store_batch *store_batch_new(void)
{
    struct store_batch *b = mem_alloc(sizeof *b);
    store_batch_reset(b);
    return b;
}

void store_batch_reset(struct store_batch *b)
{
    buf_clear(&b->frames);
    buf_clear(&b->captures);
    buf_clear(&b->events);
    buf_clear(&b->more_tenants);
    b->n_rows = b->n_frames = b->n_tenants = 0;
    profiles_clear(&b->profiles);
    copy_header(&b->frames);
    copy_header(&b->captures);
    buf_z(&b->events, "[");
}

void store_batch_free(struct store_batch *b)
{
    if (!b)
        return;
    profiles_clear(&b->profiles);
    buf_done(&b->frames);
    buf_done(&b->captures);
    buf_done(&b->events);
    buf_done(&b->more_tenants);
    free(b->rows);
    free(b);
}

uint32_t store_batch_frames(const struct store_batch *b)
{
    return b->n_frames;
}

static void tenant_seen(struct store_batch *b, int32_t tenant)
{
    for (uint32_t i = 0; i < b->n_tenants; i++)
        if (b->tenants[i] == tenant)
            return;
    if (b->n_tenants < sizeof b->tenants / sizeof b->tenants[0])
        b->tenants[b->n_tenants++] = tenant;
    else /* rare; a repeated number does no harm */
        buf_printf(&b->more_tenants, ",%d", tenant);
}

static void opt_int4(struct buf *b, bool there, int32_t v)
{
    if (there)
        copy_int4(b, v);
    else
        copy_null(b);
}

static void opt_int8(struct buf *b, bool there, int64_t v)
{
    if (there)
        copy_int8(b, v);
    else
        copy_null(b);
}

static void opt_int2(struct buf *b, bool there, int v)
{
    if (there)
        copy_int2(b, (int16_t)v);
    else
        copy_null(b);
}

/* The order of columns of stage_frame, see `staging` below. */
void store_batch_frame(struct store_batch *b, const struct frame_row *r)
{
    struct buf *o = &b->frames;
    const struct frame *f = r->frame;
    bool heard = r->rssi_dbm != 0 || r->snr_tenths != 0;

    b->last = *r;
    b->n_frames++;
    tenant_seen(b, f->tenant_id);
    copy_row(o, 27);
    copy_time(o, f->received_us);
    copy_time(o, r->heard_us);
    copy_int8(o, f->id);
    opt_int8(o, r->counter >= 0, r->counter);
    opt_int8(o, r->gateway != 0, (int64_t)r->gateway);
    copy_int4(o, f->tenant_id);
    opt_int4(o, f->integration_id != 0, f->integration_id);
    opt_int4(o, r->meter_id != 0, r->meter_id);
    opt_int4(o, r->port >= 0, r->port);
    copy_int4(o, (int32_t)f->size);
    copy_int4(o, (int32_t)f->count);
    opt_int4(o, r->codec != NULL, (int32_t)r->codec_version);
    opt_int2(o, heard, r->rssi_dbm);
    opt_int2(o, heard, r->snr_tenths);
    copy_int2(o, (int16_t)f->source);
    copy_int2(o, (int16_t)r->fate);
    copy_text(o, str_of(r->codec));
    copy_text(o, f->peer);
    copy_text(o, str_of(r->reason));
    copy_text(o, r->detail);
    copy_jsonb(o, r->extras);
    copy_bytes(o, r->payload);
    if (r->has_key)
        copy_uuid(o, r->key);
    else
        copy_null(o);
    copy_time(o, r->clock_us);
    copy_null(o); /* duplicate_of */
    if (r->fate == FATE_QUARANTINED) {
        struct buf record = {0};
        frame_encode(f, &record);
        copy_bytes(o, buf_view(&record));
        buf_done(&record);
    } else {
        copy_null(o);
    }
    copy_int4(o, (int32_t)b->n_frames);
}

static void profile_json(struct buf *o, int32_t tenant,
                         const struct profile *p)
{
    char obis[OBIS_TEXT];

    buf_printf(o, "{\"tenant_id\":%d,\"profile_id\":%lld,\"obis\":[", tenant,
               (long long)p->id);
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s\"%s\"", i ? "," : "",
                   obis_text(p->objects[i].obis, obis));
    buf_z(o, "],\"unit\":[");
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s\"%s\"", i ? "," : "", unit_name(p->objects[i].unit));
    buf_z(o, "],\"kind\":[");
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s\"%s\"", i ? "," : "", kind_name(p->objects[i].kind));
    buf_z(o, "],\"exp10\":[");
    for (uint32_t i = 0; i < p->n; i++)
        buf_printf(o, "%s%d", i ? "," : "", p->objects[i].exp10);
    buf_z(o, "]}");
}

void store_batch_capture(struct store_batch *b, const struct capture *c)
{
    const struct frame_row *f = &b->last;
    struct profile_key key = {c->profile->id, f->frame->tenant_id};

    if (b->n_rows == b->cap_rows) {
        b->cap_rows = b->cap_rows ? 2 * b->cap_rows : 256;
        b->rows = mem_grow(b->rows, b->cap_rows, sizeof *b->rows);
    }
    b->rows[b->n_rows++] = (struct capture_row){
        c, f->frame->id, f->frame->received_us, f->frame->tenant_id,
        f->meter_id, f->codec_version_id};
    if (profile_find(b->profiles, &key))
        return;
    struct buf json = {0};
    profile_json(&json, f->frame->tenant_id, c->profile);
    buf_u8(&json, 0);
    profile_put(&b->profiles, &key)->json = (char *)json.p;
}

static void us_member(struct buf *o, const char *name, int64_t us)
{
    if (us != TIME_NONE)
        buf_printf(o, ",\"%s\":%lld", name, (long long)us);
}

/* JSON text that jsonb takes: buf_json_str, but no NUL. */
static void json_text(struct buf *o, struct str s)
{
    size_t at = o->n;
    buf_json_str(o, s);
    for (uint8_t *p; (p = memmem(o->p + at, o->n - at, "\\u0000", 6));)
        memcpy(p, "\\ufffd", 6);
}

void store_batch_event(struct store_batch *b, const struct event_row *e)
{
    struct buf *o = &b->events;
    const struct frame *f = b->last.frame;

    buf_printf(o,
               "%s{\"tenant_id\":%d,\"meter_id\":%d,\"frame_id\":%lld,"
               "\"severity\":%d,\"state\":%d",
               o->n > 1 ? "," : "", f->tenant_id, b->last.meter_id,
               (long long)f->id, e->severity, e->state);
    us_member(o, "time", e->time_us);
    us_member(o, "meter_time", e->meter_time_us);
    us_member(o, "received_at", f->received_us);
    buf_z(o, ",\"code\":");
    json_text(o, e->code);
    if (e->detail.n) {
        buf_z(o, ",\"detail\":");
        json_text(o, e->detail);
    }
    buf_z(o, "}");
}

static int by_key(const void *pa, const void *pb)
{
    const struct capture_row *a = pa, *b = pb;
#define ORDER(x, y)                                                            \
    if ((x) != (y))                                                            \
    return (x) < (y) ? -1 : 1
    ORDER(a->tenant_id, b->tenant_id);
    ORDER(a->meter_id, b->meter_id);
    ORDER(a->capture->time_us, b->capture->time_us);
    ORDER(a->capture->profile->id, b->capture->profile->id);
    ORDER(a->frame_id, b->frame_id);
#undef ORDER
    return 0;
}

/* The order of columns of stage_capture. */
static void put_capture(struct buf *o, const struct capture_row *r)
{
    const struct capture *c = r->capture;
    copy_row(o, 12);
    copy_time(o, c->time_us);
    copy_time(o, r->received_us);
    copy_time(o, c->meter_time_us);
    copy_int8(o, r->frame_id);
    copy_int8(o, c->profile->id);
    copy_int4(o, r->tenant_id);
    copy_int4(o, r->meter_id);
    copy_int4(o, (int32_t)c->quality);
    copy_int4(o, (int32_t)c->uncertainty_ms);
    copy_int2(o, r->codec_version_id);
    copy_int8_array(o, c->values, c->profile->n);
    if (c->value_quality)
        copy_int4_array(o, c->value_quality, c->profile->n);
    else
        copy_null(o);
}

void store_batch_seal(struct store_batch *b)
{
    if (b->n_rows)
        qsort(b->rows, b->n_rows, sizeof *b->rows, by_key);
    for (uint32_t i = 0; i < b->n_rows; i++)
        put_capture(&b->captures, &b->rows[i]);
    b->n_rows = 0;
    copy_trailer(&b->frames);
    copy_trailer(&b->captures);
    buf_z(&b->events, "]");
}

/* ---- writing ---- */

static const char staging[] =
    "CREATE TEMPORARY TABLE stage_frame (received_at timestamptz, frame_time"
    " timestamptz, frame_id bigint, counter bigint, gateway bigint, tenant_id"
    " int, integration_id int, meter_id int, port int, size int, frames int,"
    " codec_version int, rssi smallint, snr smallint, source smallint, fate"
    " smallint, codec text, peer text, reason text, detail text, extras jsonb,"
    " payload bytea, key uuid, clock timestamptz, duplicate_of bigint,"
    " record bytea, ord int) ON COMMIT DELETE ROWS;"
    "CREATE TEMPORARY TABLE stage_capture (time timestamptz, received_at"
    " timestamptz, meter_time timestamptz, frame_id bigint, profile_id bigint,"
    " tenant_id int, meter_id int, quality int, uncertainty_ms int,"
    " codec_version_id smallint, values bigint[], value_quality int[])"
    " ON COMMIT DELETE ROWS";

enum { WRITE_DEADLINE_MS = 60000 };

struct store_writer {
    uv_loop_t *loop;
    struct pg_conn *conn;
    struct ticker *deadline; /* a frozen server must not hold us for ever */
    struct store_writer_events events;
    int64_t window_s;
    struct profile_known *known; /* stored by this connection's time */
    const struct store_batch *batch; /* while writing */
    const struct buf *copies[2];
    int copy; /* next stream to send */
    store_done_fn *done;
    store_cursor_fn *cursor_done;
    void *arg;
    int64_t cursor;
    bool cursor_found;
    int err;
    char error[PG_ERROR];
    struct store_count *counts;
    uint32_t n_counts;
};

static bool busy(const struct store_writer *w)
{
    return w->done || w->cursor_done;
}

bool store_writer_ready(const struct store_writer *w)
{
    return pg_conn_pq(w->conn) != NULL && !busy(w);
}

static void remember_profiles(struct store_writer *w)
{
    struct profile_known *p, *next;
    HASH_ITER (hh, w->batch->profiles, p, next)
        if (!profile_find(w->known, &p->key))
            profile_put(&w->known, &p->key);
}

static void write_finish(struct store_writer *w, int err, const char *error)
{
    store_done_fn *done = w->done;
    store_cursor_fn *cursor_done = w->cursor_done;

    ticker_stop(w->deadline);
    if (done && err == 0)
        remember_profiles(w);
    w->done = NULL;
    w->cursor_done = NULL;
    w->batch = NULL;
    if (done)
        done(w->arg,
             &(struct store_result){err, error, w->counts,
                                    err == 0 ? w->n_counts : 0});
    if (cursor_done)
        cursor_done(w->arg, err == 0 && !w->cursor_found ? ERR_UNKNOWN : err,
                    w->cursor);
}

static void take_counts(struct store_writer *w, const PGresult *res)
{
    w->n_counts = (uint32_t)PQntuples(res);
    w->counts = mem_grow(w->counts, w->n_counts + 1, sizeof *w->counts);
    for (int i = 0; i < PQntuples(res); i++)
        w->counts[i] = (struct store_count){
            (int32_t)atoi(PQgetvalue(res, i, 0)),
            (enum fate)atoi(PQgetvalue(res, i, 1)),
            atoll(PQgetvalue(res, i, 2)), atoll(PQgetvalue(res, i, 3))};
}

static void take_failure(struct store_writer *w, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (w->err)
        return;
    w->err = ERR_DATABASE;
    if (state && strcmp(state, "HE001") == 0)
        w->err = ERR_CONFLICT;
    /* Shutdown, cancel, resources, serialization: not these rows' fault. */
    static const char *const passing[] = {"57", "53", "40", "08", "58", "55"};
    for (size_t i = 0; state && i < sizeof passing / sizeof passing[0]; i++)
        if (strncmp(state, passing[i], 2) == 0)
            w->err = ERR_AWAY;
    struct str text = str_trim(str_of(PQresultErrorMessage(res)));
    snprintf(w->error, sizeof w->error, "%.*s", STR_ARGS(text));
}

static void send_copy(struct store_writer *w)
{
    PGconn *pq = pg_conn_pq(w->conn);
    const struct buf *b = w->copies[w->copy++];
    /* libpq buffers what the socket does not take; it does not block. */
    if (PQputCopyData(pq, (const char *)b->p, (int)b->n) < 0 ||
        PQputCopyEnd(pq, NULL) < 0)
        pg_conn_fail(w->conn, PQerrorMessage(pq));
    else
        pg_conn_flush(w->conn);
}

static void take(struct store_writer *w, PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COPY_IN:
        send_copy(w);
        break;
    case PGRES_TUPLES_OK:
        if (w->cursor_done) {
            w->cursor_found = PQntuples(res) == 1;
            if (w->cursor_found)
                w->cursor = atoll(PQgetvalue(res, 0, 0));
        } else if (PQnfields(res) == 4) {
            take_counts(w, res);
        }
        break;
    case PGRES_COMMAND_OK:
        break;
    default:
        take_failure(w, res);
    }
}

static void on_input(void *arg)
{
    struct store_writer *w = arg;
    for (;;) {
        PGconn *pq = pg_conn_pq(w->conn);
        if (!pq || !busy(w) || PQisBusy(pq))
            return;
        PGresult *res = PQgetResult(pq);
        if (!res) {
            write_finish(w, w->err, w->error);
            return;
        }
        bool copying = PQresultStatus(res) == PGRES_COPY_IN;
        take(w, res);
        PQclear(res);
        if (copying) /* PQgetResult would repeat COPY_IN until it ended */
            continue;
    }
}

static void on_up(void *arg)
{
    struct store_writer *w = arg;
    w->events.up(w->events.arg);
}

static void on_deadline(void *arg)
{
    struct store_writer *w = arg;
    pg_conn_fail(w->conn, "no answer to a batch within a minute");
}

static void on_down(void *arg, const char *error)
{
    struct store_writer *w = arg;
    if (busy(w))
        write_finish(w, ERR_AWAY, error);
    w->events.down(w->events.arg);
}

struct store_writer *store_writer_new(uv_loop_t *loop, const char *url,
                                      const char *role, int connect_s,
                                      int64_t dedup_window_s,
                                      const struct store_writer_events *e)
{
    struct store_writer *w = mem_alloc(sizeof *w);
    w->loop = loop;
    w->events = *e;
    w->window_s = dedup_window_s;
    w->deadline = ticker_new(loop, on_deadline, w);
    w->conn = pg_conn_new(
        loop, &(struct pg_conn_options){url, role, connect_s, staging},
        &(struct pg_conn_events){on_up, on_input, on_down, w});
    return w;
}

struct closing {
    struct store_writer *w;
    void (*done)(void *);
    void *arg;
};

static void conn_closed(void *arg)
{
    struct closing c = *(struct closing *)arg;
    free(arg);
    profiles_clear(&c.w->known);
    ticker_free(c.w->deadline);
    free(c.w->counts);
    free(c.w);
    if (c.done)
        c.done(c.arg);
}

void store_writer_close(struct store_writer *w, void (*done)(void *), void *arg)
{
    struct closing *c = mem_alloc(sizeof *c);
    *c = (struct closing){w, done, arg};
    if (busy(w))
        write_finish(w, ERR_AWAY, "shutting down");
    pg_conn_close(w->conn, conn_closed, c);
}

/* One simple query; what it does comes back through on_input. */
static void send_sql(struct store_writer *w, const char *sql)
{
    ticker_start(w->deadline, WRITE_DEADLINE_MS, 0);
    if (!PQsendQuery(pg_conn_pq(w->conn), sql))
        pg_conn_fail(w->conn, PQerrorMessage(pg_conn_pq(w->conn)));
    else
        pg_conn_flush(w->conn);
}

static void put_literal(struct buf *o, PGconn *pq, const struct buf *text)
{
    char *quoted = PQescapeLiteral(pq, (const char *)text->p, text->n);
    buf_z(o, quoted ? quoted : "NULL");
    PQfreemem(quoted);
}

static void put_profiles(struct buf *o, PGconn *pq, struct store_writer *w)
{
    struct buf json = {0};
    struct profile_known *p, *next;
    buf_z(&json, "[");
    HASH_ITER (hh, w->batch->profiles, p, next)
        if (!profile_find(w->known, &p->key))
            buf_printf(&json, "%s%s", json.n > 1 ? "," : "", p->json);
    buf_z(&json, "]");
    put_literal(o, pq, &json);
    buf_done(&json);
}

void store_write(struct store_writer *w, const struct store_batch *b,
                 int journal, int64_t from, int64_t to, store_done_fn *done,
                 void *arg)
{
    PGconn *pq = pg_conn_pq(w->conn);
    struct buf sql = {0};

    w->batch = b;
    w->copies[0] = &b->frames;
    w->copies[1] = &b->captures;
    w->copy = 0;
    w->done = done;
    w->arg = arg;
    w->err = 0;
    w->n_counts = 0;
    buf_z(&sql, "SELECT set_config('headend.tenants', '{");
    for (uint32_t i = 0; i < b->n_tenants; i++)
        buf_printf(&sql, "%s%d", i ? "," : "", b->tenants[i]);
    buf_str(&sql, buf_view(&b->more_tenants));
    buf_z(&sql, "}', true);COPY stage_frame FROM STDIN (FORMAT binary);"
                "COPY stage_capture FROM STDIN (FORMAT binary);"
                "SELECT * FROM store_batch(");
    if (journal)
        buf_printf(&sql, "%d,%lld,%lld", journal, (long long)from,
                   (long long)to);
    else
        buf_z(&sql, "NULL,0,0");
    buf_printf(&sql, ",'%lld s',", (long long)w->window_s);
    put_profiles(&sql, pq, w);
    buf_z(&sql, ",");
    put_literal(&sql, pq, &b->events);
    buf_z(&sql, ")");
    buf_u8(&sql, 0);
    send_sql(w, (const char *)sql.p);
    buf_done(&sql);
}

void store_cursor(struct store_writer *w, int journal, store_cursor_fn *done,
                  void *arg)
{
    char sql[96];

    w->cursor_done = done;
    w->arg = arg;
    w->err = 0;
    w->cursor_found = false;
    w->cursor = 0;
    snprintf(sql, sizeof sql, "SELECT cursor FROM journal WHERE journal_no = %d",
             journal);
    send_sql(w, sql);
}
