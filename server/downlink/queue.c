/*
 * queue.c - see queue.h.
 *   a meter that dialled in: window -> (commands_for) order -> session, or
 *   nothing for it: no_command; one under way: asked again a moment later.
 *   behind a network server: look -> (commands_look) order -> downlink.
 * commands_for and commands_look have marked an order as sent before it comes
 * here; a note says that it has left. Without that note for a minute (the
 * server died) another attempt is made, or none where it must not come twice.
 */
#include "server/downlink/queue.h"
#include "codecs/registry.h"
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/downlink/kinds.h"
#include "server/downlink/notes.h"
#include "server/downlink/ways.h"
#include "server/loop/loop.h"
#include "server/store/column.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

enum {
    LOOK_MS = 500,
    COUNT_EVERY = 20, /* looks */
    GATHER_MS = 5,
    AGAIN_MS = 250, /* one is under way to this meter */
    ROUND_MOST = 500,
    ORDERS_MOST = 200,
    BRIDGED_MOST = 1000,
    ACTOR = 80
};

struct meter_ref {
    uint64_t key;
    int32_t tenant, meter;
    bool busy;
    UT_hash_handle hh;
};

struct command_queue {
    struct pg_pool *pool;
    struct ingest *in; /* NULL before the start */
    struct notes *notes;
    struct ways *ways;
    struct ticker *look, *soon;
    struct meter_ref *open, *round; /* uthash: to be asked for, and asked */
    bool asking, looking, counting, stopped;
    int looks, found; /* by the newest look */
    struct arena *arena;
    struct queue_stats stats, counted;
    char actor[ACTOR];
};

static void round_start(void *arg);

/* ---- sending ---- */

struct order {
    int32_t tenant, meter, integration;
    struct downlink_ref ref;
    struct str kind, arguments, codec, network, topic;
    uint64_t dev_eui;
    int64_t not_after_us;
};

static void note(struct command_queue *q, const struct order *o,
                 const char *event, const char *detail)
{
    notes_add(q->notes, &(struct note){.tenant_id = o->tenant,
                                       .ref = o->ref,
                                       .event = event,
                                       .actor = q->actor,
                                       .detail = detail});
}

static int to_session(struct command_queue *q, const struct order *o,
                      const struct encoded *e)
{
    return ingest_command(q->in, o->tenant, o->meter, e->payload);
}

static int to_network(struct command_queue *q, const struct order *o,
                      const struct encoded *e, bool confirmed)
{
    char id[DOWNLINK_ID];

    return ingest_downlink(
        q->in, &(struct downlink){.source = str_is(o->network, "tts")
                                                ? SOURCE_TTS
                                                : SOURCE_CHIRPSTACK,
                                  .integration_id = o->integration,
                                  .topic = o->topic,
                                  .dev_eui = o->dev_eui,
                                  .port = e->port,
                                  .payload = e->payload,
                                  .id = downlink_id(o->tenant, &o->ref, id),
                                  .confirmed = confirmed,
                                  .not_after_us = o->not_after_us});
}

static void deliver(struct command_queue *q, const struct order *o)
{
    struct encoded e = {.arena = q->arena};
    char id[32], detail[160];
    bool confirmed = false;
    int r;

    arena_reset(q->arena);
    snprintf(id, sizeof id, "c-%" PRId64, o->ref.id);
    r = kind_encode(o->kind, o->arguments, id, codec_find(o->codec), &e,
                    &confirmed);
    if (r < 0) {
        q->stats.refused++;
        snprintf(detail, sizeof detail, "not encoded by %.*s: %s",
                 STR_ARGS(o->codec), err_text(r));
        note(q, o, "refused", detail);
    } else {
        r = o->topic.n ? to_network(q, o, &e, confirmed) : to_session(q, o, &e);
        q->stats.handed += r == 0;
        q->stats.unsent += r < 0;
        snprintf(detail, sizeof detail,
                 r == 0       ? o->topic.n ? "handed to the network server"
                                           : "said in the meter's session"
                 : o->topic.n ? "not handed to the network server: %s"
                              : "not said to the meter: %s",
                 err_text(r));
        note(q, o, r == 0 ? "handed" : "unsent", detail);
    }
    log_info("command",
             "tenant=%d meter=%d command=%" PRId64
             " kind=%.*s attempt=%u err=%s",
             o->tenant, o->meter, o->ref.id, STR_ARGS(o->kind), o->ref.attempt,
             err_name(r));
}

static struct order read_order(const PGresult *res, int row)
{
    struct order o = {.tenant = (int32_t)column_int(res, row, 0, 0),
                      .meter = (int32_t)column_int(res, row, 1, 0),
                      .ref = {.id = column_int(res, row, 2, 0),
                              .attempt = (uint32_t)column_int(res, row, 3, 0)},
                      .kind = column_str(res, row, 4),
                      .arguments = column_str(res, row, 5),
                      .codec = column_str(res, row, 6),
                      .integration = (int32_t)column_int(res, row, 7, 0),
                      .network = column_str(res, row, 8),
                      .topic = column_str(res, row, 9),
                      .not_after_us = column_int(res, row, 11, 0)};

