/*
 * ingest.h - everything that brings frames in: MQTT bridges and TCP listeners,
 * one per integration row. Frames pass admit and the journal; only then they
 * are acknowledged. Loop thread only.
 */
#pragma once

#include "ingest/directory.h"
#include "ingest/journal.h"
#include "ingest/receipt.h"
#include "schema/frame.h"
#include "server/base/nets.h"

struct ingest; /* opaque */

struct ingest_options {
    const char *program;    /* path of headend itself, for `headend bridge` */
    const char *tcp_listen; /* shared listener "127.0.0.1:4460"; "" for none */
    const char *tcp_tls_listen; /* shared listener with TLS; "" for none */
    const char *tcp_tls_cert, *tcp_tls_key, *tcp_tls_ca; /* its files, PEM */
    struct nets tcp_proxies; /* who begins with a PROXY header */
    int64_t tcp_greeting_ms; /* most time for header and handshake */
    int64_t tcp_greetings;   /* most under way at once */
    int64_t tcp_line_max;    /* bytes of one HEO-JSON object */
    int64_t tcp_depth_max;   /* nesting */
    int64_t tcp_rate;        /* frames per second and session (burst: 10 s) */
    int64_t tcp_idle_ms;     /* silence before a session ends */
    int64_t tcp_bye_ms;      /* quiet after the last ack before "bye" */
    int64_t tcp_linger_ms;   /* after "bye", before the close */
    int64_t tcp_sessions;    /* most sessions at once, all listeners */
    int64_t
        mqtt_message_max; /* bytes; longer ones are rejected with a sample */
    const struct clock *clock;
    /* May be NULL: a meter that dialled in has said all that it had to say.
     * true: its session is held until ingest_command or ingest_no_command, or
     * until it is idle for too long. Must call neither. */
    bool (*window)(void *arg, int32_t tenant, int32_t meter);
    /* May be NULL: a network server tells of a downlink of ours. `done` exactly
     * once, later: it may forget it. */
    void (*receipt)(void *arg, int32_t tenant, const struct receipt *r,
                    journal_done_fn *done, void *done_arg);
    void *command_arg;
};

int ingest_new(uv_loop_t *loop, struct journal *j, struct directory *d,
               const struct ingest_options *o, struct ingest **ret);

/* Starts, restarts (revision changed) and stops bridges and listeners until
 * they match directory_integrations(). A listener that cannot bind is logged,
 * counted, and tried again every few seconds. */
void ingest_apply(struct ingest *in);

/* Stops taking frames, waits for acks under way; `done` when all is closed. */
void ingest_stop(struct ingest *in, void (*done)(void *arg), void *arg);
void ingest_free(struct ingest *in); /* after done */

/* To one device behind a network server, by the topic of an uplink of its. A
 * class A device gets it after its next uplink. */
struct downlink {
    enum frame_source source;
    int32_t integration_id;
    struct str topic; /* of the uplink */
    uint64_t dev_eui;
    int port;
    struct str payload;
    const char *id;       /* correlation (receipt.h); NULL: none */
    bool confirmed;       /* the device is to confirm it by radio */
    int64_t not_after_us; /* 0: whenever. ChirpStack v4.14 keeps to it */
};
/* ERR_UNSUPPORTED, ERR_FORMAT: no such way down; ERR_AWAY: no broker now. */
int ingest_downlink(struct ingest *in, const struct downlink *d);
/* set_clock into the session that a meter has open (heo_session.h). ERR_AWAY.
 */
int ingest_set_clock(struct ingest *in, int32_t tenant, int32_t meter,
                     const char *id, int64_t shift_us);
/* Its contact slot, likewise. */
int ingest_set_slot(struct ingest *in, int32_t tenant, int32_t meter,
                    int32_t at_s, int32_t window_s);
/* A command as one line, likewise. */
int ingest_command(struct ingest *in, int32_t tenant, int32_t meter,
                   struct str line);
/* There is none: a session that was held for one goes on to its bye. */
void ingest_no_command(struct ingest *in, int32_t tenant, int32_t meter);
/* Does that meter listen here, and is all said that it had to say? */
bool ingest_listens(const struct ingest *in, int32_t tenant, int32_t meter);
/* The integrations whose bridges are connected here; how many, at most `most`.
 */
uint32_t ingest_bridged(const struct ingest *in, int32_t *ids, uint32_t most);

/* Counters since start; per transport: 0 MQTT, 1 TCP. */
struct ingest_stats {
    int64_t frames[2];   /* admitted to the journal */
    int64_t rejected[2]; /* refused at the door (also journaled, sampled) */
    int64_t acked[2];
    int64_t sessions, sessions_total; /* TCP */
    int64_t sessions_refused;         /* there were tcp_sessions already */
    int64_t sessions_secured;         /* of the total, with TLS */
    int64_t greetings, greetings_failed;
    int64_t listeners_down; /* cannot bind now */
    int64_t bridges, bridges_connected, bridge_restarts;
};
void ingest_stats(const struct ingest *in, struct ingest_stats *ret);

/* Certificates are read anew; those that cannot be are kept. */
void ingest_reload(struct ingest *in);

/* Bound address of the listener of an integration (0: the shared one,
 * INGEST_SHARED_TLS: that with TLS), for tests and the start-up line;
 * ERR_UNKNOWN while it is not bound. */
enum { INGEST_SHARED_TLS = -1 };
int ingest_listener_port(const struct ingest *in, int32_t integration_id);
