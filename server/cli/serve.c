/*
 * serve.c - headend serve: opens the rooms bottom-up, runs the loop, closes
 * them top-down.
 *   start: journal, pool, pipeline, http, api -> boot -> directory ->
 *          pipeline_start, ingest_apply: "serving" -> backlog: "reconciled"
 *   stop:  ingest -> pipeline -> strangers -> deliver -> http -> watch -> pool
 * -> journal
 */
#include "ingest/admit.h"
#include "ingest/ingest.h"
#include "server/api/api.h"
#include "server/base/hash.h"
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/cli/boot.h"
#include "server/cli/cli.h"
#include "server/cli/metrics.h"
#include "server/cli/secrets.h"
#include "server/clocks/keeper.h"
#include "server/clocks/own.h"
#include "server/clocks/slotting.h"
#include "server/deliver/deliver.h"
#include "server/loop/loop.h"
#include "server/loop/pulse.h"
#include "server/pipeline/examine.h"
#include "server/pipeline/feed.h"
#include "server/pipeline/pipeline.h"
#include "server/pipeline/progress.h"
#include "server/pipeline/reconcile.h"
#include "server/pipeline/strangers.h"
#include "server/pipeline/tenant_codec.h"
#include "server/store/watch.h"
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    STOP_MOST_MS = 15000, /* then we leave: the journal makes that safe */
    HTTP_GRACE_MS = 2000,
    MAINTAIN_MS = 3600 * 1000,
    API_DEADLINE_MS = 30000,
    API_QUEUE = 2000,
};

struct server {
    const struct settings *s;
    uv_loop_t loop;
    uv_signal_t signals[3]; /* the last one: read certificates anew */
    char program[4096];
    struct journal *journal;
    struct directory *directory;
    struct vault *vault;
    struct scripts *scripts;
    struct pg_pool *pool;
    struct store_watch *watch;
    struct feed *feed;
    struct boot *boot;
    struct ledger *books;
    struct pipeline *pipeline;
    struct progress *progress;
    struct strangers *strangers;
    struct ingest *ingest;
    struct deliver *deliver;
    struct clock_book *clocks;
    struct keeper *keeper;
    struct slotting *slotting;
    struct own_watch *own; /* our own clock */
    struct http *http;
    struct api *api;
    struct ticker *maintain, *stop_limit;
    struct pulse *pulse;
    int16_t codec_ids[STAGE_CODECS];
    bool booted, fed, serving, stopping, reconciled;
    char window[32];
    struct oidc_options oidc;
    char redirect_uri[400];
    struct ingest_options
        ingest_options; /* the rooms of ingest keep a pointer */
};

/* ---- running ---- */

static void on_metrics(struct buf *out, void *arg)
{
    struct server *v = arg;
    struct metrics_source m = {v->journal, v->ingest,    v->pipeline, v->books,
                               v->pool,    v->directory, v->progress, v->keeper,
                               v->clocks,  v->own,       v->deliver,  0,
                               0};
    if (v->pulse)
        pulse_take(v->pulse, &m.loop_late_us, &m.loop_turn_us);
    metrics_print(&m, out);
}

static int64_t on_pending(int32_t tenant_id, void *arg)
{
    const struct server *v = arg;
    return ledger_pending_of(v->books, tenant_id);
}

static void on_examine(struct str record, struct str codec, struct arena *a,
                       struct api_examined *ret, void *arg)
{
    struct examined x;

    (void)arg;
    if (examine(record, codec, a, &x) == 0)
        *ret = (struct api_examined){
            x.device,  x.payload,       str_of(x.codec ? x.codec->name : NULL),
            x.decoded, str_of(x.error), x.offset};
}

static int on_prove(int32_t tenant_id, struct str script, struct str mapping,
                    struct str vectors, struct arena *a, struct str *why,
                    void *arg)
{
    const struct server *v = arg;
    return tenant_codec_prove(v->scripts, tenant_id, script, mapping, vectors,
                              a, why);
}

static const char *not_ready(void *arg)
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

static void on_maintain(void *arg)
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
}

static void on_changed(void *arg)
{
    struct server *v = arg;
    if (v->booted && !v->stopping)
        feed_wake(v->feed);
}