    hex_eui(column_str(res, row, 10), &o.dev_eui);
    return o;
}

/* ---- meters whose sessions listen ---- */

static uint64_t key_of(int32_t tenant, int32_t meter)
{
    return (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
}

static void open_add(struct command_queue *q, int32_t tenant, int32_t meter,
                     uint64_t after_ms)
{
    uint64_t key = key_of(tenant, meter);
    struct meter_ref *m;

    HASH_FIND(hh, q->open, &key, sizeof key, m);
    if (!m) {
        m = mem_alloc(sizeof *m);
        *m = (struct meter_ref){.key = key, .tenant = tenant, .meter = meter};
        HASH_ADD(hh, q->open, key, sizeof m->key, m);
    }
    if (!q->asking && !ticker_active(q->soon))
        ticker_start(q->soon, after_ms, 0);
}

bool queue_window(void *arg, int32_t tenant, int32_t meter)
{
    struct command_queue *q = arg;

    if (q->stopped || !q->in || !pg_pool_up(q->pool))
        return false;
    open_add(q, tenant, meter, GATHER_MS);
    return true;
}

static void on_order(void *arg, const PGresult *res, int row)
{
    struct command_queue *q = arg;
    struct order o = read_order(res, row);
    uint64_t key = key_of(o.tenant, o.meter);
    struct meter_ref *m;

    HASH_FIND(hh, q->round, &key, sizeof key, m);
    if (m && *PQgetvalue(res, row, 12) == 't') {
        m->busy = true;
        return;
    }
    if (m) {
        HASH_DEL(q->round, m);
        free(m);
    }
    deliver(q, &o);
}

static void on_orders(void *arg, const struct pg_outcome *o)
{
    static struct log_limit told;
    struct command_queue *q = arg;
    struct meter_ref *m, *next;

    if (o->err == ERR_DATABASE && log_allowed(&told))
        log_error("commands not read", "error=%s", o->error);
    HASH_ITER (hh, q->round, m, next) {
        HASH_DEL(q->round, m);
        if (!m->busy)
            ingest_no_command(q->in, m->tenant, m->meter);
        else if (ingest_listens(q->in, m->tenant, m->meter))
            open_add(q, m->tenant, m->meter, AGAIN_MS);
        free(m);
    }
    q->asking = false;
    if (q->open && !q->stopped && !ticker_active(q->soon))
        ticker_start(q->soon, AGAIN_MS, 0);
}

static void round_start(void *arg)
{
    struct command_queue *q = arg;
    struct buf tenants = {0}, meters = {0};
    struct meter_ref *m, *next;
    int n = 0;

    if (q->asking || q->stopped)
        return;
    HASH_ITER (hh, q->open, m, next) {
        if (n == ROUND_MOST)
            break;
        HASH_DEL(q->open, m);
        m->busy = false;
        HASH_ADD(hh, q->round, key, sizeof m->key, m);
        buf_printf(&tenants, "%s%d", n ? "," : "{", m->tenant);
        buf_printf(&meters, "%s%d", n++ ? "," : "{", m->meter);
    }
    if (n == 0)
        return;
    buf_put(&tenants, "}", 2);
    buf_put(&meters, "}", 2);
    q->asking = true;
    int r = pg_call(
        q->pool,
        &(struct pg_call){
            .tenant_id = PG_NO_TENANT,
            .write = true,
            .sql = "SELECT * FROM commands_for($1, $2::int[], $3::int[])",
            .n = 3,
            .values = {q->actor, (char *)tenants.p, (char *)meters.p},
            .row = on_order,
            .done = on_orders,
            .arg = q});
    buf_done(&tenants);
    buf_done(&meters);
    if (r < 0)
        on_orders(q, &(struct pg_outcome){.err = ERR_AWAY});
}

/* ---- twice a second ---- */

static void on_count(void *arg, const PGresult *res, int row)
{
    struct command_queue *q = arg;
    struct str state = column_str(res, row, 0);
    int64_t n = column_int(res, row, 1, 0);

    if (str_is(state, "sent")) {
        q->counted.sent = n;
    } else if (str_is(state, "acknowledged")) {
        q->counted.acknowledged = n;
    } else {
        q->counted.queued = n;
        q->counted.oldest_s = column_int(res, row, 2, 0);
    }
}

static void on_counted(void *arg, const struct pg_outcome *o)
{
    struct command_queue *q = arg;

    q->counting = false;
    if (o->err)
        return;
    q->stats.queued = q->counted.queued;
    q->stats.sent = q->counted.sent;
    q->stats.acknowledged = q->counted.acknowledged;
    q->stats.oldest_s = q->counted.oldest_s;
}

static void count(struct command_queue *q)
{
    q->counted = (struct queue_stats){0};
    q->counting =
        pg_call(q->pool,
                &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                  .sql = "SELECT * FROM commands_count()",
                                  .row = on_count,
                                  .done = on_counted,
                                  .arg = q}) == 0;
}

static void on_look_row(void *arg, const PGresult *res, int row)
{
    struct command_queue *q = arg;
    struct order o = read_order(res, row);

    q->found += o.ref.id != 0;
    if (o.ref.id)
        deliver(q, &o);
    else if (ingest_listens(q->in, o.tenant, o.meter))
        queue_window(q, o.tenant, o.meter);
}

