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

static const char *const none[] = {NULL};
static const char *const meters_query[] = {"serial", "limit", "after", NULL};
static const char *const readings_query[] = {
    "from", "to", "register", "limit", "after", "format", NULL};
static const char *const frames_query[] = {
    "from", "to", "fate", "meter_id", "reason", "limit", "after", NULL};

static const char *const ledger_query[] = {"from",  "to",    "by",
                                           "limit", "after", NULL};
static const char *const gaps_query[] = {"limit", "after", NULL};
static const char *const quarantine_query[] = {"reason", "limit", "after",
                                               NULL};

static const struct endpoint endpoints[] = {
    {"/api/v1/meters", meters_query, meters_serve},
    {"/api/v1/meters/{id}", none, meter_serve},
    {"/api/v1/meters/{id}/readings", readings_query, readings_serve},
    {"/api/v1/frames", frames_query, frames_serve},
    {"/api/v1/frames/{id}", none, frame_serve},
    {"/api/v1/ledger", ledger_query, ledger_serve},
    {"/api/v1/gaps", gaps_query, gaps_serve},
    {"/api/v1/quarantine", quarantine_query, quarantines_serve},
    {"/api/v1/quarantine/{id}", none, quarantine_serve},
};
enum { ENDPOINTS = sizeof endpoints / sizeof *endpoints };

struct binding {
    struct api *api;
    const struct endpoint *endpoint;
};

static void on_request(struct http_request *r, void *arg)
{
    const struct binding *b = arg;
    struct call *c = arena_alloc(http_arena(r), sizeof *c);

    *c = (struct call){.api = b->api, .r = r, .endpoint = b->endpoint};
    auth_call(c);
}

int api_new(const struct api_deps *deps, struct api **ret)
{
    struct api *a = mem_alloc(sizeof *a);

    a->deps = *deps;
    a->bindings = mem_alloc(sizeof *a->bindings * ENDPOINTS);
    for (int i = 0; i < ENDPOINTS; i++) {
        a->bindings[i] = (struct binding){a, &endpoints[i]};
        http_route(deps->http, "GET", endpoints[i].pattern, on_request,
                   &a->bindings[i]);
    }
    health_routes(a);
    *ret = a;
    return 0;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    buf_done(&a->scratch);
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

/* A '+' that the client did not encode has arrived as a blank. */
static struct str mend_offset(struct call *c, struct str s)
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
    if (stamp_parse(mend_offset(c, s), &t) == 0 && t.has_zone) {
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

void call_failed(struct call *c, int err, const struct pg_outcome *o)
{
    if (!o || passes(o)) {
        http_set_header(c->r, "Retry-After", "5");
        http_problem(c->r, 503, NULL, "%s",
                     err == ERR_FULL ? "The database has too much to do now."
                                     : "The database cannot be reached now.");
        return;
    }
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
