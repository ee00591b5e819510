/*
 * settings.h - every setting of headend, in one table (settings.c).
 */
#pragma once

#include "server/base/conf.h"
#include "server/store/batch.h"
#include <stdbool.h>

enum journal_sync { SYNC_ALWAYS, SYNC_INTERVAL };

struct settings {
    char *database_url, *database_admin_url, *database_role;
    int64_t database_connections, database_connect_s, database_batch_s;
    char *http_listen;
    char *http_cert, *http_key, *http_client_ca, *http_client_header;
    char *http_proxies;
    int64_t http_connections, http_idle_s;
    int64_t http_rate, http_tenant_rate, http_address_rate;
    char *tcp_listen, *tcp_tls_listen, *tcp_tls_cert, *tcp_tls_key, *tcp_tls_ca,
        *tcp_proxies;
    int64_t tcp_greeting_s, tcp_greetings;
    int64_t session_idle_s, session_most_s;
    bool signup_open;
    const char *http_public_url, *oidc_issuer, *oidc_client_id,
        *oidc_secret_file, *oidc_name, *oidc_factor;
    int64_t tcp_line_max, tcp_depth_max, tcp_rate, tcp_idle_s, tcp_bye_s,
        tcp_linger_s, tcp_sessions;
    int64_t clock_poll_ms;
    char *clock_sources, *clock_listen;
    int64_t mqtt_message_max;
    char *journal_dir;
    int64_t journal_segment, journal_quota, journal_interval_ms;
    int journal_sync;
    char *codecs_dir, *codecs_host;
    int64_t codecs_hosts, codecs_wall_ms;
    char *keys_master_file;
    int64_t report_content_max, report_kept_max;
    bool webhook_private;
    char *webhook_ca;
    int64_t webhook_timeout_s, webhook_attempts, webhook_pause_s,
        webhook_entries;
    int64_t dedup_window_s, batch_frames, batch_bytes;
    int log_level;
};

extern const struct conf_option settings_options[];

struct store_writer_options settings_store(const struct settings *s);
