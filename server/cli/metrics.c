/*
 * metrics.c - one line per figure; help and type come with the first of a
 * name. Counters count since the process began, as Prometheus expects.
 */
#include "server/cli/metrics.h"
#include <stdbool.h>
#include <stddef.h>

static void head(struct buf *o, const char *name, const char *type,
                 const char *help)
{
    buf_printf(o, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buf *o, const char *name, const char *type,
                const char *help, int64_t value)
{
    head(o, name, type, help);
    buf_printf(o, "%s %lld\n", name, (long long)value);
}

static void seconds(struct buf *o, const char *name, const char *type,
                    const char *help, int64_t us)
{
    head(o, name, type, help);
    buf_printf(o, "%s %lld.%06lld\n", name, (long long)(us / US_PER_S),
               (long long)(us % US_PER_S));
}

static void transports(struct buf *o, const char *name, const char *help,
                       const int64_t by_transport[2])
{
    head(o, name, "counter", help);
    buf_printf(o, "%s{transport=\"mqtt\"} %lld\n", name,
               (long long)by_transport[0]);
    buf_printf(o, "%s{transport=\"tcp\"} %lld\n", name,
               (long long)by_transport[1]);
}

static void ingest_part(struct buf *o, const struct ingest *in)
{
    struct ingest_stats s = {0};
    if (in)
        ingest_stats(in, &s);
    transports(o, "headend_frames_received_total",
               "Frames that passed the door into the journal.", s.frames);
    transports(o, "headend_frames_refused_total",
               "What was no frame at all, refused at the door.", s.rejected);
    transports(o, "headend_frames_acknowledged_total",
               "Frames acknowledged to their sender, after they were durable.",
               s.acked);
    one(o, "headend_tcp_sessions", "gauge", "Meters connected now.",
        s.sessions);
    one(o, "headend_tcp_sessions_total", "counter", "Sessions accepted.",
        s.sessions_total);
    one(o, "headend_tls_sessions_total", "counter", "Of these, with TLS.",
        s.sessions_secured);
    one(o, "headend_tcp_sessions_refused_total", "counter",
        "Meters sent away because there were tcp.sessions already.",
        s.sessions_refused);
    one(o, "headend_tcp_greetings", "gauge",
        "Connections in their TLS handshake or before their PROXY header.",
        s.greetings);
    one(o, "headend_tcp_greetings_failed_total", "counter",
        "Connections that ended there.", s.greetings_failed);
    one(o, "headend_tcp_listeners_down", "gauge",
        "Listeners that cannot be bound or have no usable certificate.",
        s.listeners_down);
    one(o, "headend_bridges", "gauge", "MQTT bridges that should run.",
        s.bridges);
    one(o, "headend_bridges_connected", "gauge",
        "MQTT bridges connected and subscribed.", s.bridges_connected);
    one(o, "headend_bridge_restarts_total", "counter",
        "Bridge processes started again after they ended.", s.bridge_restarts);
}

static void journal_part(struct buf *o, const struct journal *j, int64_t cursor)
{
    struct journal_stats s;
    int64_t from = cursor < 0 ? journal_first(j) : cursor;

    journal_stats(j, &s);
    one(o, "headend_journal_records_total", "counter", "Records written.",
        s.appended);
    one(o, "headend_journal_bytes_total", "counter", "Bytes written.",
        s.appended_bytes);
    one(o, "headend_journal_syncs_total", "counter", "Group commits.", s.syncs);
    seconds(o, "headend_journal_sync_seconds_total", "counter",
            "Time spent in them.", s.sync_us);
    one(o, "headend_journal_errors_total", "counter",
        "Writes or syncs that failed; nothing of them was acknowledged.",
        s.errors);
    one(o, "headend_journal_disk_bytes", "gauge", "Disk the journal holds.",
        s.bytes_on_disk);
    one(o, "headend_journal_pending_bytes", "gauge",
        "Journaled and not yet in PostgreSQL.", journal_end(j) - from);
    one(o, "headend_journal_full", "gauge",
        "1 while the quota stops all acknowledgements.", s.full);
}

static void pipeline_part(struct buf *o, const struct pipeline_stats *s)
{
    one(o, "headend_batches_total", "counter", "Transactions committed.",
        s->batches);
    one(o, "headend_batch_errors_total", "counter",
        "Transactions that failed and were tried again.", s->errors);
    seconds(o, "headend_batch_commit_seconds", "gauge",
            "Duration of the last transaction.", s->commit_us);
}

static void progress_part(struct buf *o, const struct progress *g)
{
    struct progress_stats s = {0};

    if (g)
        progress_stats(g, &s);
    one(o, "headend_journal_stored_bytes_per_second", "gauge",
        "Journal bytes stored in PostgreSQL, over the last seconds.",
        s.bytes_s);
    one(o, "headend_journal_arriving_bytes_per_second", "gauge",
        "Journal bytes that came in meanwhile.", s.arriving_s);
    one(o, "headend_backlog_seconds_left", "gauge",
        "Estimate until a backlog is stored; 0: there is none, -1: it does not"
        " shrink.",
        s.left_s);
}

/* One column of the ledger, a line for each tenant. */
static void column(struct buf *o, const struct ledger *l, const char *name,
                   const char *type, const char *help, size_t offset)
{
    head(o, name, type, help);
    for (const struct ledger_row *r = ledger_first(l); r; r = ledger_next(r))
        buf_printf(o, "%s{tenant=\"%d\"} %lld\n", name, r->tenant_id,
                   (long long)*(const int64_t *)((const char *)r + offset));
}

static void by_fate(struct buf *o, const char *name, const struct ledger_row *r,
                    const int64_t *counts, int n)
{
    for (int f = FATE_STORED; f < n; f++)
        if (counts[f] > 0)
            buf_printf(o, "%s{tenant=\"%d\",fate=\"%s\"} %lld\n", name,
                       r->tenant_id, ledger_fate_name(f), (long long)counts[f]);
}

static void ledger_part(struct buf *o, const struct ledger *l)
{
    const struct ledger_row *r;

    if (!ledger_known(l)) /* what an earlier life left behind is not counted */
        return;
    column(o, l, "headend_tenant_frames_received_total", "counter",
           "Frames journaled, those found in the journal at the start too.",
           offsetof(struct ledger_row, received));
    column(o, l, "headend_frames_pending", "gauge",
           "Frames journaled and not yet in PostgreSQL.",
           offsetof(struct ledger_row, pending));
    head(o, "headend_frames_total", "counter",
         "Received frames by what became of them at first; with those pending"
         " they are all that were received.");
    for (r = ledger_first(l); r; r = ledger_next(r))
        by_fate(o, "headend_frames_total", r, r->fates, LEDGER_FATES);
    head(o, "headend_frames_replayed_total", "counter",
         "Quarantined frames decoded again, by what became of them then.");
    for (r = ledger_first(l); r; r = ledger_next(r))
        by_fate(o, "headend_frames_replayed_total", r, r->replayed,
                FATE_REJECTED + 1);
    column(o, l, "headend_readings_total", "counter",
           "Readings of stored frames.", offsetof(struct ledger_row, readings));
    column(o, l, "headend_frames_missing_total", "counter",
           "Frames that a later counter of their meter showed to be missing.",
           offsetof(struct ledger_row, missing));
    column(o, l, "headend_frames_late_total", "counter",
           "Of those, frames that came after all.",
           offsetof(struct ledger_row, late));
    one(o, "headend_ledger_unaccounted", "gauge",
        "Received frames that have no fate and are not pending: 0, unless a"
        " disk damaged the journal.",
        ledger_unaccounted(l));
}

static void quota_part(struct buf *o, const struct quotas *q)
{
    const struct quota *t;

    if (!quotas_first(q))
        return;
    head(o, "headend_tenant_quota", "gauge",
         "Uplinks per minute that a tenant may send; 0: no limit.");
    for (t = quotas_first(q); t; t = quotas_next(t))
        buf_printf(o, "headend_tenant_quota{tenant=\"%d\"} %lld\n",
                   t->tenant_id, (long long)t->per_minute);
    head(o, "headend_tenant_slow", "gauge",
         "1 while a tenant is over its quota, and a minute longer.");
    for (t = quotas_first(q); t; t = quotas_next(t))
        buf_printf(o, "headend_tenant_slow{tenant=\"%d\"} %d\n", t->tenant_id,
                   quotas_slow(q, t));
    head(o, "headend_tenant_slowed_frames_total", "counter",
         "Frames that waited for their tenant's turn.");
    for (t = quotas_first(q); t; t = quotas_next(t))
        buf_printf(o,
                   "headend_tenant_slowed_frames_total{tenant=\"%d\"} %lld\n",
                   t->tenant_id, (long long)t->slowed);
    head(o, "headend_tenant_put_off_total", "counter",
         "Meters told to call later, as their turn was too far away.");
    for (t = quotas_first(q); t; t = quotas_next(t))
        buf_printf(o, "headend_tenant_put_off_total{tenant=\"%d\"} %lld\n",
                   t->tenant_id, (long long)t->refused);
}

static void deliver_part(struct buf *o, const struct deliver *d)
{
    struct deliver_stats s;

    deliver_stats(d, &s);
    one(o, "headend_webhook_deliveries_total", "counter",
        "Deliveries that a webhook took.", s.delivered);
    one(o, "headend_webhook_entries_total", "counter", "Entries in them.",
        s.entries);
    one(o, "headend_webhook_failures_total", "counter", "Attempts that failed.",
        s.failed);
    one(o, "headend_webhooks_disabled_total", "counter",
        "Webhooks disabled because they kept failing.", s.disabled);
    one(o, "headend_webhook_sending", "gauge", "Deliveries under way.",
        s.sending);
}

static void reports_part(struct buf *o, const struct reports *r)
{
    struct reports_stats s;

    reports_stats(r, &s);
    one(o, "headend_report_ticks_total", "counter",
        "Runs that a schedule asked this server for.", s.ticks);
    head(o, "headend_report_runs_total", "counter",
         "Runs that this server brought to their end.");
    buf_printf(o,
               "headend_report_runs_total{state=\"done\"} %lld\n"
               "headend_report_runs_total{state=\"failed\"} %lld\n",
               (long long)s.done, (long long)s.failed);
    one(o, "headend_report_rows_total", "counter", "Rows of those done.",
        s.rows);
    one(o, "headend_report_bytes_total", "counter", "Bytes of those done.",
        s.bytes);
    one(o, "headend_report_stumbles_total", "counter",
        "Pages that failed and were tried again.", s.stumbles);
    one(o, "headend_report_running", "gauge", "1 while one is made here.",
        s.running);
}

static void commands_part(struct buf *o, const struct command_queue *q)
{
    struct queue_stats s;

    queue_stats(q, &s);
    head(o, "headend_commands", "gauge",
         "Commands by state, of all tenants, corrections of clocks apart;"
         " counted every ten seconds.");
    buf_printf(o, "headend_commands{state=\"queued\"} %lld\n",
               (long long)s.queued);
    buf_printf(o, "headend_commands{state=\"sent\"} %lld\n", (long long)s.sent);
    buf_printf(o, "headend_commands{state=\"acknowledged\"} %lld\n",
               (long long)s.acknowledged);
    one(o, "headend_command_queued_oldest_seconds", "gauge",
        "Age of the oldest command that is queued.", s.oldest_s);
    one(o, "headend_commands_handed_total", "counter",
        "Commands said to a meter, or handed to a network server.", s.handed);
    one(o, "headend_commands_unsent_total", "counter",
        "Commands that did not leave: no session, no broker.", s.unsent);
    one(o, "headend_commands_refused_total", "counter",
        "Commands that a codec did not encode.", s.refused);
    one(o, "headend_downlink_receipts_total", "counter",
        "What network servers told of our downlinks.", s.receipts);
}

static void own_part(struct buf *o, const struct own_watch *w)
{
    struct own_verdict v = own_verdict(w);

    head(o, "headend_own_clock", "gauge",
         "1 for the state of our own clock: unwatched, ok, alarm (off by more"
         " than 100 ms), unsure (by more than 1 s, or nobody knows).");
    for (int i = 0; i <= OWN_UNSURE; i++)
        buf_printf(o, "headend_own_clock{state=\"%s\"} %d\n",
                   own_clock_name((enum own_clock)i),
                   v.state == (enum own_clock)i);
    head(o, "headend_own_clock_offset_seconds", "gauge",
         "True time less ours, as the sources agree.");
    buf_printf(o, "headend_own_clock_offset_seconds %.6f\n",
               (double)v.offset_us / 1e6);
    one(o, "headend_own_clock_sources_agreeing", "gauge",
        "Time sources that agree.", v.agree);
    one(o, "headend_sntp_requests_total", "counter", "Time requests answered.",
        own_served(w));
}

static void clocks_part(struct buf *o, const struct metrics_source *m)
{
    struct keeper_stats k;
    struct book_counts b;

    keeper_stats(m->keeper, &k);
    book_count(m->clocks, clock_utc(&clock_system), &b);
    head(o, "headend_meter_clocks", "gauge", "Clocks of meters by state.");
    for (int i = 0; i <= CLOCK_UNTRUSTED; i++)
        buf_printf(o, "headend_meter_clocks{state=\"%s\"} %lld\n",
                   clock_state_name((enum clock_state)i),
                   (long long)b.by_state[i]);
    seconds(o, "headend_meter_clock_offset_seconds_max", "gauge",
            "Largest difference of a trusted clock, either way.",
            b.offset_us_worst);
    one(o, "headend_clock_contacts_waiting", "gauge",
        "Meters whose clock is to be looked at.", k.waiting);
    one(o, "headend_clock_corrections_sent_total", "counter",
        "Corrections sent to meters.", k.sent);
    one(o, "headend_clock_corrections_verified_total", "counter",
        "Corrections that a later sample has shown.", k.verified);
    one(o, "headend_clock_corrections_failed_total", "counter",
        "Corrections that no sample has shown.", k.lost);
    one(o, "headend_contact_slots_told_total", "counter",
        "Contact slots told to meters.", k.slots);
    one(o, "headend_clock_corrections_unsent_total", "counter",
        "Corrections that did not leave: no session, no broker.", k.unsent);
    one(o, "headend_clock_jumps_total", "counter",
        "Clocks that were reset, stopped or set by others.", k.jumps);
    head(o, "headend_clock_decisions_total", "counter",
         "What was decided about clocks that were looked at.");
    for (int i = 0; i <= CORRECTION_REFUSED; i++)
        buf_printf(o, "headend_clock_decisions_total{verdict=\"%s\"} %lld\n",
                   correction_verdict_name((enum correction_verdict)i),
                   (long long)k.by_verdict[i]);
}

void metrics_print(const struct metrics_source *m, struct buf *out)
{
    struct pipeline_stats p;

    pipeline_stats(m->pipeline, &p);
    ingest_part(out, m->ingest);
    journal_part(out, m->journal, p.cursor);
    pipeline_part(out, &p);
    progress_part(out, m->progress);
    ledger_part(out, m->books);
    quota_part(out, directory_quotas(m->directory));
    deliver_part(out, m->deliver);
    reports_part(out, m->reports);
    commands_part(out, m->commands);
    one(out, "headend_database_up", "gauge",
        "1 while PostgreSQL can be reached.", pg_pool_up(m->pool));
    one(out, "headend_meters", "gauge", "Meters in the directory.",
        directory_meters(m->directory));
    seconds(out, "headend_loop_late_seconds", "gauge",
            "How late the loop was at worst since this was last asked.",
            m->loop_late_us);
    seconds(out, "headend_loop_turn_cpu_seconds", "gauge",
            "Most processor time of one turn of the loop since then.",
            m->loop_turn_us);
    own_part(out, m->own);
    clocks_part(out, m);
}
