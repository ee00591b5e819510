/*
 * tcp.h - listeners for meters that dial in, and their sessions (HEO-JSON; the
 * session's own logic is heo_session.c). Loop thread only.
 */
#pragma once

#include "ingest/ingest.h"

struct tcp; /* opaque */

struct tcp *tcp_new(uv_loop_t *loop, struct journal *j, struct directory *d,
                    const struct ingest_options *o);
/* Makes the listeners match: the shared ones of the options, and one for each
 * enabled INTEGRATION_HEO of the list (others are ignored). */
void tcp_apply(struct tcp *t, const struct integration *list, uint32_t n);
void tcp_reload(struct tcp *t); /* certificates */
void tcp_stop(struct tcp *t, void (*done)(void *), void *arg);
void tcp_free(struct tcp *t); /* after done */
int tcp_set_clock(struct tcp *t, int32_t tenant, int32_t meter, const char *id,
                  int64_t shift_us);
int tcp_set_slot(struct tcp *t, int32_t tenant, int32_t meter, int32_t at_s,
                 int32_t window_s);
int tcp_command(struct tcp *t, int32_t tenant, int32_t meter, struct str line);
void tcp_no_command(struct tcp *t, int32_t tenant, int32_t meter);
bool tcp_listens(const struct tcp *t, int32_t tenant, int32_t meter);
/* Adds to *s. */
void tcp_stats(const struct tcp *t, struct ingest_stats *s);
int tcp_port(const struct tcp *t, int32_t integration_id); /* 0: the shared */
