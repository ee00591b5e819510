/*
 * http.h - HTTP/1.1 server over libmicrohttpd (external epoll mode, its epoll
 * descriptor polled by the libuv loop). Routing, replies, streams. Knows
 * nothing of meters. Loop thread only.
 */
#pragma once

#include "server/base/arena.h"
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/nets.h"
#include "server/tls/client.h"
#include <uv.h>

struct http;         /* the server, opaque */
struct http_request; /* one request until its answer is sent, opaque */

struct http_options {
    const char *listen; /* "127.0.0.1:8080", "[::1]:0" */
    int connections;    /* most at once; then who waits longest is cut */
    int idle_s;         /* silence, or a request's arrival, before it is cut */
    int64_t body_max;   /* bytes of a request body; above: 413 */
    const char *tls_cert, *tls_key; /* PEM files; NULL or "": plain HTTP */
    const char *tls_ca;  /* clients may show a certificate of it; NULL or "" */
    struct nets proxies; /* whose X-Forwarded-* are believed */
    const char *client_header; /* in which they tell of the certificate that
                                  their client has shown; NULL or "": none */
};

/* Runs once when the whole request is there. Must answer now, or later by any
 * of the http_reply* calls, exactly once. */
typedef void http_handler_fn(struct http_request *r, void *arg);

/* ERR_FORMAT (address), ERR_UNSUPPORTED (certificate or key, logged), libuv
 * codes (EADDRINUSE...). */
int http_listen(uv_loop_t *loop, const struct http_options *o,
                struct http **ret);
int http_port(const struct http *h);
/* Certificate, key and CA are read anew; what cannot be used is logged. */
void http_reload(struct http *h);
/* pattern: "/api/v1/meters/{id}/readings"; {x} matches one segment. A path
 * that matches with another method answers 405 with Allow, none 404. HEAD is
 * served through GET. */
void http_route(struct http *h, const char *method, const char *pattern,
                http_handler_fn *fn, void *arg);
/* Cuts idle connections, lets answers finish (at most grace_ms), then done. */
void http_stop(struct http *h, uint64_t grace_ms, void (*done)(void *),
               void *arg);
bool http_stopping(const struct http *h); /* streams without end: end now */
void http_free(struct http *h);           /* after done */

/* All slices live as long as the request: until it is over for the client and
 * the handler has answered, whichever is later; so a handler's own state may
 * live in its arena (8 MiB at most). Empty when absent; a NUL follows each,
 * except the body. */
struct arena *http_arena(struct http_request *r);
struct str http_param(struct http_request *r, const char *name); /* {name} */
struct str http_query(struct http_request *r, const char *name); /* decoded */
/* The first query name that is not in `known` (NULL-terminated), else empty. */
struct str http_query_unknown(struct http_request *r, const char *const *known);
struct str http_header(struct http_request *r, const char *name);
struct str http_body(struct http_request *r);
struct str http_peer(struct http_request *r); /* "127.0.0.1:40112"; port 0
                                                 behind a proxy */
bool http_secure(struct http_request *r);     /* came by HTTPS */
/* The client's certificate, verified: shown here and of tls_ca, or told by a
 * trusted proxy. sha256 is "" where there is none. */
void http_client(struct http_request *r, struct tls_client *ret);

/* Before a reply; at most 16, copied. Every reply says no-store, nosniff, no
 * frames, no referrer, and a policy under which a browser runs and loads
 * nothing, unless it has set that header itself. */
void http_set_header(struct http_request *r, const char *name,
                     const char *value);
/* Copies body. */
void http_reply(struct http_request *r, int status, const char *type,
                struct str body);
/* RFC 9457 application/problem+json {type,title,status,detail[,field]}. */
void http_problem(struct http_request *r, int status, const char *field,
                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* A stream: begin once, write as data comes, end. http_stream_write copies and
 * returns the bytes now queued; above HTTP_STREAM_HIGH the producer pauses
 * until on_drain runs (queue below half of that). on_close runs exactly once
 * when the request is over (ended, or the client went away: then writes are
 * ignored and http_gone is true; end it all the same). ok = false at the end
 * cuts the connection, so that the client sees an incomplete body instead of a
 * silent half. */
enum { HTTP_STREAM_HIGH = 256 * 1024 };
void http_stream_begin(struct http_request *r, int status, const char *type,
                       void (*on_drain)(void *), void (*on_close)(void *),
                       void *arg);
size_t http_stream_write(struct http_request *r, struct str data);
void http_stream_end(struct http_request *r, bool ok);
bool http_gone(const struct http_request *r);
