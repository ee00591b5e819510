/*
 * conn.h - the TCP connections of all listeners, each with its session.
 * One session per meter: a newer one ends the older. Loop thread only.
 */
#pragma once

#include "ingest/heo_session.h"
#include "ingest/ingest.h"
#include "server/tls/greeting.h"

struct conns; /* opaque */

/* *o must outlive it. `room` when there may be room after there was none. */
struct conns *conns_new(uv_loop_t *loop, const struct ingest_options *o,
                        void (*room)(void *arg), void *arg);
/* Only when no connection is left. `done` when it is closed. */
void conns_free(struct conns *all, void (*done)(void *arg), void *arg);

/* May one more connection greet (TLS, PROXY header)? Where there are too many,
 * the one that has kept us waiting longest goes; false: all are at work, leave
 * the next one to the system's backlog. */
bool conns_have_room(struct conns *all);
/* Takes the next connection of `server`, or refuses it when there are
 * tcp_sessions already. `tls` NULL: plain. `gone` runs once, later: *host is
 * used no more. */
void conns_accept(struct conns *all, uv_stream_t *server,
                  const struct heo_host *host, struct tls_context *tls,
                  void (*gone)(void *arg), void *arg);
/* Nothing more is read from the meters of this host; closed when what was
 * read is answered. */
void conns_end(struct conns *all, const struct heo_host *host);
void conns_close(struct conns *all); /* all, as they are */
void conns_stats(const struct conns *all, struct ingest_stats *s); /* adds */

/* heo_session_set_clock() in the session that this meter has; ERR_AWAY. */
int conns_set_clock(struct conns *all, int32_t tenant, int32_t meter,
                    const char *id, int64_t shift_us);
int conns_set_slot(struct conns *all, int32_t tenant, int32_t meter,
                   int32_t at_s,
                   int32_t window_s); /* heo_session_set_slot() likewise */
/* heo_session_command(), _no_command(), _listens() likewise. */
int conns_command(struct conns *all, int32_t tenant, int32_t meter,
                  struct str line);
void conns_no_command(struct conns *all, int32_t tenant, int32_t meter);
bool conns_listens(struct conns *all, int32_t tenant, int32_t meter);

/* For heo_host: `changed` and `rtt_us`. */
void conn_mark(void *arg);
int64_t conn_rtt_us(void *arg);
