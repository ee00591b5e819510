/*
 * serve_open.c - the way up: each room with its settings, bottom-up.
 */
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/cli/server.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { API_DEADLINE_MS = 30000, API_QUEUE = 2000 };

int server_open_journal(struct server *v)
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
int server_open_vault(struct server *v)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    v->vault = secrets_vault(v->s, false);
    if (v->vault && !vault_ready(v->vault))
        log_info("no master key: secrets can neither be sealed nor opened",
                 "keys.master_file=%s", v->s->keys_master_file);
    return v->vault ? 0 : 1;
}

int server_open_oidc(struct server *v)
{
    const struct settings *s = v->s;
    size_t n = strlen(s->http_public_url);

    if (*s->oidc_issuer && !(*s->oidc_client_id && n))
        return cli_fail(
            "oidc.issuer: set oidc.client_id and http.public_url too");
    n -= n && s->http_public_url[n - 1] == '/';
    snprintf(v->redirect_uri, sizeof v->redirect_uri,
             "%.*s/api/v1/oidc/callback", (int)n, s->http_public_url);
    v->oidc = (struct oidc_options){s->oidc_issuer,      s->oidc_client_id,
                                    s->oidc_secret_file, s->oidc_name,
                                    v->redirect_uri,     s->oidc_factor};
    return 0;
}

static int listen_http(struct server *v)
{
    const struct settings *s = v->s;
    struct http_options o = {.listen = s->http_listen,
                             .connections = (int)s->http_connections,
                             .idle_s = (int)s->http_idle_s,
                             .body_max = 1 << 20,
                             .tls_cert = s->http_cert,
                             .tls_key = s->http_key,
                             .tls_ca = s->http_client_ca,
                             .client_header = s->http_client_header};
    int err = nets_parse(str_of(s->http_proxies), &o.proxies);

    if (err < 0)
        return cli_fail("http.trusted_proxies: write addresses or networks, as "
                        "in 10.1.0.0/16, ::1");
    if (!*s->http_cert != !*s->http_key)
        return cli_fail("http.tls_cert and http.tls_key: set both, or none");
    if (*s->http_client_ca && !*s->http_cert)
        return cli_fail("http.client_ca: set http.tls_cert and http.tls_key "
                        "too");
    if (*s->http_client_header && o.proxies.n == 0)
        return cli_fail("http.client_header: name the proxies that send it in "
                        "http.trusted_proxies");
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
    return 0;
}

int server_open_http(struct server *v)
{
    const struct settings *s = v->s;
    struct api_deps deps = {.loop = &v->loop,
                            .pool = v->pool,
                            .clock = &clock_system,
                            .metrics = server_on_metrics,
                            .not_ready = server_not_ready,
                            .pending = server_on_pending,
                            .examine = server_on_examine,
                            .replay = server_on_replay,
                            .prove = server_on_prove,
                            .oidc = &v->oidc,
                            .signup = s->signup_open,
                            .vault = v->vault,
                            .keys_wanted = server_on_changed,
                            .session_idle_s = s->session_idle_s,
                            .rate = s->http_rate,
                            .tenant_rate = s->http_tenant_rate,
                            .address_rate = s->http_address_rate,
                            .session_most_s = s->session_most_s,
                            .arg = v};
    int err = listen_http(v);

    if (err)
        return err;
    deps.http = v->http;
    err = api_new(&deps, &v->api);
    return err < 0 ? cli_fail("API: %s", err_text(err)) : 0;
}

int server_open_ingest(struct server *v)
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
                                .clock = &clock_system,
                                .window = queue_window,
                                .receipt = queue_receipt,
                                .command_arg = v->commands};
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

int server_open_clock(struct server *v)
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

static struct pipeline *open_pipeline(struct server *v)
{
    const struct settings *s = v->s;
    struct pipeline_options o = {settings_store(s),
                                 (uint32_t)s->batch_frames,
                                 (size_t)s->batch_bytes,
                                 v->codec_ids,
                                 &clock_system,
                                 v->books,
                                 server_on_counted,
                                 server_on_stored,
                                 v->clocks,
                                 server_on_contact,
                                 server_ours_unsure,
                                 v,
                                 server_on_heard};

    return pipeline_new(&v->loop, v->journal, v->directory, &o);
}

static struct keeper *open_keeper(struct server *v)
{
    struct keeper_options o = {
        v->pool,
        v->clocks,
        &clock_system,
        {v, server_send_downlink, server_send_clock, server_send_slot},
        server_ours_unsure,
        server_on_clocks_loaded,
        v};

    return keeper_new(&v->loop, &o);
}

static struct strangers *open_strangers(struct server *v)
{
    const struct settings *s = v->s;
    struct strangers_options o = {settings_store(s), v->codec_ids, v->books,
                                  v->pool,           v->directory, v->pipeline};

    return strangers_new(&v->loop, &o);
}

static struct deliver *open_deliver(struct server *v)
{
    const struct settings *s = v->s;
    struct deliver_options o = {.loop = &v->loop,
                                .pool = v->pool,
                                .vault = v->vault,
                                .keys_wanted = server_on_changed,
                                .arg = v,
                                .timeout_s = s->webhook_timeout_s,
                                .attempts = s->webhook_attempts,
                                .pause_s = s->webhook_pause_s,
                                .entries = s->webhook_entries,
                                .allow_private = s->webhook_private,
                                .ca_file = s->webhook_ca};

    return deliver_new(&o);
}

void server_open_database(struct server *v)
{
    const struct settings *s = v->s;
    struct pg_options o = {s->database_url,
                           s->database_role,
                           (int)s->database_connections,
                           (int)s->database_connect_s,
                           API_DEADLINE_MS,
                           API_QUEUE};

    v->books = ledger_new();
    v->clocks = book_new();
    admit_keep_books(v->books);
    v->directory = directory_new();
    v->scripts = scripts_new(
        &(struct scripts_options){.program = s->codecs_host,
                                  .hosts = (int)s->codecs_hosts,
                                  .wall_ms = (int)s->codecs_wall_ms});
    pg_pool_new(&v->loop, &o, &v->pool);
    v->slotting = slotting_new(&v->loop, v->pool, &clock_system);
    v->commands = queue_new(&v->loop, v->pool);
    v->keeper = open_keeper(v);
    v->pipeline = open_pipeline(v);
    v->progress = progress_new(&v->loop, v->journal, v->pipeline, v->books);
    v->strangers = open_strangers(v);
    v->feed = feed_new(&v->loop, v->pool, v->directory, v->vault,
                       s->keys_master_file, v->scripts, server_on_loaded, v);
    v->deliver = open_deliver(v);
    v->reports = reports_new(&(struct reports_options){
        &v->loop, s->database_url, s->database_role, (int)s->database_connect_s,
        s->report_content_max, s->report_kept_max});
    v->watch =
        store_watch_new(&v->loop, s->database_url, s->database_role,
                        (int)s->database_connect_s, server_on_changed, v);
    v->boot = boot_start(&v->loop, v->pool, v->journal, s->dedup_window_s,
                         v->codec_ids, server_on_booted, v);
}
