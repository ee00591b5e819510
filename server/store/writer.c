/*
 * writer.c - two COPY streams into temporary tables, one call of store_batch(),
 * count_frames() and feed_batch() each, all in one implicit transaction:
 * store_write -> on_input (copies, then results) -> write_finish.
 */
#include "server/base/mem.h"
#include "server/store/batch_rows.h"
#include "server/store/conn.h"
#include <stdio.h>
#include <stdlib.h>

/* A temporary table without TOAST is emptied in a third of the time, and that
 * is done at each commit: columns of any length are PLAIN (in the statement
 * that adds them: a TOAST table that was made once stays) until a batch comes
 * with a row that a page cannot hold. */
static const char staging[] =
    "CREATE TEMPORARY TABLE stage_frame (received_at timestamptz, frame_time"
    " timestamptz, frame_id bigint, counter bigint, gateway bigint, tenant_id"
    " int, integration_id int, meter_id int, port int, size int, frames int,"
    " codec_version int, rssi smallint, snr smallint, source smallint, fate"
    " smallint, key uuid, clock timestamptz, duplicate_of bigint, session"
    " bigint, run int, run_since timestamptz) ON COMMIT DELETE ROWS;"
    "ALTER TABLE stage_frame ADD codec text, ADD peer text, ADD reason text,"
    " ADD detail text, ADD extras jsonb, ADD payload bytea, ADD record bytea,"
    " ALTER codec SET STORAGE PLAIN, ALTER peer SET STORAGE PLAIN,"
    " ALTER reason SET STORAGE PLAIN, ALTER detail SET STORAGE PLAIN,"
    " ALTER extras SET STORAGE PLAIN, ALTER payload SET STORAGE PLAIN,"
    " ALTER record SET STORAGE PLAIN;"
    "CREATE TEMPORARY TABLE stage_capture (time timestamptz, received_at"
    " timestamptz, meter_time timestamptz, frame_id bigint, profile_id bigint,"
    " tenant_id int, meter_id int, quality int, uncertainty_ms int,"
    " codec_version_id smallint) ON COMMIT DELETE ROWS;"
    "ALTER TABLE stage_capture ADD values bigint[], ADD value_quality int[],"
    " ALTER values SET STORAGE PLAIN, ALTER value_quality SET STORAGE PLAIN";
static const char widening[] =
    "ALTER TABLE stage_frame ALTER peer SET STORAGE EXTENDED,"
    " ALTER detail SET STORAGE EXTENDED, ALTER extras SET STORAGE EXTENDED,"
    " ALTER payload SET STORAGE EXTENDED, ALTER record SET STORAGE EXTENDED;"
    "ALTER TABLE stage_capture ALTER values SET STORAGE EXTENDED,"
    " ALTER value_quality SET STORAGE EXTENDED;";

enum { SLICE = 128 * 1024 };
/* The results that have rows, by their columns. */
enum { COLUMNS_GAPS = 3, COLUMNS_COUNTS = 4 };

