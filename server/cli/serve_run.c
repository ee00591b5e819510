/*
 * serve_run.c - what its rooms tell the running server, and ask of it.
 */
#include "server/base/log.h"
#include "server/cli/server.h"
#include <stdio.h>

void server_on_metrics(struct buf *out, void *arg)
{
    struct server *v = arg;
    struct metrics_source m = {
        v->journal,   v->ingest,   v->pipeline, v->books,  v->pool,
        v->directory, v->progress, v->keeper,   v->clocks, v->own,
        v->deliver,   v->reports,  v->commands, 0,         0};
    if (v->pulse)
        pulse_take(v->pulse, &m.loop_late_us, &m.loop_turn_us);
    metrics_print(&m, out);
}

int64_t server_on_pending(int32_t tenant_id, void *arg)
{
    const struct server *v = arg;
    return ledger_pending_of(v->books, tenant_id);
}

void server_on_examine(struct str record, struct str codec, struct arena *a,
                       struct api_examined *ret, void *arg)
{
    struct examined x;

    (void)arg;
    if (examine(record, codec, a, &x) == 0)
        *ret = (struct api_examined){
            x.device,  x.payload,       str_of(x.codec ? x.codec->name : NULL),
            x.decoded, str_of(x.error), x.offset};
}

static void replay_changed(void *arg, const struct replay_change *c)
{
    const struct api_replay *r = arg;

    r->changed(r->of, c->frame_id, c->was, fate_name(c->fate), c->reason,
               c->readings);
}

static void replay_done(void *arg, const struct replay_result *x)
{
    const struct api_replay *r = arg;

    r->done(r->of, x->err,
            &(struct api_replayed){x->seen, x->stored, x->duplicate,
                                   x->quarantined, x->rejected, x->readings,
                                   x->next});
}

int server_on_replay(const struct api_replay *r, void *arg)
{
    struct server *v = arg;
    const struct replay_options o = {.tenant_id = r->tenant_id,
                                     .frame_id = r->frame_id,
                                     .after = r->after,
                                     .most = r->most,
                                     .reason = r->reason,
                                     .serial = r->serial,
                                     .codec = r->codec,
                                     .from = r->from,
                                     .to = r->to,
                                     .dry_run = r->dry_run,
                                     .changed = replay_changed};

    return strangers_replay(v->strangers, &o, replay_done, (void *)r);
}

int server_on_prove(int32_t tenant_id, struct str script, struct str mapping,
                    struct str vectors, struct arena *a, struct str *why,
                    void *arg)
{
    const struct server *v = arg;
    return tenant_codec_prove(v->scripts, tenant_id, script, mapping, vectors,
                              a, why);
}

const char *server_not_ready(void *arg)
{
    struct server *v = arg;
    struct journal_stats s;
    journal_stats(v->journal, &s);
    if (v->stopping)
        return "stopping";
    if (!v->booted)
        return boot_waits_for(v->boot);
    if (!v->serving)
        return "the directory of meters is being loaded";
    if (s.full)
        return "the journal is full; nothing is acknowledged";
    if (!pg_pool_up(v->pool))
        return "PostgreSQL is away; meters are still acknowledged";
    return NULL;
}

static void maintained(void *arg, const struct pg_outcome *o)
{
    (void)arg;
    if (o->err)
        log_warning("maintenance failed", "error=%s", o->error);
}

void server_on_maintain(void *arg)
{
    struct server *v = arg;
    char longest[24];

    snprintf(longest, sizeof longest, "%lld", (long long)v->s->session_most_s);
    pg_call(v->pool, &(struct pg_call){
                         .tenant_id = PG_NO_TENANT,
                         .write = true,
                         .sql = "SELECT maintain(($1 || ' s')::interval),"
                                " expire_frames(), expire_people($2::int),"
                                " feed_expire(), expire_samples(),"
                                " tenants_sweep()",
                         .n = 2,
                         .values = {v->window, longest},
                         .done = maintained,
                     });
    slotting_wake(v->slotting); /* a plan is of a day */
}

