/*
 * api.c - the endpoints in one list, and what all of them share: parameters,
 * failures, pieces of JSON.
 */
#include "server/api/call.h"
#include "server/base/decimal.h"
#include "server/base/log.h"
#include "server/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The rows of all resources. */
extern const struct endpoint tenant_endpoints[], model_endpoints[],
    codec_endpoints[], meter_endpoints[], passport_endpoints[],
    reading_endpoints[], point_endpoints[], event_endpoints[], feed_endpoints[],
    frame_endpoints[], ledger_endpoints[], gap_endpoints[], webhook_endpoints[],
    report_endpoints[], quarantine_endpoints[], login_endpoints[],
    factor_endpoints[], signup_endpoints[], oidc_endpoints[],
    account_endpoints[], approval_endpoints[], meter_key_endpoints[],
    integration_endpoints[], audit_endpoints[], clock_endpoints[],
    command_endpoints[], openapi_endpoints[];
const struct endpoint *const endpoint_lists[] = {
    tenant_endpoints,      model_endpoints,
    codec_endpoints,       meter_endpoints,
    passport_endpoints,    reading_endpoints,
    point_endpoints,       event_endpoints,
    feed_endpoints,        frame_endpoints,
    ledger_endpoints,      gap_endpoints,
    webhook_endpoints,     report_endpoints,
    quarantine_endpoints,  login_endpoints,
    factor_endpoints,      signup_endpoints,
    oidc_endpoints,        account_endpoints,
    approval_endpoints,    meter_key_endpoints,
    integration_endpoints, audit_endpoints,
    clock_endpoints,       command_endpoints,
    openapi_endpoints,     NULL};

static void on_request(struct http_request *r, void *arg)
{
    const struct binding *b = arg;
    struct call *c = arena_alloc(http_arena(r), sizeof *c);

    *c = (struct call){
        .api = b->api, .r = r, .binding = b, .endpoint = b->endpoint};
    auth_call(c);
}

static char *around(const char *before, const char *call, const char *after)
{
    struct buf sql = {0};

    buf_printf(&sql, "%s%s%s", before, call, after);
    buf_u8(&sql, 0);
    char *text = mem_strdup((char *)sql.p);
    buf_done(&sql);
    return text;
}

#define GIVEN " FROM (SELECT $1::int, $2::jsonb, $3::text, $4::text) p"

/* The parameters get their types from the FROM clause; so `call` may cast them
 * as it likes. */
static void serve_endpoint(struct api *a, struct binding *b,
                           const struct endpoint *e)
{
    *b = (struct binding){.api = a, .endpoint = e};
    if (e->call) {
        b->direct = around("SELECT (", e->call, ")::text" GIVEN);
        b->once = around("SELECT coalesce(once_begin($1::int, $5, $6),"
                         " once_end($1::int, $5, (",
                         e->call, ")::text, NULL))" GIVEN);
    }
    if (e->call && (e->flags & ENDPOINT_CRITICAL))
        b->approved =
            around("SELECT approval_result($1::int, $5::int, (", e->call,
                   ")::text::json)" GIVEN
                   " WHERE approval_take($1::int, $5::int, $6::int,"
                   " 'done')");
    http_route(a->deps.http, e->method, e->pattern, on_request, b);
}

int api_new(const struct api_deps *deps, struct api **ret)
{
    struct api *a = mem_alloc(sizeof *a);
    int n = 0;

    a->deps = *deps;
    a->gate = login_gate_new();
    a->limit = limit_new();
    a->row = arena_new(4 << 20);
    for (const struct endpoint *const *l = endpoint_lists; *l; l++)
        for (const struct endpoint *e = *l; e->pattern; e++)
            a->n_bindings++;
    a->bindings = mem_alloc(sizeof *a->bindings * (size_t)a->n_bindings);
    for (const struct endpoint *const *l = endpoint_lists; *l; l++)
        for (const struct endpoint *e = *l; e->pattern; e++)
            serve_endpoint(a, &a->bindings[n++], e);
    health_routes(a);
    *ret = a;
    return 0;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    for (int i = 0; i < a->n_bindings; i++) {
        free(a->bindings[i].direct);
        free(a->bindings[i].once);
        free(a->bindings[i].approved);
    }
    buf_done(&a->scratch);
    arena_free(a->row);
    login_gate_free(a->gate);
    limit_free(a->limit);
    free(a->bindings);
    free(a);
}

/* A whole number without sign or blanks, as its own text says it. */
static bool parse_int(struct str s, int64_t min, int64_t max, int64_t *ret)
{
    struct decimal d;

    if (s.n == 0 || s.p[0] < '0' || s.p[0] > '9' || decimal_parse(s, &d) < 0 ||
        d.exp10 != 0 || d.mantissa < min || d.mantissa > max)
        return false;
    *ret = d.mantissa;
    return true;
}

bool call_int(struct call *c, const char *name, int64_t min, int64_t max,
              int64_t fallback, int64_t *ret)
{
    struct str s = http_query(c->r, name);

    *ret = fallback;
    if (!s.p || parse_int(s, min, max, ret))
        return true;
    http_problem(c->r, 400, name,
                 "\"%s\" takes a whole number from %" PRId64 " to %" PRId64
                 ", not \"%.*s\".",
                 name, min, max, (int)(s.n < 40 ? s.n : 40), s.p);
    return false;
}