static void on_loaded(void *arg)
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

static void on_booted(void *arg)
{
    struct server *v = arg;
    v->booted = true;
    deliver_start(v->deliver);
    keeper_start(v->keeper);
    feed_wake(v->feed);
}

/* The cursor and the backlog are known. */
static void on_counted(void *arg)
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

static void on_contact(void *arg, const struct clock_contact *c)
{
    struct server *v = arg;
    keeper_contact(v->keeper, c);
}

static void on_clocks_loaded(void *arg)
{
    struct server *v = arg;
    if (v->fed)
        on_loaded(v);
}

static bool ours_unsure(void *arg)
{
    const struct server *v = arg;
    return own_unsure(v->own);
}

/* ChirpStack wants a UUID, and one only once. */
static int send_downlink(void *arg, const struct clock_contact *c,
                         const struct clock_answer *a, int64_t correction_id)
{
    struct server *v = arg;
    char text[80], hex[33], id[37];

    snprintf(text, sizeof text, "%d|%lld|%lld", c->tenant_id,
             (long long)correction_id, (long long)c->heard_us);
    struct hash128 h = hash128(text, strlen(text));
    hex_encode(h.b, sizeof h.b, hex);
    snprintf(id, sizeof id, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
             hex + 16, hex + 20);
    return ingest_downlink(
        v->ingest,
        &(struct downlink){.source = c->source,
                           .integration_id = c->integration_id,
                           .topic = c->topic,
                           .dev_eui = c->dev_eui,
                           .port = a->port,
                           .payload = {(const char *)a->bytes, (size_t)a->n},
                           .id = id});
}

static int send_clock(void *arg, int32_t tenant, int32_t meter,
                      int64_t correction_id, int64_t shift_us)
{
    struct server *v = arg;
    char id[32];

    snprintf(id, sizeof id, "clock-%lld", (long long)correction_id);
    return ingest_set_clock(v->ingest, tenant, meter, id, shift_us);
}

static void on_stored(void *arg)
{
    struct server *v = arg;
    strangers_stored(v->strangers);
}

/* ---- stopping ---- */

static void close_rest(void *arg)
{
    struct server *v = arg;
    own_free(v->own);
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&v->signals[i], NULL);
    ticker_free(v->stop_limit);
    v->stop_limit = NULL;
    log_info("stopped", "pid=%d", getpid());
}

static void pool_closed(void *arg)
{
    struct server *v = arg;
    journal_close(v->journal, close_rest, v);
}

static void watch_closed(void *arg)
{
    struct server *v = arg;
    pg_pool_close(v->pool, pool_closed, v);
}

static void http_stopped(void *arg)
{
    struct server *v = arg;
    store_watch_close(v->watch, watch_closed, v);
}

static void deliver_stopped(void *arg)
{
    struct server *v = arg;
    http_stop(v->http, HTTP_GRACE_MS, http_stopped, v);
}

static void strangers_stopped(void *arg)
{
    struct server *v = arg;
    deliver_stop(v->deliver, deliver_stopped, v);
}

static void pipeline_stopped(void *arg)
{
    struct server *v = arg;
    strangers_stop(v->strangers, strangers_stopped, v);
}

static void ingest_stopped(void *arg)
{
    struct server *v = arg;
    pipeline_stop(v->pipeline, pipeline_stopped, v);
}

static void on_stop_limit(void *arg)
{
    (void)arg;
    log_error("stopping takes too long", "after_ms=%d", STOP_MOST_MS);
    _exit(1); /* what is not stored is in the journal */
}

static void on_signal(uv_signal_t *h, int number)
{
    struct server *v = h->data;
    if (v->stopping) {
        log_warning("second signal, leaving at once", "signal=%d", number);
        _exit(1);
    }
    v->stopping = true;
    log_info("stopping", "signal=%d", number);
    ticker_start(v->stop_limit, STOP_MOST_MS, 0);
    ticker_free(v->maintain);
    progress_free(v->progress);
    v->progress = NULL;
    pulse_free(v->pulse);
    v->pulse = NULL;
    boot_stop(v->boot);
    feed_stop(v->feed);
    keeper_stop(v->keeper);
    slotting_stop(v->slotting);
    ingest_stop(v->ingest, ingest_stopped, v);
}