void server_on_changed(void *arg)
{
    struct server *v = arg;
    if (v->booted && !v->stopping)
        feed_wake(v->feed);
}

void server_on_loaded(void *arg)
{
    struct server *v = arg;
    v->fed = true;
    if (v->stopping)
        return;
    ingest_apply(v->ingest);
    uint64_t since;
    if (feed_news(v->feed, &since)) {
        strangers_meet(v->strangers, since);
        slotting_wake(v->slotting);
    }
    if (v->serving || !keeper_loaded(v->keeper))
        return;
    v->serving = true;
    pipeline_start(v->pipeline);
    log_info("serving", "http=%s port=%d tcp=%s journal=%s", v->s->http_listen,
             http_port(v->http), *v->s->tcp_listen ? v->s->tcp_listen : "none",
             v->s->journal_dir);
}

void server_on_booted(void *arg)
{
    struct server *v = arg;
    v->booted = true;
    deliver_start(v->deliver);
    reports_start(v->reports);
    keeper_start(v->keeper);
    queue_start(v->commands, v->ingest);
    feed_wake(v->feed);
}

/* The cursor and the backlog are known. */
void server_on_counted(void *arg)
{
    struct server *v = arg;
    struct pipeline_stats s;

    if (v->reconciled || v->stopping)
        return;
    v->reconciled = true;
    pipeline_stats(v->pipeline, &s);
    reconcile_start(v->pool, v->journal, s.cursor, ledger_pending(v->books));
}

/* ---- clocks ---- */

void server_on_contact(void *arg, const struct clock_contact *c)
{
    struct server *v = arg;
    keeper_contact(v->keeper, c);
}

void server_on_heard(void *arg, const struct clock_contact *c, bool joined)
{
    struct server *v = arg;
    queue_heard(v->commands, c, joined);
}

void server_on_clocks_loaded(void *arg)
{
    struct server *v = arg;
    if (v->fed)
        server_on_loaded(v);
}

bool server_ours_unsure(void *arg)
{
    const struct server *v = arg;
    return own_unsure(v->own);
}

/* What the time service kept as sent, and how that went. */
static int sent(struct server *v, int32_t tenant,
                const struct downlink_ref *correction, int err)
{
    if (err < 0 && correction->id)
        queue_unsent(v->commands, tenant, correction, err);
    return err;
}

/* ChirpStack wants a UUID, and one only once; without a correction there is
 * nothing that a receipt of it could tell of. */
int server_send_downlink(void *arg, const struct clock_contact *c,
                         const struct clock_answer *a, int64_t correction_id)
{
    struct server *v = arg;
    const struct downlink_ref ref = {true, correction_id,
                                     (uint32_t)(c->heard_us / 1000)};
    char id[DOWNLINK_ID];

    struct downlink d = {
        .source = c->source,
        .integration_id = c->integration_id,
        .topic = c->topic,
        .dev_eui = c->dev_eui,
        .port = a->port,
        .payload = {(const char *)a->bytes, (size_t)a->n},
        .id = correction_id ? downlink_id(c->tenant_id, &ref, id) : NULL};

    return sent(v, c->tenant_id, &ref, ingest_downlink(v->ingest, &d));
}

int server_send_clock(void *arg, int32_t tenant, int32_t meter,
                      int64_t correction_id, int64_t shift_us)
{
    struct server *v = arg;
    const struct downlink_ref ref = {.correction = true, .id = correction_id};
    char id[32];

    snprintf(id, sizeof id, "clock-%lld", (long long)correction_id);
    return sent(v, tenant, &ref,
                ingest_set_clock(v->ingest, tenant, meter, id, shift_us));
}

int server_send_slot(void *arg, int32_t tenant, int32_t meter, int32_t at_s,
                     int32_t window_s)
{
    struct server *v = arg;
    return ingest_set_slot(v->ingest, tenant, meter, at_s, window_s);
}

void server_on_stored(void *arg)
{
    struct server *v = arg;
    strangers_stored(v->strangers);
}
