/*
 * call.h - inside of the room: one request to one endpoint, and who makes it.
 * It lives in the request's arena, so it is there until the request is over
 * and answered.
 */
#pragma once

#include "server/api/api.h"
#include "server/api/endpoint.h"
#include "server/base/json.h"
#include "server/store/column.h"

enum {
    TOKEN_HASH = 32,
    AUTH_SLOTS = 1024,
    CALL_VALUES = 11,
    ACTOR_TEXT = 160,
    ADDRESS_TEXT = 64
};

/* Who makes a call. */
struct identity {
    int32_t tenant_id;  /* PG_NO_TENANT: none chosen */
    int32_t account_id; /* 0: an API key */
    uint32_t rights;
    bool must_change;   /* the password, before anything else */
    bool confirmed;     /* gave the password within the last minutes */
    bool critical;      /* a key that may do critical acts */
    bool second_person; /* that the tenant asks for critical acts */
    bool lacks_factor;  /* a second one, which the tenant demands */
    char actor[ACTOR_TEXT];
};

struct auth_slot {
    uint8_t hash[TOKEN_HASH];
    char address[ADDRESS_TEXT];
    char certificate[TLS_FINGERPRINT];
    struct identity who;
    int64_t until_us; /* monotonic */
};

/* An endpoint as this API serves it. */
struct binding {
    struct api *api;
    const struct endpoint *endpoint;
    char *direct, *once; /* SQL around endpoint->call */
    char *approved;      /* the same, for a critical one (approvals.c) */
};

struct api {
    struct api_deps deps;
    struct binding *bindings;
    int n_bindings;
    struct buf scratch; /* a row while it is written */
    struct arena *row;  /* and while it is read */
    struct auth_slot slots[AUTH_SLOTS];
    struct login_gate *gate; /* login.c */
    struct limit *limit;
};

struct call {
    struct api *api;
    struct http_request *r;
    const struct binding *binding;
    const struct endpoint *endpoint;
    struct identity who;
    int32_t tenant_id; /* who.tenant_id */
    char address[ADDRESS_TEXT];
    bool by_cookie, by_certificate;
    struct tls_client client; /* its certificate, where it showed one */
    const char *tenant_name;  /* that it names, with a certificate alone */
    uint8_t hash[TOKEN_HASH]; /* of what it is known by */
    const char *values[CALL_VALUES]; /* path and query fields, in order */
    int n_values;
    const struct json *body; /* NULL where the endpoint takes none; CSV too */
    struct str body_text;
    struct str found; /* the one thing asked for, as JSON */
};

/* auth.c: who is it, may he? Then call_run; or answers 401, 403, 503. */
void auth_call(struct call *c);
/* The value of a cookie; `name` with its '='. */
struct str call_cookie(struct call *c, const char *name);
/* Forgets what is remembered of the caller's token. */
void auth_forget(struct call *c);
/* Of a cookie: what a form must send along. Hex, TOKEN_TEXT. */
enum { CSRF_TEXT = 33 };
void auth_csrf(const uint8_t hash[TOKEN_HASH], char ret[CSRF_TEXT]);

/* fields.c: false after a refusal was answered. */
bool fields_check(struct call *c);
const struct field *field_find(const struct endpoint *e, enum field_in in,
                               struct str name);

/* run.c */
void call_run(struct call *c);
/* Sends a write: $1 tenant, $2 `body`, $3, $4 path fields; `once` where the
 * client named an Idempotency-Key. Its JSON is the answer. */
void call_write(struct call *c, const char *direct, const char *once,
                const char *body);
/* The same for a write of the endpoint's own: `expr` over $1... (at most 12,
 * each with its cast) is the JSON. `values` are copied. */
void call_do(struct call *c, const char *expr, int n,
             const char *const *values);
void call_answer(struct call *c, struct str json);
/* Any one statement, in the caller's name; `values` are copied. */
void call_ask(struct call *c, const char *sql, int n, const char *const *values,
              pg_row_fn *row, pg_done_fn *done, void *arg);
struct pg_actor call_actor(const struct call *c);

/* Outside of /api: no tenant, no token (health.c). */
void health_routes(struct api *a);

/* limit.c: false after 429 was answered; of the address, before it is known who
 * asks; then of the key or account, and the tenant. */
struct limit *limit_new(void);
void limit_free(struct limit *l);
bool limit_address(struct call *c);
bool limit_pass(struct call *c);

/* approvals.c: a second person is asked before call_run. */
bool approval_needed(const struct call *c);
void approval_ask(struct call *c);

/* login.c: the line for the few password hashes at a time. */
struct login_gate *login_gate_new(void);
void login_gate_free(struct login_gate *g);

/* login.c: what a browser needs to know of its session, from c->found. */
void call_reply_session(struct call *c);
/* login.c: 429, the account is locked that long. */
void call_locked(struct call *c, int64_t seconds);

/* factor.c: the 30 s step whose code this is, 0 when it is none. <0: the seed
 * does not open, which call_totp_failed answers. `sealed`: \x text. */
int call_totp_step(struct call *c, int32_t account_id, int32_t key_no,
                   struct str sealed, struct str code, int64_t *step);
void call_totp_failed(struct call *c, int32_t account_id, int err);

/* Query parameters of endpoints that run by themselves. A bad value answers
 * 400 with what would be right, and gives false; an absent one is the
 * fallback. */
bool call_int(struct call *c, const char *name, int64_t min, int64_t max,
              int64_t fallback, int64_t *ret);
bool call_time(struct call *c, const char *name, int64_t *ret); /* TIME_NONE */
bool call_period(struct call *c, int64_t *from_us, int64_t *to_us);
/* A '+' that the client did not encode has arrived as a blank. */
struct str call_mend_offset(struct call *c, struct str s);
/* The {id} of the path; answers 404 when it is no id. */
bool call_id(struct call *c, int64_t *ret);
void call_none(struct call *c); /* 404 */
/* Query parameter as a C string, NULL when absent or empty. */
const char *call_text(struct call *c, const char *name);

bool call_is_time(int64_t us); /* within the years that are accepted */

/* pg_done_fn of a query for one thing: c->found, 404, or what failed. */
void call_reply_found(void *arg, const struct pg_outcome *o);
/* The database did not answer, refused, or a query could not be sent (err). */
void call_failed(struct call *c, int err, const struct pg_outcome *o);

/* JSON and CSV pieces. */
void put_text(struct buf *b, const char *name, struct str s); /* null if none */
void put_time(struct buf *b, const char *name, int64_t us);   /* null if none */
void put_number(struct buf *b, const char *name, struct str decimal);
void put_csv_time(struct buf *b, int64_t us);
