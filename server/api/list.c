/*
 * list.c - list_query -> list_row... -> list_done -> list_query (at once, or
 * when the client has drained) -> list_finish. A failure before the first row
 * is a problem document; after it the connection is cut, so that half a list
 * is never taken for a whole one.
 */
#include "server/api/list.h"
#include "server/base/log.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

enum {
    CURSOR_TEXT = 128,
    CURSOR_VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING
};

void list_bad_cursor(struct call *c)
{
    http_problem(c->r, 400, "after",
                 "\"after\" takes the \"next\" of an earlier answer.");
}

/* Cursor: "<n>.<text>" in base64url. */
static bool read_cursor(struct list *l, struct str s)
{
    char text[CURSOR_TEXT], *end;
    size_t n;

    if (sodium_base642bin((uint8_t *)text, sizeof text - 1, s.p, s.n, NULL, &n,
                          NULL, CURSOR_VARIANT) != 0)
        return false;
    text[n] = '\0';
    errno = 0;
    l->key.n = strtoll(text, &end, 10);
    if (errno || end == text || *end != '.' || strlen(text) != n ||
        strlen(end + 1) >= sizeof l->key.text)
        return false;
    snprintf(l->key.text, sizeof l->key.text, "%s", end + 1);
    l->keyed = true;
    return true;
}

static void put_cursor(const struct list_key *key, struct buf *out)
{
    char text[CURSOR_TEXT], cursor[2 * CURSOR_TEXT];
    int n = snprintf(text, sizeof text, "%" PRId64 ".%s", key->n, key->text);

    sodium_bin2base64(cursor, sizeof cursor, (uint8_t *)text, (size_t)n,
                      CURSOR_VARIANT);
    buf_printf(out, "\"%s\"", cursor);
}

/* The format parameter, else what the client accepts. */
static bool read_format(struct list *l)
{
    struct str s = http_query(l->call->r, "format");
    struct str accept = http_header(l->call->r, "Accept");

    if (s.p) {
        l->csv = str_is(s, "csv");
        if (l->csv || str_is(s, "json"))
            return true;
        http_problem(l->call->r, 400, "format",
                     "\"format\" takes json or csv.");
        return false;
    }
    l->csv = accept.n && strstr(accept.p, "text/csv") != NULL;
    return true;
}

/* "a,b.c" of the endpoint as the line "a,c". */
static struct str csv_head_of(struct call *c)
{
    const char *p = c->endpoint->csv;
    struct buf b = {0};

    for (size_t n; p && *p; p += n + (p[n] == ',')) {
        n = strcspn(p, ",");
        const char *dot = memchr(p, '.', n);
        buf_str(&b, dot ? (struct str){dot + 1, (size_t)(p + n - dot) - 1}
                        : (struct str){p, n});
        buf_z(&b, p[n] ? "," : "\r\n");
    }
    struct str head =
        b.n ? arena_str(http_arena(c->r), buf_view(&b)) : (struct str){0};
    buf_done(&b);
    return head;
}

struct list *list_new(struct call *c, const struct list_kind *kind)
{
    struct list *l = arena_alloc(http_arena(c->r), sizeof *l);
    struct str after = http_query(c->r, "after");

    l->call = c;
    l->kind = kind;
    l->csv_head = kind->csv_head ? str_of(kind->csv_head) : csv_head_of(c);
    if (l->csv_head.n && !read_format(l))
        return NULL;
    if (!call_int(c, "limit", 1, l->csv ? INT32_MAX : LIST_MOST,
                  l->csv ? 0 : LIST_DEFAULT, &l->limit))
        return NULL;
    if (after.p && !read_cursor(l, after)) {
        list_bad_cursor(c);
        return NULL;
    }
    return l;
}

static void list_drained(void *arg)
{
    struct list *l = arg;

    if (!l->waiting)
        return;
    l->waiting = false;
    list_query(l);
}

/* The request is over. A query that still runs is left to it: a page is short,
 * and to cancel one costs a connection of the pool. */
static void list_closed(void *arg)
{
    struct list *l = arg;

    if (l->waiting)
        http_stream_end(l->call->r, false);
    l->waiting = false;
}

static void list_begin(struct list *l)
{
    struct http_request *r = l->call->r;

    l->begun = true;
    http_stream_begin(r, 200,
                      l->csv ? "text/csv; charset=utf-8; header=present"
                             : "application/json",
                      list_drained, list_closed, l);
    http_stream_write(r, l->csv ? l->csv_head : l->head);
}

void list_row(void *arg, const PGresult *res, int row)
{
    struct list *l = arg;
    struct buf *out = &l->call->api->scratch;

    (void)row; /* single-row mode: always 0 */
    l->came++;
    if (l->limit && l->sent == l->limit) {
        l->more = true; /* asked for only to know that it is there */
        return;
    }
    if (!l->begun)
        list_begin(l);
    buf_clear(out);
    if (!l->csv && l->sent > 0)
        buf_u8(out, ',');
    l->kind->row(l, res, out, &l->key);
    l->keyed = true;
    l->sent++;
    l->queued = http_stream_write(l->call->r, buf_view(out));
}

static void list_finish(struct list *l)
{
    struct buf *out = &l->call->api->scratch;

    if (!l->begun)
        list_begin(l);
    buf_clear(out);
    if (!l->more && l->kind->last)
        l->kind->last(l, out);
    if (!l->csv) {
        buf_z(out, "],\"next\":");
        if (l->more)
            put_cursor(&l->key, out);
        else
            buf_z(out, "null");
        buf_z(out, "}\n");
    }
    http_stream_write(l->call->r, buf_view(out));
    http_stream_end(l->call->r, true);
}

static void list_fail(struct list *l, int err, const struct pg_outcome *o)
{
    if (!l->begun) {
        call_failed(l->call, err, o);
        return;
    }
    if (!http_gone(l->call->r))
        log_warning("api answer cut",
                    "tenant=%d path=%s rows=%" PRId64 " err=%s",
                    l->call->tenant_id, l->call->endpoint->pattern, l->sent,
                    err_name(err));
    http_stream_end(l->call->r, false);
}

void list_done(void *arg, const struct pg_outcome *o)
{
    struct list *l = arg;

    if (o->err < 0)
        list_fail(l, o->err, o);
    else if (l->begun && http_gone(l->call->r))
        http_stream_end(l->call->r, false);
    else if (l->more || (l->came < l->asked && l->last))
        list_finish(l);
    else if (l->queued > HTTP_STREAM_HIGH)
        l->waiting = true;
    else
        list_query(l);
}

void list_query(struct list *l)
{
    int64_t n = LIST_PAGE;
    int r;

    if (l->limit && l->limit - l->sent < LIST_PAGE)
        n = l->limit - l->sent + 1;
    l->last = true;
    r = l->kind->query(l, n);
    l->asked = n;
    l->came = 0;
    if (r < 0)
        list_fail(l, r, NULL);
}
