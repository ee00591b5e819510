/*
 * request.c - a request from its first header to the last byte of its answer:
 * request_admit -> request_collect -> handler -> reply, or a stream that
 * on_read empties. While nothing is ready the connection is suspended; an
 * answer or more data resumes it. A stream holds at most HTTP_STREAM_HIGH
 * plus one write.
 */
#include "server/http/request.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* What a handler may keep per request beside its own limits. */
static const size_t arena_limit = 8 * 1024 * 1024;
static const size_t stream_block = 32 * 1024; /* most bytes per read */

struct http_request *request_new(struct http *h, struct MHD_Connection *c,
                                 const char *raw)
{
    struct http_request *r = mem_alloc(sizeof *r);

    r->http = h;
    r->connection = c;
    r->refs = 1;
    r->arena = arena_new(arena_limit);
    r->target_err = target_parse(r->arena, str_of(raw), &r->target);
    return r;
}

static void request_unref(struct http_request *r)
{
    if (--r->refs)
        return;
    if (r->stream)
        buf_done(&r->stream->queue);
    buf_done(&r->body);
    arena_free(r->arena);
    free(r);
}

static void resume(struct http_request *r)
{
    if (!r->suspended)
        return;
    r->suspended = false;
    MHD_resume_connection(r->connection);
    http_wake(r->http);
}

