/*
 * run.c - runs an endpoint that is SQL: a list, one thing, or a write (see
 * endpoint.h).
 */
#include "server/api/etag.h"
#include "server/api/list.h"
#include "server/base/hash.h"
#include "server/base/hex.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- one thing, or a write ---- */

static void one_row(void *arg, const PGresult *res, int at)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, at, 0));
}

void call_answer(struct call *c, struct str json)
{
    int status = c->endpoint->status ? c->endpoint->status : 200;

    if (status == 204) {
        http_reply(c->r, 204, NULL, (struct str){0});
        return;
    }
    etag_give(c, json);
    http_reply(c->r, status, "application/json",
               arena_printf(http_arena(c->r), "%.*s\n", STR_ARGS(json)));
}

static void one_done(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else if (!c->found.p)
        call_none(c);
    else
        call_answer(c, c->found);
}

struct pg_actor call_actor(const struct call *c)
{
    return (struct pg_actor){*c->who.actor ? c->who.actor : "nobody",
                             c->address, c->who.rights};
}

static void run_one(struct call *c)
{
    const struct pg_actor actor = call_actor(c);
    char tenant[16];
    struct pg_call call = {.tenant_id = c->tenant_id,
                           .actor = &actor,
                           .sql = c->endpoint->sql,
                           .n = 1 + c->n_values,
                           .values = {tenant},
                           .row = one_row,
                           .done = one_done,
                           .arg = c};

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    for (int i = 0; i < c->n_values; i++)
        call.values[1 + i] = c->values[i];
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0)
        call_failed(c, r, NULL);
}

/* What a second request must agree with to be the same. */
static const char *fingerprint(struct call *c)
{
    struct str all =
        arena_printf(http_arena(c->r), "%s|%s|%s|%.*s", c->endpoint->name,
                     c->values[0] ? c->values[0] : "",
                     c->values[1] ? c->values[1] : "", STR_ARGS(c->body_text));
    struct hash128 h = hash128(all.p, all.n);
    char *hex = arena_alloc(http_arena(c->r), 2 * sizeof h.b + 1);

    return hex ? hex_encode(h.b, sizeof h.b, hex) : NULL;
}

/* The client's Idempotency-Key, or an empty one; false after a refusal. */
static bool once_key(struct call *c, struct str *ret)
{
    *ret = http_header(c->r, "Idempotency-Key");
    if (ret->n <= 200)
        return true;
    http_problem(c->r, 400, "Idempotency-Key", "At most 200 bytes.");
    return false;
}

void call_do(struct call *c, const char *expr, int n, const char *const *values)
{
    const struct pg_actor actor = call_actor(c);
    const char *shown = c->endpoint->shown;
    char tenant[16];
    struct str key, sql;
    struct pg_call call = {.tenant_id = c->tenant_id,
                           .actor = &actor,
                           .write = true,
                           .n = n,
                           .row = one_row,
                           .done = one_done,
                           .arg = c};

    if (!once_key(c, &key))
        return;
    for (int i = 0; i < n; i++)
        call.values[i] = values[i];
    if (key.n) {
        snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
        call.values[call.n++] = tenant;
        call.values[call.n++] = key.p;
        call.values[call.n++] = fingerprint(c);
        call.values[call.n++] = shown;
        sql = arena_printf(http_arena(c->r),
                           "SELECT coalesce(once_begin($%d::int, $%d, $%d),"
                           " once_end($%d::int, $%d, (%s)::text, $%d::text))",
                           n + 1, n + 2, n + 3, n + 1, n + 2, expr, n + 4);
    } else {
        sql = arena_printf(http_arena(c->r), "SELECT (%s)::text", expr);
    }
    call.sql = sql.p;
    int r = sql.p ? pg_call(c->api->deps.pool, &call) : ERR_FULL;
    if (r < 0)
        call_failed(c, r, NULL);
}

