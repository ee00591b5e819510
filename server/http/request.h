/*
 * request.h - inside of the room: one request between libmicrohttpd and its
 * handler. Two sides hold it, the connection until it is done with it and the
 * handler until it has answered; the second to let go frees it.
 */
#pragma once

#include "server/http/http.h"
#include "server/http/target.h"
#include <microhttpd.h>

enum { REQUEST_HEADERS = 16 };

struct route {
    struct route *next;
    const char *method, *pattern;
    http_handler_fn *fn;
    void *arg;
};

struct stream {
    struct buf queue;
    size_t sent; /* bytes of `queue` already handed on */
    bool high;   /* the producer was told to pause */
    bool ended, ok;
    void (*on_drain)(void *);
    void (*on_close)(void *);
    void *arg;
};

struct http_request {
    struct http *http;
    struct MHD_Connection *connection; /* NULL: the client is gone */
    struct http_request *next, *prev;  /* of the server's list, until gone */
    struct arena *arena;
    int refs;

    struct target target;
    int target_err;
    const struct route *route;
    bool admitted;  /* its headers were seen and found good */
    bool handled;   /* the handler was called */
    bool suspended; /* the connection sleeps until there is an answer */
    bool abandoned; /* the server stops: end without an answer */
    bool body_over; /* more than body_max came */
    size_t body_size;
    struct buf body;

    int n_headers;
    struct pair headers[REQUEST_HEADERS];
    int status;
    struct MHD_Response *response; /* the answer, until it is queued */
    struct stream *stream;         /* NULL: the reply is whole */
};

/* `raw` is the request target as it came. */
struct http_request *request_new(struct http *h, struct MHD_Connection *c,
                                 const char *raw);
/* One call of libmicrohttpd's access handler. */
enum MHD_Result request_step(struct http_request *r, const char *method,
                             const char *data, size_t *size);
void request_abandon(struct http_request *r);
/* The connection is done with it, whichever way. */
void request_gone(struct http_request *r);

/* What a request needs of its server (http.c). */
void http_wake(struct http *h); /* run libmicrohttpd soon */
int64_t http_body_max(const struct http *h);
const struct route *http_routes(const struct http *h);
/* Its handler was called (1), or it is over (-1). */
void http_count_handled(struct http_request *r, int change);
const struct nets *http_proxies(const struct http *h);
bool http_is_tls(const struct http *h);
const char *http_client_header(const struct http *h);
const struct tls_client *http_tls_client(const struct http *h,
                                         struct MHD_Connection *c);
/* So that even an HTTP/1.0 client, for whom the end of the connection is the
 * end of the body, sees that the body is not whole. */
void http_reset(struct http *h, struct MHD_Connection *c);
