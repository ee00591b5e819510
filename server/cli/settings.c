/*
 * settings.c - the table that file, environment, command line, help and the
 * printed reference read.
 */
#include "server/cli/settings.h"
#include <stddef.h>

#define FIELD(f) offsetof(struct settings, f)
#define KIB      1024LL
#define MIB      (1024 * KIB)
#define GIB      (1024 * MIB)

const struct conf_option settings_options[] = {
    {"database.url", CONF_TEXT, FIELD(database_url), NULL,
     "postgresql:///headend", 0, 1000, NULL,
     "Where PostgreSQL is, as whom the server works (libpq URI)."},
    {"database.admin_url", CONF_TEXT, FIELD(database_admin_url), NULL, "", 0,
     1000, NULL,
     "As whom `headend migrate` works: may create roles and tables. Empty:"
     " database.url."},
    {"database.role", CONF_TEXT, FIELD(database_role), NULL, "headend_server",
     0, 63, NULL,
     "Role the server takes when database.url logs in as another one. It must"
     " not bypass row-level security."},
    {"database.connections", CONF_INT, FIELD(database_connections), NULL, "4",
     1, 64, NULL,
     "Connections for the API; four more serve the data path and reports."},
    {"database.connect_timeout", CONF_INT, FIELD(database_connect_s), "s", "5",
     2, 60, NULL, "Longest wait for one connection to open."},
    {"database.batch_timeout", CONF_INT, FIELD(database_batch_s), "s", "60", 1,
     3600, NULL,
     "Longest wait for a batch of frames to be stored; a slower one is tried"
     " again with half as many."},
    {"http.listen", CONF_TEXT, FIELD(http_listen), NULL, "127.0.0.1:8080", 1,
     255, NULL, "Address and port of the API, metrics and health."},
    {"http.connections", CONF_INT, FIELD(http_connections), NULL, "1000", 10,
     100000, NULL,
     "Most HTTP connections at once; above it the one that has kept the"
     " server waiting longest is cut."},
    {"http.idle", CONF_INT, FIELD(http_idle_s), "s", "60", 1, 3600, NULL,
     "Silence after which an HTTP connection is cut; a request must arrive"
     " whole in that time."},
    {"http.rate", CONF_INT, FIELD(http_rate), "requests/s", "500", 1, 1000000,
     NULL,
     "Requests that one key or account may make (ten seconds' worth at once);"
     " above it they get 429 with Retry-After."},
    {"http.tenant_rate", CONF_INT, FIELD(http_tenant_rate), "requests/s",
     "2000", 1, 1000000, NULL,
     "The same for all keys and people of one tenant together."},
    {"http.address_rate", CONF_INT, FIELD(http_address_rate), "requests/s",
     "2000", 1, 1000000, NULL,
     "The same for one address, whoever asks from there; behind a NAT or a"
     " proxy that is not named as trusted many share one."},
    {"http.tls_cert", CONF_TEXT, FIELD(http_cert), NULL, "", 0, 1000, NULL,
     "Certificate for HTTPS (PEM, its chain behind it); TLS 1.3 or 1.2. SIGHUP"
     " reads it and the key anew. Empty: plain HTTP."},
    {"http.tls_key", CONF_TEXT, FIELD(http_key), NULL, "", 0, 1000, NULL,
     "Its private key (PEM, not encrypted)."},
    {"http.client_ca", CONF_TEXT, FIELD(http_client_ca), NULL, "", 0, 1000,
     NULL,
     "Machines may show a certificate of this authority (PEM) and be known by"
     " it (headend api-key add --certificate). SIGHUP reads it anew. Empty:"
     " none is asked for."},
    {"http.client_header", CONF_TEXT, FIELD(http_client_header), NULL, "", 0,
     100, NULL,
     "Header in which the trusted proxies tell of the client's certificate that"
     " they have verified, as in Client-Cert (RFC 9440), PEM or SHA-256. They"
     " must take it off what their clients send. Empty: none."},
    {"http.trusted_proxies", CONF_TEXT, FIELD(http_proxies), NULL, "", 0, 1000,
     NULL,
     "Reverse proxies: addresses or networks (10.1.0.0/16, ::1) whose"
     " X-Forwarded-For and X-Forwarded-Proto are believed."},
    {"session.idle", CONF_INT, FIELD(session_idle_s), "s", "3600", 60, 604800,
     NULL, "Silence after which a person must sign in again."},
    {"session.longest", CONF_INT, FIELD(session_most_s), "s", "43200", 300,
     2592000, NULL, "After this a person must sign in again in any case."},
    {"clock.sources", CONF_TEXT, FIELD(clock_sources), NULL, "", 0, 1000, NULL,
     "NTP servers that our own clock is watched against, three at least, as in"
     " a.example,b.example:123,[::1]:123; or kernel, where chrony or ntpd"
     " steers it. Without, nobody notices that it is wrong."},
    {"clock.poll", CONF_INT, FIELD(clock_poll_ms), "ms", "64000", 100, 3600000,
     NULL, "How often they are asked; an answer counts for eight polls."},
    {"clock.listen", CONF_TEXT, FIELD(clock_listen), NULL, "", 0, 255, NULL,
     "SNTP server for devices that ask for the time, as in 0.0.0.0:123; it"
     " says that it does not know the time unless clock.sources agree."
     " Empty: none."},
    {"http.public_url", CONF_TEXT, FIELD(http_public_url), NULL, "", 0, 300,
     NULL,
     "How people's browsers reach this server, as in https://headend.example;"
     " needed for oidc.issuer."},
    {"oidc.issuer", CONF_TEXT, FIELD(oidc_issuer), NULL, "", 0, 300, NULL,
     "Identity provider that people may sign in through (OpenID Connect), as"
     " in https://login.example/realm; its redirect address is"
     " http.public_url/api/v1/oidc/callback. Empty: none."},
    {"oidc.client_id", CONF_TEXT, FIELD(oidc_client_id), NULL, "", 0, 300, NULL,
     "As whom the provider knows this server."},
    {"oidc.client_secret_file", CONF_TEXT, FIELD(oidc_secret_file), NULL, "", 0,
     1000, NULL, "File with the secret for it. Empty: a public client."},
    {"oidc.second_factor", CONF_TEXT, FIELD(oidc_factor), NULL, "", 0, 500,
     NULL,
     "What the provider's tokens say (amr or acr; several with commas, as in"
     " mfa,otp) when it has asked for a second factor. Empty: where one is"
     " needed, this server asks for its own."},
    {"oidc.name", CONF_TEXT, FIELD(oidc_name), NULL, "single sign-on", 1, 60,
     NULL, "The provider's name for people."},
    {"signup.open", CONF_BOOL, FIELD(signup_open), NULL, "off", 0, 0, NULL,
     "Anybody may ask for a tenant (POST /api/v1/signup); the platform's"
     " operator decides."},
    {"tcp.listen", CONF_TEXT, FIELD(tcp_listen), NULL, "127.0.0.1:4460", 0, 255,
     NULL,
     "Shared listener for meters that dial in (HEO-JSON); a serial must then"
     " be unique among all tenants. Empty: none; tenants may have their own"
     " (headend integration add --kind heo-tcp)."},
    {"tcp.tls_listen", CONF_TEXT, FIELD(tcp_tls_listen), NULL, "", 0, 255, NULL,
     "The same with TLS (1.3 or 1.2), as in 0.0.0.0:4461. Empty: none."},
    {"tcp.tls_cert", CONF_TEXT, FIELD(tcp_tls_cert), NULL, "", 0, 1000, NULL,
     "Certificate that TLS listeners show (PEM, its chain behind it). SIGHUP"
     " reads it and the key anew."},
    {"tcp.tls_key", CONF_TEXT, FIELD(tcp_tls_key), NULL, "", 0, 1000, NULL,
     "Its private key (PEM, not encrypted)."},
    {"tcp.tls_ca", CONF_TEXT, FIELD(tcp_tls_ca), NULL, "", 0, 1000, NULL,
     "Meters must show a certificate of this authority (PEM). Empty: none is"
     " asked for."},
    {"tcp.proxies", CONF_TEXT, FIELD(tcp_proxies), NULL, "", 0, 1000, NULL,
     "Load balancers: addresses or networks (10.1.0.0/16, ::1) whose"
     " connections begin with a PROXY protocol header, version 2."},
    {"tcp.greeting", CONF_INT, FIELD(tcp_greeting_s), "s", "30", 1, 600, NULL,
     "Most time for that header and for a TLS handshake."},
    {"tcp.greetings", CONF_INT, FIELD(tcp_greetings), NULL, "2000", 1, 1000000,
     NULL,
     "Most of them under way at once; above it the one that is waited for"
     " longest is cut."},
    {"tcp.line_max", CONF_SIZE, FIELD(tcp_line_max), "bytes", "64K", 1 * KIB,
     256 * KIB, NULL, "Longest JSON object that a meter may send."},
    {"tcp.depth_max", CONF_INT, FIELD(tcp_depth_max), NULL, "32", 4, 256, NULL,
     "Deepest nesting of a meter's JSON."},
    {"tcp.rate", CONF_INT, FIELD(tcp_rate), "frames/s", "50", 1, 100000, NULL,
     "Frames per second of one session; above it, reading pauses."},
    {"tcp.idle", CONF_INT, FIELD(tcp_idle_s), "s", "120", 1, 86400, NULL,
     "Silence after which a session ends."},
    {"tcp.bye_after", CONF_INT, FIELD(tcp_bye_s), "s", "2", 0, 3600, NULL,
     "Quiet after the last ack before the server says bye; four round trips"
     " are added."},
    {"tcp.linger", CONF_INT, FIELD(tcp_linger_s), "s", "5", 0, 3600, NULL,
     "Time after bye before the server closes; a meter that sends more stays."},
    {"tcp.sessions", CONF_INT, FIELD(tcp_sessions), NULL, "20000", 1, 1000000,
     NULL, "Most meter sessions at once."},
    {"mqtt.message_max", CONF_SIZE, FIELD(mqtt_message_max), "bytes", "256K",
     1 * KIB, 256 * KIB, NULL,
     "Longest MQTT message; a longer one is rejected, with a sample kept."},
    {"journal.dir", CONF_TEXT, FIELD(journal_dir), NULL, "var/journal", 1, 1000,
     NULL, "Where frames are kept until PostgreSQL has them."},
    {"journal.segment_size", CONF_SIZE, FIELD(journal_segment), "bytes", "64M",
     1 * MIB, 1 * GIB, NULL, "Size of one segment; fixed when created."},
    {"journal.quota", CONF_SIZE, FIELD(journal_quota), "bytes", "16G", 4 * MIB,
     1024 * GIB, NULL,
     "Most disk for the journal; above it nothing is acknowledged until"
     " PostgreSQL has caught up."},
    {"journal.sync", CONF_ENUM, FIELD(journal_sync), NULL, "always", 0, 0,
     "always|interval",
     "always: acknowledged frames survive a power failure. interval: those of"
     " the last journal.sync_interval may not (they survive a crash)."},
    {"journal.sync_interval", CONF_INT, FIELD(journal_interval_ms), "ms", "50",
     1, 60000, NULL, "Longest time between syncs with journal.sync=interval."},
    {"keys.master_file", CONF_TEXT, FIELD(keys_master_file), NULL,
     "var/master.key", 0, 1000, NULL,
     "File with the master key that seals all secrets (`headend keys init`);"
     " HEADEND_MASTER_KEY, the key itself, goes before it."},
    {"dedup.window", CONF_INT, FIELD(dedup_window_s), "s", "86400", 60,
     31536000, NULL,
     "How far apart, by the network's time, two equal frames of one device"
     " count as one."},
    {"batch.frames", CONF_INT, FIELD(batch_frames), NULL, "10000", 1, 100000,
     NULL, "Most frames of one database transaction."},
    {"batch.bytes", CONF_SIZE, FIELD(batch_bytes), "bytes", "8M", 512 * KIB,
     256 * MIB, NULL, "Most journal bytes of one database transaction."},
    {"codecs.dir", CONF_TEXT, FIELD(codecs_dir), NULL, "", 0, 1000, NULL,
     "Directory of loaded codecs (*.so, trusted code: codecs/README.md); read"
     " at start. Empty: none."},
    {"codecs.host", CONF_TEXT, FIELD(codecs_host), NULL, "", 0, 1000, NULL,
     "The program that runs payload codecs in JavaScript. Empty: codec-host"
     " beside this one."},
    {"codecs.hosts", CONF_INT, FIELD(codecs_hosts), NULL, "2", 1, 64, NULL,
     "Most such processes at once."},
    {"codecs.wall", CONF_INT, FIELD(codecs_wall_ms), "ms", "500", 100, 60000,
     NULL,
     "How long one may take for a frame before it is killed and replaced;"
     " inside it a script may compute for 100 ms."},
    {"report.content_max", CONF_SIZE, FIELD(report_content_max), "bytes", "2G",
     1 * MIB, 64 * GIB, NULL,
     "Most that one run of a report may hold; above it the run fails."},
    {"report.kept_max", CONF_SIZE, FIELD(report_kept_max), "bytes", "20G",
     1 * MIB, 4096 * GIB, NULL,
     "Most that the runs of one tenant hold while they are kept; above it no"
     " run begins."},
    {"webhook.timeout", CONF_INT, FIELD(webhook_timeout_s), "s", "10", 1, 60,
     NULL, "Most time for one delivery to a webhook."},
    {"webhook.attempts", CONF_INT, FIELD(webhook_attempts), NULL, "30", 1, 200,
     NULL,
     "Failures in a row after which a webhook is disabled; with pauses of 1, 2,"
     " 4 ... s up to webhook.pause, 30 take about 19 hours."},
    {"webhook.pause", CONF_INT, FIELD(webhook_pause_s), "s", "3600", 1, 86400,
     NULL, "Longest pause between two attempts."},
    {"webhook.entries", CONF_INT, FIELD(webhook_entries), NULL, "500", 1, 5000,
     NULL, "Most entries of one delivery; about 1 MB ends it too."},
    {"webhook.allow_private", CONF_BOOL, FIELD(webhook_private), NULL, "no", 0,
     0, NULL,
     "Whether webhooks may go to loopback, private and link-local addresses;"
     " with yes tenants reach what this machine reaches."},
    {"webhook.ca_file", CONF_TEXT, FIELD(webhook_ca), NULL, "", 0, 1000, NULL,
     "Authorities of receivers' certificates (PEM). Empty: the system's."},
    {"log.level", CONF_ENUM, FIELD(log_level), NULL, "info", 0, 0,
     "debug|info|warning|error", "Least severity that is logged."},
    {0},
};

struct store_writer_options settings_store(const struct settings *s)
{
    return (struct store_writer_options){
        s->database_url, s->database_role, (int)s->database_connect_s,
        (int)s->database_batch_s, s->dedup_window_s};
}