/* ---- starting ---- */

static void on_hangup(uv_signal_t *h, int number)
{
    struct server *v = h->data;

    if (v->stopping)
        return;
    log_info("reading certificates anew", "signal=%d", number);
    ingest_reload(v->ingest);
    http_reload(v->http);
}

static void catch_signals(struct server *v)
{
    static const int numbers[3] = {SIGTERM, SIGINT, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&v->loop, &v->signals[i]);
        v->signals[i].data = v;
        uv_signal_start(&v->signals[i], i < 2 ? on_signal : on_hangup,
                        numbers[i]);
    }
}

static int open_journal(struct server *v)
{
    const struct settings *s = v->s;
    struct journal_recovery found;
    struct journal_options o = {
        s->journal_dir, s->journal_segment, s->journal_quota,
        s->journal_sync == SYNC_INTERVAL ? (int)s->journal_interval_ms : 0,
        &clock_system};
    int err = journal_open(&v->loop, &o, &v->journal, &found);
    const char *why = err == ERR_AWAY    ? "another headend uses it"
                      : err == ERR_RANGE ? "journal.quota must be at least "
                                           "twice journal.segment_size, that "
                                           "a multiple of 4 KiB"
                                         : err_text(err);
    if (err < 0)
        return cli_fail("journal.dir %s: %s (%s)", s->journal_dir, why,
                        err_name(err));
    /* A torn tail was never acknowledged, but a crash left it: worth a look. */
    log_line(found.torn_bytes ? LOG_WARNING : LOG_INFO, "journal opened",
             "dir=%s first=%lld end=%lld torn_bytes=%lld", s->journal_dir,
             (long long)found.first, (long long)found.end,
             (long long)found.torn_bytes);
    return 0;
}

/* No core file: it would hold keys (their own pages are not dumped anyway). */
static int open_vault(struct server *v)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    v->vault = secrets_vault(v->s, false);
    if (v->vault && !vault_ready(v->vault))
        log_info("no master key: secrets can neither be sealed nor opened",
                 "keys.master_file=%s", v->s->keys_master_file);
    return v->vault ? 0 : 1;
}

static int open_oidc(struct server *v)
{
    const struct settings *s = v->s;
    size_t n = strlen(s->http_public_url);

    if (*s->oidc_issuer && !(*s->oidc_client_id && n))
        return cli_fail(
            "oidc.issuer: set oidc.client_id and http.public_url too");
    n -= n && s->http_public_url[n - 1] == '/';
    snprintf(v->redirect_uri, sizeof v->redirect_uri,
             "%.*s/api/v1/oidc/callback", (int)n, s->http_public_url);
    v->oidc = (struct oidc_options){s->oidc_issuer, s->oidc_client_id,
                                    s->oidc_secret_file, s->oidc_name,
                                    v->redirect_uri};
    return 0;
}

static int open_http(struct server *v)
{
    const struct settings *s = v->s;
    struct http_options o = {.listen = s->http_listen,
                             .connections = (int)s->http_connections,
                             .idle_s = (int)s->http_idle_s,
                             .body_max = 1 << 20,
                             .tls_cert = s->http_cert,
                             .tls_key = s->http_key};
    struct api_deps deps = {.loop = &v->loop,
                            .pool = v->pool,
                            .clock = &clock_system,
                            .metrics = on_metrics,
                            .not_ready = not_ready,
                            .pending = on_pending,
                            .examine = on_examine,
                            .prove = on_prove,
                            .oidc = &v->oidc,
                            .signup = s->signup_open,
                            .vault = v->vault,
                            .keys_wanted = on_changed,
                            .session_idle_s = s->session_idle_s,
                            .rate = s->http_rate,
                            .session_most_s = s->session_most_s,
                            .arg = v};
    int err = nets_parse(str_of(s->http_proxies), &o.proxies);
    if (err < 0)
        return cli_fail("http.trusted_proxies: write addresses or networks, as "
                        "in 10.1.0.0/16, ::1");
    if (!*s->http_cert != !*s->http_key)
        return cli_fail("http.tls_cert and http.tls_key: set both, or none");
    err = http_listen(&v->loop, &o, &v->http);
    if (err == ERR_UNSUPPORTED)
        return cli_fail("http.tls_cert, http.tls_key: see the log above");
    if (err < 0)
        return cli_fail("http.listen %s: %s (%s)", s->http_listen,
                        err == ERR_FORMAT
                            ? "write address:port, as in 127.0.0.1:8080 or "
                              "[::1]:8080"
                            : err_text(err),
                        err_name(err));
    deps.http = v->http;
    err = api_new(&deps, &v->api);
    return err < 0 ? cli_fail("API: %s", err_text(err)) : 0;
}