void call_write(struct call *c, const char *direct, const char *once,
                const char *body)
{
    const struct pg_actor actor = call_actor(c);
    struct str key;
    char tenant[16];

    if (!once_key(c, &key))
        return;
    struct pg_call call = {.tenant_id = c->tenant_id,
                           .actor = &actor,
                           .write = true,
                           .sql = key.n ? once : direct,
                           .n = key.n ? 6 : 4,
                           .values = {tenant, body, c->values[0], c->values[1],
                                      key.p, fingerprint(c)},
                           .row = one_row,
                           .done = one_done,
                           .arg = c};

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0)
        call_failed(c, r, NULL);
}

void call_ask(struct call *c, const char *sql, int n, const char *const *values,
              pg_row_fn *row, pg_done_fn *done, void *arg)
{
    const struct pg_actor actor = call_actor(c);
    struct pg_call call = {.tenant_id = c->tenant_id,
                           .actor = &actor,
                           .write = true,
                           .sql = sql,
                           .n = n,
                           .row = row,
                           .done = done,
                           .arg = arg};

    for (int i = 0; i < n; i++)
        call.values[i] = values[i];
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0)
        call_failed(c, r, NULL);
}

/* ---- lists ---- */

static int list_ask(struct list *l, int64_t n)
{
    struct call *c = l->call;
    const struct pg_actor actor = call_actor(c);
    char tenant[16], key[24], most[24];
    struct pg_call call = {.tenant_id = c->tenant_id,
                           .actor = &actor,
                           .sql = c->endpoint->sql,
                           .n = 4 + c->n_values,
                           .values = {tenant},
                           .row = list_row,
                           .done = list_done,
                           .arg = l};

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    snprintf(key, sizeof key, "%" PRId64, l->key.n);
    snprintf(most, sizeof most, "%" PRId64, n);
    for (int i = 0; i < c->n_values; i++)
        call.values[1 + i] = c->values[i];
    call.values[1 + c->n_values] = l->keyed ? key : NULL;
    call.values[2 + c->n_values] = l->keyed ? l->key.text : NULL;
    call.values[3 + c->n_values] = most;
    return pg_call(c->api->deps.pool, &call);
}

/* The members that the endpoint's `csv` names, of one item, as a line. */
static void put_csv_item(struct list *l, struct str item, struct buf *out)
{
    struct arena *a = l->call->api->row;
    struct json *found = NULL;
    struct json_error why;

    arena_reset(a);
    if (json_parse(a, item, (struct json_limits){0}, &found, &why) < 0)
        found = NULL; /* our own: cannot be */
    for (const char *p = l->call->endpoint->csv; *p;) {
        size_t n = strcspn(p, ","), dot = strcspn(p, ".,");
        struct str of = arena_str(a, (struct str){p, dot});
        const struct json *v = json_get(found, of.p);
        if (dot < n) {
            struct str in =
                arena_str(a, (struct str){p + dot + 1, n - dot - 1});
            v = json_get(v, in.p);
        }
        if (v && (v->type == JSON_STRING || v->type == JSON_NUMBER))
            buf_csv(out, v->text);
        else if (v && (v->type == JSON_TRUE || v->type == JSON_FALSE))
            buf_z(out, v->type == JSON_TRUE ? "true" : "false");
        p += n + (p[n] == ',');
        buf_z(out, *p ? "," : "\r\n");
    }
}

static void list_item(struct list *l, const PGresult *res, struct buf *out,
                      struct list_key *key)
{
    struct str text = column_str(res, 0, 2);

    if (l->csv)
        put_csv_item(l, column_str(res, 0, 0), out);
    else
        buf_str(out, column_str(res, 0, 0));
    key->n = column_int(res, 0, 1, 0);
    snprintf(key->text, sizeof key->text, "%.*s", STR_ARGS(text));
}

static const struct list_kind kind = {.query = list_ask, .row = list_item};

static void run_list(struct call *c)
{
    struct list *l = list_new(c, &kind);

    if (!l)
        return;
    l->head = arena_printf(http_arena(c->r), "{\"%s\":[", c->endpoint->list);
    list_query(l);
}

void call_run(struct call *c)
{
    const struct endpoint *e = c->endpoint;

    if (e->serve)
        e->serve(c);
    else if (e->call)
        call_write(c, c->binding->direct, c->binding->once, c->body_text.p);
    else if (e->list)
        run_list(c);
    else
        run_one(c);
}