struct store_writer {
    uv_loop_t *loop;
    struct pg_conn *conn;
    struct ticker *deadline; /* a frozen server must not hold us for ever */
    struct store_writer_events events;
    struct store_writer_options o;
    struct profile_known *known;     /* stored by this connection's time */
    const struct store_batch *batch; /* while writing */
    const struct buf *copies[2];
    int copy;                  /* next stream to send */
    const struct buf *copying; /* this one, up to here */
    size_t copied;
    bool wide; /* this connection's tables take rows of any length */
    store_done_fn *done;
    store_cursor_fn *cursor_done;
    void *arg;
    int64_t cursor;
    bool cursor_found;
    int err;
    char error[PG_ERROR];
    struct store_count *counts;
    uint32_t n_counts;
    struct store_gap *gaps;
    uint32_t n_gaps;
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
    if (w->batch && err == 0) {
        remember_profiles(w);
        w->wide |= w->batch->wide;
    }
    w->done = NULL;
    w->cursor_done = NULL;
    w->batch = NULL;
    w->copying = NULL;
    if (done)
        done(w->arg, &(struct store_result){err, error, w->counts,
                                            err == 0 ? w->n_counts : 0, w->gaps,
                                            err == 0 ? w->n_gaps : 0});
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

static void take_gaps(struct store_writer *w, const PGresult *res)
{
    w->n_gaps = (uint32_t)PQntuples(res);
    w->gaps = mem_grow(w->gaps, w->n_gaps + 1, sizeof *w->gaps);
    for (int i = 0; i < PQntuples(res); i++)
        w->gaps[i] = (struct store_gap){(int32_t)atoi(PQgetvalue(res, i, 0)),
                                        atoll(PQgetvalue(res, i, 1)),
                                        atoll(PQgetvalue(res, i, 2))};
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

/* The rest of the stream that is being sent, a slice at a time: a turn of the
 * loop is short, and libpq never holds the whole once more. */
static void send_copy(struct store_writer *w)
{
    const struct buf *b = w->copying;

    while (b && w->copied < b->n) {
        PGconn *pq = pg_conn_pq(w->conn);
        size_t n = b->n - w->copied < SLICE ? b->n - w->copied : SLICE;

        if (PQputCopyData(pq, (const char *)b->p + w->copied, (int)n) <= 0) {
            pg_conn_fail(w->conn, PQerrorMessage(pq));
            return;
        }
        w->copied += n;
        if (!pg_conn_flush(w->conn))
            return; /* on_room goes on, or all is over */
    }
    if (!b)
        return;
    w->copying = NULL;
    if (PQputCopyEnd(pg_conn_pq(w->conn), NULL) < 0)
        pg_conn_fail(w->conn, PQerrorMessage(pg_conn_pq(w->conn)));
    else
        pg_conn_flush(w->conn);
}

static void take(struct store_writer *w, PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COPY_IN:
        w->copying = w->copies[w->copy++];
        w->copied = 0;
        send_copy(w);
        break;
    case PGRES_TUPLES_OK:
        if (w->cursor_done) {
            w->cursor_found = PQntuples(res) == 1;
            if (w->cursor_found)
                w->cursor = atoll(PQgetvalue(res, 0, 0));
        } else if (PQnfields(res) == COLUMNS_COUNTS) {
            take_counts(w, res);
        } else if (PQnfields(res) == COLUMNS_GAPS) {
            take_gaps(w, res);
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
        if (!pq || !busy(w) || w->copying || PQisBusy(pq))
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

/* What came meanwhile is an error, and waits for the end of the stream. */
static void on_room(void *arg)
{
    struct store_writer *w = arg;
    send_copy(w);
    if (!w->copying)
        on_input(w);
}

static void on_up(void *arg)
{
    struct store_writer *w = arg;
    w->wide = false;
    w->events.up(w->events.arg);
}

static void on_deadline(void *arg)
{
    struct store_writer *w = arg;
    pg_conn_fail(w->conn, "no answer to a batch within database.batch_timeout");
}

static void on_down(void *arg, const char *error)
{
    struct store_writer *w = arg;
    if (busy(w))
        write_finish(w, ERR_AWAY, error);
    w->events.down(w->events.arg);
}

struct store_writer *store_writer_new(uv_loop_t *loop,
                                      const struct store_writer_options *o,
                                      const struct store_writer_events *e)
{
    struct store_writer *w = mem_alloc(sizeof *w);
    w->loop = loop;
    w->events = *e;
    w->o = *o;
    w->deadline = ticker_new(loop, on_deadline, w);
    w->conn = pg_conn_new(
        loop, &(struct pg_conn_options){o->url, o->role, o->connect_s, staging},
        &(struct pg_conn_events){on_up, on_input, on_room, on_down, w});
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
    free(c.w->gaps);
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
    ticker_start(w->deadline, (uint64_t)w->o.batch_s * 1000, 0);
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

static void put_notes(struct buf *o, PGconn *pq, const char *head,
                      const struct buf *notes, const char *tail)
{
    if (notes->n == 0)
        return;
    buf_z(o, head);
    put_literal(o, pq, notes);
    buf_z(o, tail);
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
    w->n_counts = w->n_gaps = 0;
    buf_z(&sql, "SELECT set_config('headend.tenants', '{");
    for (uint32_t i = 0; i < b->n_tenants; i++)
        buf_printf(&sql, "%s%d", i ? "," : "", b->tenants[i]);
    buf_str(&sql, buf_view(&b->more_tenants));
    buf_z(&sql, "}', true);");
    if (b->wide && !w->wide)
        buf_z(&sql, widening);
    buf_z(&sql, "COPY stage_frame FROM STDIN (FORMAT binary);"
                "COPY stage_capture FROM STDIN (FORMAT binary);");
    put_notes(&sql, pq, "SELECT refuse_replayed(", &b->notes, ");");
    buf_z(&sql, "SELECT * FROM store_batch(");
    if (journal)
        buf_printf(&sql, "%d,%lld,%lld", journal, (long long)from,
                   (long long)to);
    else
        buf_z(&sql, "NULL,0,0");
    buf_printf(&sql, ",'%lld s',", (long long)w->o.dedup_window_s);
    put_profiles(&sql, pq, w);
    buf_z(&sql, ",");
    put_literal(&sql, pq, &b->events);
    buf_z(&sql, ");SELECT * FROM count_frames(");
    if (journal)
        buf_printf(&sql, "%d,%lld)", journal, (long long)to);
    else
        buf_z(&sql, "NULL,0)");
    put_notes(&sql, pq, ";SELECT store_notes(", &b->notes, ")");
    buf_z(&sql, ";SELECT FROM feed_batch()");
    buf_u8(&sql, 0);
    send_sql(w, (const char *)sql.p);
    buf_done(&sql);
}

void store_fates(struct store_writer *w, const struct store_range *range,
                 store_done_fn *done, void *arg)
{
    char sql[256];

    w->done = done;
    w->arg = arg;
    w->err = 0;
    w->n_counts = w->n_gaps = 0;
    snprintf(sql, sizeof sql,
             "SELECT * FROM batch_fates(%lld, %lld, %lld, %lld);"
             "SELECT * FROM batch_gaps(%d, %lld)",
             (long long)range->from, (long long)range->to,
             (long long)range->first_us, (long long)range->last_us,
             range->journal, (long long)range->cursor);
    send_sql(w, sql);
}

void store_cursor(struct store_writer *w, int journal, store_cursor_fn *done,
                  void *arg)
{
    char sql[128];

    w->cursor_done = done;
    w->arg = arg;
    w->err = 0;
    w->cursor_found = false;
    w->cursor = 0;
    snprintf(sql, sizeof sql,
             "SELECT cursor FROM journal WHERE journal_no = %d FOR UPDATE",
             journal);
    send_sql(w, sql);
}