static int open_ingest(struct server *v)
{
    const struct settings *s = v->s;
    v->ingest_options =
        (struct ingest_options){.program = v->program,
                                .tcp_listen = s->tcp_listen,
                                .tcp_tls_listen = s->tcp_tls_listen,
                                .tcp_tls_cert = s->tcp_tls_cert,
                                .tcp_tls_key = s->tcp_tls_key,
                                .tcp_tls_ca = s->tcp_tls_ca,
                                .tcp_greeting_ms = s->tcp_greeting_s * 1000,
                                .tcp_greetings = s->tcp_greetings,
                                .tcp_line_max = s->tcp_line_max,
                                .tcp_depth_max = s->tcp_depth_max,
                                .tcp_rate = s->tcp_rate,
                                .tcp_idle_ms = s->tcp_idle_s * 1000,
                                .tcp_bye_ms = s->tcp_bye_s * 1000,
                                .tcp_linger_ms = s->tcp_linger_s * 1000,
                                .tcp_sessions = s->tcp_sessions,
                                .mqtt_message_max = s->mqtt_message_max,
                                .clock = &clock_system};
    if (*s->tcp_tls_listen && !(*s->tcp_tls_cert && *s->tcp_tls_key))
        return cli_fail("tcp.tls_listen: set tcp.tls_cert and tcp.tls_key too");
    if (nets_parse(str_of(s->tcp_proxies), &v->ingest_options.tcp_proxies) < 0)
        return cli_fail("tcp.proxies: write addresses or networks, as in "
                        "10.1.0.0/16, ::1");
    int err = ingest_new(&v->loop, v->journal, v->directory, &v->ingest_options,
                         &v->ingest);
    return err < 0 ? cli_fail("tcp.listen %s: %s (%s)", s->tcp_listen,
                              err_text(err), err_name(err))
                   : 0;
}

static int open_clock(struct server *v)
{
    const struct settings *s = v->s;
    struct own_options o = {s->clock_sources, s->clock_listen, s->clock_poll_ms,
                            &clock_system};
    int err = own_new(&v->loop, &o, &v->own);

    return err < 0 ? cli_fail("clock.sources %s, clock.listen %s: %s (%s)",
                              s->clock_sources, s->clock_listen, err_text(err),
                              err_name(err))
                   : 0;
}