static void look(void *arg);

static void on_looked(void *arg, const struct pg_outcome *o)
{
    static struct log_limit told;
    struct command_queue *q = arg;

    q->looking = false;
    if (o->err == ERR_DATABASE && log_allowed(&told))
        log_error("commands not looked at", "error=%s", o->error);
    if (q->found == ORDERS_MOST)
        look(q); /* there are more */
}

static void look(void *arg)
{
    struct command_queue *q = arg;
    static int32_t ids[BRIDGED_MOST];
    struct buf bridged = {0};
    uint32_t n;
    char most[16];

    if (q->stopped || q->looking || !pg_pool_up(q->pool))
        return;
    if (q->looks++ % COUNT_EVERY == 0 && !q->counting)
        count(q);
    n = ingest_bridged(q->in, ids, BRIDGED_MOST);
    buf_z(&bridged, "{");
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&bridged, "%s%d", i ? "," : "", ids[i]);
    buf_put(&bridged, "}", 2);
    snprintf(most, sizeof most, "%d", ORDERS_MOST);
    q->found = 0;
    q->looking =
        pg_call(
            q->pool,
            &(struct pg_call){
                .tenant_id = PG_NO_TENANT,
                .write = true,
                .sql = "SELECT * FROM commands_look($1, $2::int[], $3::int)",
                .n = 3,
                .values = {q->actor, (char *)bridged.p, most},
                .row = on_look_row,
                .done = on_looked,
                .arg = q}) == 0;
    buf_done(&bridged);
}

/* ---- what comes from outside ---- */

void queue_receipt(void *arg, int32_t tenant, const struct receipt *r,
                   journal_done_fn *done, void *done_arg)
{
    struct command_queue *q = arg;

    q->stats.receipts++;
    notes_add(q->notes, &(struct note){.tenant_id = tenant,
                                       .ref = r->ref,
                                       .event = r->event,
                                       .actor = "network server",
                                       .detail = r->detail,
                                       .done = done,
                                       .done_arg = done_arg});
}

void queue_unsent(struct command_queue *q, int32_t tenant,
                  const struct downlink_ref *correction, int err)
{
    char detail[120];

    snprintf(detail, sizeof detail, "it did not leave: %s", err_text(err));
    notes_add(q->notes, &(struct note){.tenant_id = tenant,
                                       .ref = *correction,
                                       .event = "unsent",
                                       .actor = q->actor,
                                       .detail = detail});
}

void queue_heard(struct command_queue *q, const struct clock_contact *c,
                 bool joined)
{
    ways_heard(q->ways, c->tenant_id, c->meter_id, c->integration_id, c->topic,
               joined ? c->heard_us : TIME_NONE);
}

/* ---- its life ---- */

struct command_queue *queue_new(uv_loop_t *loop, struct pg_pool *pool)
{
    struct command_queue *q = mem_alloc(sizeof *q);
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    snprintf(q->actor, sizeof q->actor, "node %s", host);
    q->pool = pool;
    q->arena = arena_new(0);
    q->notes = notes_new(loop, pool);
    q->ways = ways_new(loop, pool);
    q->look = ticker_new(loop, look, q);
    q->soon = ticker_new(loop, round_start, q);
    return q;
}

static void on_kinds(void *arg, const struct pg_outcome *o)
{
    (void)arg;
    if (o->err == ERR_DATABASE)
        log_error("kinds of commands not kept", "error=%s", o->error);
}

static void tell_kinds(struct command_queue *q)
{
    struct buf names = {0}, rows = {0};

    kinds_put(&names, &rows);
    pg_call(q->pool,
            &(struct pg_call){
                .tenant_id = PG_NO_TENANT,
                .write = true,
                .sql = "SELECT codec_commands_put($1::text[], $2::jsonb)",
                .n = 2,
                .values = {(char *)names.p, (char *)rows.p},
                .done = on_kinds});
    buf_done(&names);
    buf_done(&rows);
}

void queue_start(struct command_queue *q, struct ingest *in)
{
    if (q->stopped)
        return;
    q->in = in;
    tell_kinds(q);
    ticker_start(q->look, 1, LOOK_MS);
}

void queue_stop(struct command_queue *q)
{
    q->stopped = true;
    ticker_stop(q->look);
    ticker_stop(q->soon);
    ways_stop(q->ways);
    notes_stop(q->notes);
}

static void free_all(struct meter_ref **list)
{
    struct meter_ref *m, *next;

    HASH_ITER (hh, *list, m, next) {
        HASH_DEL(*list, m);
        free(m);
    }
}

void queue_free(struct command_queue *q)
{
    if (!q)
        return;
    free_all(&q->open);
    free_all(&q->round);
    ticker_free(q->look);
    ticker_free(q->soon);
    notes_free(q->notes);
    ways_free(q->ways);
    arena_free(q->arena);
    free(q);
}

void queue_stats(const struct command_queue *q, struct queue_stats *ret)
{
    *ret = q->stats;
}