struct str call_mend_offset(struct call *c, struct str s)
{
    struct str copy = arena_str(http_arena(c->r), s);

    if (s.n > 6 && s.p[s.n - 6] == ' ' && s.p[s.n - 3] == ':')
        ((char *)copy.p)[s.n - 6] = '+';
    return copy;
}

bool call_time(struct call *c, const char *name, int64_t *ret)
{
    struct str s = http_query(c->r, name);
    struct stamp t;

    *ret = TIME_NONE;
    if (!s.p)
        return true;
    if (stamp_parse(call_mend_offset(c, s), &t) == 0 && t.has_zone) {
        *ret = t.us;
        return true;
    }
    http_problem(c->r, 400, name,
                 "\"%s\" takes a time with its zone, such as "
                 "2026-01-15T12:00:00Z or 2026-01-15T15:00:00%%2B03:00, not "
                 "\"%.*s\".",
                 name, (int)(s.n < 40 ? s.n : 40), s.p);
    return false;
}

bool call_is_time(int64_t us)
{
    return us >= civil_days(1900, 1, 1) * 86400 * US_PER_S &&
           us < civil_days(2201, 1, 1) * 86400 * US_PER_S;
}

bool call_period(struct call *c, int64_t *from_us, int64_t *to_us)
{
    if (!call_time(c, "from", from_us) || !call_time(c, "to", to_us))
        return false;
    if (*from_us == TIME_NONE || *to_us == TIME_NONE || *from_us < *to_us)
        return true;
    http_problem(c->r, 400, "to",
                 "\"to\" must be later than \"from\"; it is the first instant "
                 "that is not included.");
    return false;
}

bool call_id(struct call *c, int64_t *ret)
{
    if (parse_int(http_param(c->r, "id"), 1, INT64_MAX, ret))
        return true;
    call_none(c);
    return false;
}

void call_none(struct call *c)
{
    http_problem(c->r, 404, NULL, "There is nothing with this id.");
}

const char *call_text(struct call *c, const char *name)
{
    struct str s = http_query(c->r, name);

    return s.n ? s.p : NULL;
}

void call_reply_found(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else if (!c->found.p)
        call_none(c);
    else
        http_reply(c->r, 200, "application/json", c->found);
}

/* PostgreSQL classes 53 (out of resources) and 57 (operator intervention, a
 * cancelled statement among them) pass; the rest is a fault of ours. */
static bool passes(const struct pg_outcome *o)
{
    return o->err != ERR_DATABASE || strncmp(o->sqlstate, "53", 2) == 0 ||
           strncmp(o->sqlstate, "57", 2) == 0;
}

/* refuse() of migrations/ speaks for itself; of the rest the class tells whose
 * fault it is. False: ours. */
static bool clients_fault(struct call *c, const struct pg_outcome *o)
{
    static const struct {
        const char *state;
        int status;
        const char *text;
    } classes[] = {
        {"23505", 409, "There is one like it already"},
        {"23503", 409, "Something else depends on it, or is not there"},
        {"23514", 422, "A value is outside of what is allowed"},
        {"23502", 422, "A value is missing"},
        {"22", 422, "A value cannot be read"},
        {"HE002", 409, "The tenant's key was changed meanwhile: send it again"},
        {"HE004", 413, "The tenant's codecs may hold 64 MiB in all"},
        {"54", 413, "It is more than can be kept"},
        {"HE003", 409, "The server's master key is not the database's"},
    };

    if (strncmp(o->sqlstate, "HE", 2) == 0 && atoi(o->sqlstate + 2) >= 400) {
        http_problem(c->r, atoi(o->sqlstate + 2), *o->column ? o->column : NULL,
                     "%s", o->error);
        return true;
    }
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strncmp(o->sqlstate, classes[i].state, strlen(classes[i].state)) ==
            0) {
            http_problem(c->r, classes[i].status, *o->column ? o->column : NULL,
                         "%s.", classes[i].text);
            return true;
        }
    return false;
}

void call_failed(struct call *c, int err, const struct pg_outcome *o)
{
    if (!o || passes(o)) {
        http_set_header(c->r, "Retry-After", "5");
        http_problem(c->r, 503, NULL, "%s",
                     err == ERR_FULL ? "The database has too much to do now."
                                     : "The database cannot be reached now.");
        return;
    }
    if (clients_fault(c, o))
        return;
    log_error("api query failed", "tenant=%d sqlstate=%s path=%s text=\"%s\"",
              c->tenant_id, o->sqlstate, c->endpoint->pattern, o->error);
    http_problem(c->r, 500, NULL, "The database refused the query.");
}

void put_text(struct buf *b, const char *name, struct str s)
{
    buf_printf(b, ",\"%s\":", name);
    if (s.p)
        buf_json_str(b, s);
    else
        buf_z(b, "null");
}

void put_time(struct buf *b, const char *name, int64_t us)
{
    char text[TIME_TEXT];

    if (us == TIME_NONE)
        buf_printf(b, ",\"%s\":null", name);
    else
        buf_printf(b, ",\"%s\":\"%s\"", name, time_text(us, text));
}

void put_number(struct buf *b, const char *name, struct str decimal)
{
    buf_printf(b, ",\"%s\":", name);
    buf_str(b, decimal.p ? decimal : STR("null"));
}

void put_csv_time(struct buf *b, int64_t us)
{
    char text[TIME_TEXT];

    if (us != TIME_NONE)
        buf_z(b, time_text(us, text));
}