static void open_database(struct server *v)
{
    const struct settings *s = v->s;

    v->books = ledger_new();
    v->clocks = book_new();
    admit_keep_books(v->books);
    struct pg_options o = {s->database_url,
                           s->database_role,
                           (int)s->database_connections,
                           (int)s->database_connect_s,
                           API_DEADLINE_MS,
                           API_QUEUE};
    struct pipeline_options po = {s->database_url,
                                  s->database_role,
                                  (int)s->database_connect_s,
                                  s->dedup_window_s,
                                  (uint32_t)s->batch_frames,
                                  (size_t)s->batch_bytes,
                                  v->codec_ids,
                                  &clock_system,
                                  v->books,
                                  on_counted,
                                  on_stored,
                                  v->clocks,
                                  on_contact,
                                  ours_unsure,
                                  v};

    v->directory = directory_new();
    v->scripts = scripts_new(
        &(struct scripts_options){.program = s->codecs_host,
                                  .hosts = (int)s->codecs_hosts,
                                  .wall_ms = (int)s->codecs_wall_ms});
    pg_pool_new(&v->loop, &o, &v->pool);
    v->slotting = slotting_new(v->pool);
    v->keeper = keeper_new(
        &v->loop, &(struct keeper_options){v->pool,
                                           v->clocks,
                                           &clock_system,
                                           {v, send_downlink, send_clock},
                                           ours_unsure,
                                           on_clocks_loaded,
                                           v});
    v->pipeline = pipeline_new(&v->loop, v->journal, v->directory, &po);
    v->progress = progress_new(&v->loop, v->journal, v->pipeline, v->books);
    v->strangers = strangers_new(
        &v->loop,
        &(struct strangers_options){s->database_url, s->database_role,
                                    (int)s->database_connect_s,
                                    s->dedup_window_s, v->codec_ids, v->books,
                                    v->pool, v->directory, v->pipeline});
    v->feed = feed_new(&v->loop, v->pool, v->directory, v->vault,
                       s->keys_master_file, v->scripts, on_loaded, v);
    v->deliver = deliver_new(
        &(struct deliver_options){.loop = &v->loop,
                                  .pool = v->pool,
                                  .vault = v->vault,
                                  .keys_wanted = on_changed,
                                  .arg = v,
                                  .timeout_s = s->webhook_timeout_s,
                                  .attempts = s->webhook_attempts,
                                  .pause_s = s->webhook_pause_s,
                                  .entries = s->webhook_entries,
                                  .allow_private = s->webhook_private,
                                  .ca_file = s->webhook_ca});
    v->watch = store_watch_new(&v->loop, s->database_url, s->database_role,
                               (int)s->database_connect_s, on_changed, v);
    v->boot = boot_start(&v->loop, v->pool, v->journal, s->dedup_window_s,
                         v->codec_ids, on_booted, v);
}

static void start_tickers(struct server *v)
{
    v->maintain = ticker_new(&v->loop, on_maintain, v);
    ticker_start(v->maintain, MAINTAIN_MS, MAINTAIN_MS);
    v->pulse = pulse_new(&v->loop);
    v->stop_limit = ticker_new(&v->loop, on_stop_limit, v);
}

static void free_rooms(struct server *v)
{
    ingest_free(v->ingest);
    strangers_free(v->strangers);
    deliver_free(v->deliver);
    pipeline_free(v->pipeline);
    http_free(v->http);
    api_free(v->api);
    feed_free(v->feed);
    keeper_free(v->keeper);
    slotting_free(v->slotting);
    book_free(v->clocks);
    boot_free(v->boot);
    uv_run(&v->loop, UV_RUN_DEFAULT); /* handles that close by themselves */
    directory_free(v->directory);
    scripts_free(v->scripts);
    vault_free(v->vault);
    admit_keep_books(NULL);
    ledger_free(v->books);
    uv_loop_close(&v->loop);
}

/* A descriptor for each meter: as many as the system lets us have. */
static void raise_files(void)
{
    struct rlimit most;

    if (getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur < most.rlim_max) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
}

int cmd_serve(struct cli *c)
{
    static struct server v;
    size_t n = sizeof v.program;

    raise_files();
    /* Connections open and files sync on the pool: more threads than cores. */
    setenv("UV_THREADPOOL_SIZE", "16", 0);
    /* A batch's memory is needed again by the next one: giving it back costs
     * more than decoding does. Few heaps, so that what is kept is kept once. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 16 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
    v.s = &c->settings;
    snprintf(v.window, sizeof v.window, "%lld", (long long)v.s->dedup_window_s);
    uv_exepath(v.program, &n);
    if (sodium_init() < 0)
        return cli_fail("libsodium cannot start");
    uv_loop_init(&v.loop);
    log_info("headend starts", "version=%s pid=%d", HEADEND_VERSION, getpid());
    if (open_vault(&v) != 0 || open_journal(&v) != 0 || open_clock(&v) != 0)
        return 1;
    open_database(&v);
    if (open_oidc(&v) != 0 || open_http(&v) != 0 || open_ingest(&v) != 0)
        return 1; /* the process ends; nothing has been accepted yet */
    catch_signals(&v);
    start_tickers(&v);
    uv_run(&v.loop, UV_RUN_DEFAULT);
    free_rooms(&v);
    return 0;
}