static void suspend(struct http_request *r)
{
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

static bool serves(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* Every method that some route has for this path, for Allow. */
static struct str allowed(struct http_request *r)
{
    struct buf b = {0};
    struct str s;

    for (const struct route *o = http_routes(r->http); o; o = o->next)
        if (target_match(&r->target, o->pattern))
            buf_printf(&b, "%s%s%s", b.n ? ", " : "", o->method,
                       strcmp(o->method, "GET") == 0 ? ", HEAD" : "");
    s = arena_str(r->arena, buf_view(&b));
    buf_done(&b);
    return s;
}

static void refuse(struct http_request *r, int status, const char *why)
{
    r->refs++;
    http_problem(r, status, NULL, "%s", why);
}

static void find_route(struct http_request *r, const char *method)
{
    const struct route *o = http_routes(r->http);
    struct str allow;

    while (o && !(serves(o, method) && target_match(&r->target, o->pattern)))
        o = o->next;
    r->route = o;
    if (o)
        return;
    allow = allowed(r);
    if (allow.n == 0) {
        refuse(r, 404, "There is nothing under this path.");
        return;
    }
    http_set_header(r, "Allow", allow.p);
    refuse(r, 405, "This path answers other methods, see Allow.");
}

static void refuse_target(struct http_request *r)
{
    if (r->target_err == ERR_FULL)
        refuse(r, 414, "The request target has too many parts.");
    else if (r->target_err == ERR_CONFLICT)
        refuse(r, 400, "A query parameter is given twice.");
    else
        refuse(r, 400, "The request target is not percent-encoded UTF-8.");
}

static void refuse_body(struct http_request *r)
{
    r->refs++;
    http_problem(r, 413, NULL, "The body is longer than %lld bytes.",
                 (long long)http_body_max(r->http));
}

static enum MHD_Result send_answer(struct http_request *r)
{
    struct MHD_Response *response = r->response;
    enum MHD_Result result;

    r->response = NULL;
    if (http_stopping(r->http))
        MHD_add_response_header(response, "Connection", "close");
    result = MHD_queue_response(r->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}

static const char *header(struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

static bool is_chunked(const char *coding)
{
    return strcasecmp(coding, "chunked") == 0;
}

/* The headers are there: what can be refused before the body, is. That closes
 * the connection, so where no body follows the refusal waits its turn. */
static enum MHD_Result request_admit(struct http_request *r, const char *method)
{
    const char *length = header(r, "Content-Length");
    const char *coding = header(r, "Transfer-Encoding");
    unsigned long long most = (unsigned long long)http_body_max(r->http);

    r->admitted = true;
    if (r->target_err < 0)
        refuse_target(r);
    else if (coding && (length || !is_chunked(coding)))
        refuse(r, 400, "The body's length cannot be told.");
    else
        find_route(r, method);
    if (!r->response && length && strtoull(length, NULL, 10) > most)
        refuse_body(r);
    if (r->response && (coding || (length && strcmp(length, "0") != 0)))
        return send_answer(r);
    return MHD_YES;
}

static bool keeps_body(const struct http_request *r)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", NULL};

    for (const char *const *m = methods; *m; m++)
        if (strcmp(r->route->method, *m) == 0)
            return true;
    return false;
}

/* A body that was not announced (chunked) and grows past the limit is read on
 * for as long again, so that the client gets to see its 413. */
static enum MHD_Result request_collect(struct http_request *r, const char *data,
                                       size_t n)
{
    size_t most = (size_t)http_body_max(r->http);

    r->body_size += n;
    if (r->body_size > most) {
        r->body_over = true;
        buf_done(&r->body);
        return r->body_size / 2 > most ? MHD_NO : MHD_YES;
    }
    if (r->route && keeps_body(r))
        buf_put(&r->body, data, n);
    return MHD_YES;
}

enum MHD_Result request_step(struct http_request *r, const char *method,
                             const char *data, size_t *size)
{
    if (!r->admitted)
        return request_admit(r, method);
    if (*size) {
        enum MHD_Result go_on = request_collect(r, data, *size);

        *size = 0;
        return go_on;
    }
    if (r->body_over && !r->response) {
        refuse_body(r);
    } else if (!r->response && !r->handled) {
        r->handled = true;
        r->refs++;
        http_count_handled(r, 1);
        r->route->fn(r, r->route->arg);
    }
    if (r->response)
        return send_answer(r);
    if (r->abandoned)
        return MHD_NO;
    suspend(r);
    return MHD_YES;
}

void request_abandon(struct http_request *r)
{
    r->abandoned = true;
    if (r->stream)
        http_reset(r->http, r->connection);
    resume(r);
}

/* Runs once: here, or in http_stream_end of a client that left before. */
static void close_stream(struct stream *s)
{
    void (*on_close)(void *) = s->on_close;

    s->on_close = NULL;
    if (on_close)
        on_close(s->arg);
}

void request_gone(struct http_request *r)
{
    if (r->handled)
        http_count_handled(r, -1);
    if (r->response)
        MHD_destroy_response(r->response);
    r->response = NULL;
    r->connection = NULL;
    r->suspended = false;
    r->http = NULL;
    if (r->stream)
        close_stream(r->stream);
    request_unref(r);
}

struct arena *http_arena(struct http_request *r)
{
    return r->arena;
}

struct str http_param(struct http_request *r, const char *name)
{
    return target_param(&r->target, r->route->pattern, name);
}

struct str http_query(struct http_request *r, const char *name)
{
    for (uint32_t i = 0; i < r->target.n_pairs; i++)
        if (str_is(r->target.pairs[i].name, name))
            return r->target.pairs[i].value;
    return (struct str){0};
}

struct str http_query_unknown(struct http_request *r, const char *const *known)
{
    for (uint32_t i = 0; i < r->target.n_pairs; i++) {
        const char *const *k = known;

        while (*k && !str_is(r->target.pairs[i].name, *k))
            k++;
        if (!*k)
            return r->target.pairs[i].name;
    }
    return (struct str){0};
}

struct str http_header(struct http_request *r, const char *name)
{
    const char *value = NULL;

    if (r->connection)
        value =
            MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
    return value ? arena_str(r->arena, str_of(value)) : (struct str){0};
}

struct str http_body(struct http_request *r)
{
    return buf_view(&r->body);
}

void http_set_header(struct http_request *r, const char *name,
                     const char *value)
{
    if (r->n_headers == REQUEST_HEADERS)
        return;
    r->headers[r->n_headers++] = (struct pair){
        arena_str(r->arena, str_of(name)), arena_str(r->arena, str_of(value))};
}

/* What every answer says unless its handler said otherwise. */
static const struct usual {
    const char *name, *value;
    bool secure; /* only where the client came by HTTPS */
} usual[] = {
    {"Cache-Control", "no-store", false},
    {"X-Content-Type-Options", "nosniff", false},
    {"X-Frame-Options", "DENY", false},
    {"Referrer-Policy", "no-referrer", false},
    {"Content-Security-Policy",
     "default-src 'none'; frame-ancestors 'none'; base-uri 'none'", false},
    {"Strict-Transport-Security", "max-age=31536000", true},
    {0},
};

static bool has_header(const struct http_request *r, const char *name)
{
    for (int i = 0; i < r->n_headers; i++)
        if (strcasecmp(r->headers[i].name.p, name) == 0)
            return true;
    return false;
}

/* Makes `response` the answer; libmicrohttpd is told when it next asks. */
static void answer(struct http_request *r, int status, const char *type,
                   struct MHD_Response *response)
{
    for (int i = 0; i < r->n_headers; i++)
        MHD_add_response_header(response, r->headers[i].name.p,
                                r->headers[i].value.p);
    for (const struct usual *u = usual; u->name; u++)
        if ((!u->secure || http_secure(r)) && !has_header(r, u->name))
            MHD_add_response_header(response, u->name, u->value);
    if (type)
        MHD_add_response_header(response, "Content-Type", type);
    r->status = status;
    r->response = response;
    resume(r);
}

void http_reply(struct http_request *r, int status, const char *type,
                struct str body)
{
    if (r->connection)
        answer(r, status, type,
               MHD_create_response_from_buffer(body.n, (void *)body.p,
                                               MHD_RESPMEM_MUST_COPY));
    request_unref(r);
}

void http_problem(struct http_request *r, int status, const char *field,
                  const char *fmt, ...)
{
    char detail[512];
    struct buf b = {0};
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    buf_z(&b, "{\"type\":\"about:blank\",\"title\":");
    buf_json_str(&b, str_of(MHD_get_reason_phrase_for((unsigned)status)));
    buf_printf(&b, ",\"status\":%d,\"detail\":", status);
    buf_json_str(&b, str_of(detail));
    if (field) {
        buf_z(&b, ",\"field\":");
        buf_json_str(&b, str_of(field));
    }
    buf_z(&b, "}\n");
    http_reply(r, status, "application/problem+json", buf_view(&b));
    buf_done(&b);
}

static size_t queued(const struct stream *s)
{
    return s->queue.n - s->sent;
}

/* Forgets what was sent, when that is most of the buffer. */
static void compact(struct stream *s)
{
    if (s->sent < queued(s))
        return;
    memmove(s->queue.p, s->queue.p + s->sent, queued(s));
    s->queue.n = queued(s);
    s->sent = 0;
}

static ssize_t on_read(void *arg, uint64_t at, char *out, size_t max)
{
    struct http_request *r = arg;
    struct stream *s = r->stream;
    size_t n = queued(s) < max ? queued(s) : max;

    (void)at;
    if (n == 0) {
        if (s->ended && s->ok)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (s->ended || r->abandoned) {
            http_reset(r->http, r->connection);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        suspend(r);
        return 0;
    }
    memcpy(out, s->queue.p + s->sent, n);
    s->sent += n;
    compact(s);
    if (s->high && queued(s) < HTTP_STREAM_HIGH / 2) {
        s->high = false;
        if (s->on_drain && !s->ended)
            s->on_drain(s->arg);
    }
    return (ssize_t)n;
}

void http_stream_begin(struct http_request *r, int status, const char *type,
                       void (*on_drain)(void *), void (*on_close)(void *),
                       void *arg)
{
    r->stream = arena_alloc(r->arena, sizeof *r->stream);
    *r->stream =
        (struct stream){.on_drain = on_drain, .on_close = on_close, .arg = arg};
    if (r->connection)
        answer(r, status, type,
               MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, stream_block,
                                                 on_read, r, NULL));
}

size_t http_stream_write(struct http_request *r, struct str data)
{
    struct stream *s = r->stream;

    if (!r->connection || s->ended)
        return 0;
    buf_put(&s->queue, data.p, data.n);
    if (queued(s) > HTTP_STREAM_HIGH)
        s->high = true;
    resume(r);
    return queued(s);
}

void http_stream_end(struct http_request *r, bool ok)
{
    struct stream *s = r->stream;

    s->ended = true;
    s->ok = ok;
    if (r->connection)
        resume(r);
    else
        close_stream(s);
    request_unref(r);
}

bool http_gone(const struct http_request *r)
{
    return r->connection == NULL;
}
