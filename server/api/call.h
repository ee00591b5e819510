/*
 * call.h - inside of the room: one authenticated request to one endpoint. It
 * lives in the request's arena, so it is there until the request is over and
 * answered.
 */
#pragma once

#include "server/api/api.h"
#include "server/store/column.h"

enum { TOKEN_HASH = 32, AUTH_SLOTS = 1024 };

struct auth_slot {
    uint8_t hash[TOKEN_HASH];
    int32_t tenant_id;
    int64_t until_us; /* monotonic */
};

struct api {
    struct api_deps deps;
    struct binding *bindings;
    struct buf scratch; /* a row while it is written */
    struct auth_slot slots[AUTH_SLOTS];
};

struct call {
    struct api *api;
    struct http_request *r;
    const struct endpoint *endpoint;
    int32_t tenant_id;
    uint8_t hash[TOKEN_HASH]; /* of the token, while it is looked up */
    struct str found;         /* the one thing asked for, as JSON */
};

struct endpoint {
    const char *pattern;
    const char *const *query; /* the parameters it knows, ends with NULL */
    void (*serve)(struct call *c);
};

/* auth.c: finds the tenant, then serves; or answers 401, 503. */
void auth_call(struct call *c);

/* The endpoints (one file per resource). */
void meters_serve(struct call *c);
void meter_serve(struct call *c);
void readings_serve(struct call *c);
void frames_serve(struct call *c);
void frame_serve(struct call *c);
void ledger_serve(struct call *c);
void gaps_serve(struct call *c);
void quarantines_serve(struct call *c);
void quarantine_serve(struct call *c);

/* Outside of /api: no tenant, no token (health.c). */
void health_routes(struct api *a);

/* Query parameters. A bad value answers 400 with what would be right, and
 * gives false; an absent one is the fallback. */
bool call_int(struct call *c, const char *name, int64_t min, int64_t max,
              int64_t fallback, int64_t *ret);
bool call_time(struct call *c, const char *name, int64_t *ret); /* TIME_NONE */
bool call_period(struct call *c, int64_t *from_us, int64_t *to_us);
/* The {id} of the path; answers 404 when it is no id. */
bool call_id(struct call *c, int64_t *ret);
void call_none(struct call *c); /* 404 */
/* Query parameter as a C string, NULL when absent or empty. */
const char *call_text(struct call *c, const char *name);

bool call_is_time(int64_t us); /* within the years that are accepted */

/* pg_done_fn of a query for one thing: c->found, 404, or what failed. */
void call_reply_found(void *arg, const struct pg_outcome *o);
/* The database did not answer, or a query could not be sent (err). */
void call_failed(struct call *c, int err, const struct pg_outcome *o);

/* JSON and CSV pieces. */
void put_text(struct buf *b, const char *name, struct str s); /* null if none */
void put_time(struct buf *b, const char *name, int64_t us);   /* null if none */
void put_number(struct buf *b, const char *name, struct str decimal);
void put_csv_time(struct buf *b, int64_t us);
