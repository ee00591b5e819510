/*
 * login.c - people sign in, change their tenant, their password, and leave.
 *   login_serve -> looked -> (gate) checked -> login_good | login_failed
 */
#include "server/api/gate.h"
#include "server/api/totp.h"
#include "server/base/hex.h"

#include <sodium.h>
#include <stdio.h>

enum { COOKIE_BYTES = 32, HASH_HEX = 2 * TOKEN_HASH + 1 };

struct login {
    struct password_job job;
    const char *email;
    struct str code; /* of the second factor; empty: none came */
    int64_t account_id, locked_s, step;
    int seed_err;
    bool has_factor;
    char stored[PASSWORD_HASH];
    bool found;
    char cookie[2 * COOKIE_BYTES + 1], hash[HASH_HEX];
};

static struct str body_str(struct call *c, const char *name)
{
    return arena_str(http_arena(c->r), json_str(json_get(c->body, name)));
}

static void take_json(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
}

/* ---- signing in ---- */

/* What the browser needs to know of its session: who, where, and the CSRF
 * word. */
void call_reply_session(struct call *c)
{
    char csrf[CSRF_TEXT];

    if (c->found.n < 2) {
        call_none(c);
        return;
    }
    auth_csrf(c->hash, csrf);
    http_reply(c->r, 200, "application/json",
               arena_printf(http_arena(c->r), "%.*s,\"csrf\":\"%s\"}\n",
                            (int)c->found.n - 1, c->found.p, csrf));
}

static void session_done(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    auth_forget(c);
    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        call_reply_session(c);
}

static void wrong_told(void *arg, const struct pg_outcome *o)
{
    struct login *l = arg;
    struct call *c = l->job.call;

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    http_set_header(c->r, "WWW-Authenticate", "Cookie");
    if (l->job.good)
        http_problem(c->r, 401, "code",
                     "This is not the code of this moment, or it was used.");
    else
        http_problem(c->r, 401, NULL,
                     "This address and this password do not fit together.");
}

static void wrong(struct login *l)
{
    gate_wrong(l->job.call);
    call_ask(l->job.call, "SELECT login_failed($1)", 1,
             (const char *const[]){l->email}, NULL, wrong_told, l);
}

static void login_stored(void *arg, const struct pg_outcome *o)
{
    struct login *l = arg;
    struct call *c = l->job.call;
    struct str cookie = arena_printf(
        http_arena(c->r),
        "headend_session=%s; Path=/; HttpOnly; Secure; SameSite=Strict",
        l->cookie);

    if (o->err == 0 && c->found.n == 0) {
        wrong(l);
        return;
    }
    if (o->err == 0)
        http_set_header(c->r, "Set-Cookie", cookie.p);
    session_done(c, o);
}

static void login_take(void *arg, const PGresult *res, int row)
{
    struct login *l = arg;

    take_json(l->job.call, res, row);
}

static void new_session(struct login *l)
{
    struct call *c = l->job.call;
    uint8_t random[COOKIE_BYTES];
    char account[24];
    struct str agent = http_header(c->r, "User-Agent");
    char step[24], recovery[65];
    const char *values[] = {account,    l->hash,
                            c->address, str_utf8(agent) ? agent.p : NULL,
                            step,       recovery};

    snprintf(step, sizeof step, "%lld", (long long)l->step);
    recovery_hash(l->code, recovery);

    randombytes_buf(random, sizeof random);
    hex_encode(random, sizeof random, l->cookie);
    crypto_generichash(c->hash, TOKEN_HASH, (uint8_t *)l->cookie,
                       strlen(l->cookie), NULL, 0);
    hex_encode(c->hash, TOKEN_HASH, l->hash);
    snprintf(account, sizeof account, "%lld", (long long)l->account_id);
    call_ask(c,
             "SELECT login_good($1::int, $2, $3, coalesce($4, ''),"
             " $5::bigint, $6)",
             6, values, login_take, login_stored, l);
}

static void checked(struct password_job *j)
{
    struct login *l = (struct login *)j;
    struct call *c = j->call;

    if (!j->good) {
        wrong(l);
    } else if (l->has_factor && l->code.n == 0) {
        http_set_header(c->r, "WWW-Authenticate", "Cookie");
        http_problem(c->r, 401, "code",
                     "This account has a second factor: send its \"code\", or "
                     "a recovery code.");
    } else if (l->seed_err < 0 && l->code.n == TOTP_CODE - 1) {
        call_totp_failed(c, (int32_t)l->account_id, l->seed_err);
    } else {
        new_session(l);
    }
}

static void account_row(void *arg, const PGresult *res, int row)
{
    struct login *l = arg;
    struct str stored = column_str(res, row, 1);

    l->account_id = column_int(res, row, 0, 0);
    l->locked_s = column_int(res, row, 2, 0);
    l->found = stored.n > 0;
    l->has_factor = str_is(column_str(res, row, 3), "t");
    if (l->has_factor && l->code.n)
        l->seed_err =
            call_totp_step(l->job.call, (int32_t)l->account_id,
                           (int32_t)column_int(res, row, 4, 0),
                           column_str(res, row, 5), l->code, &l->step);
    snprintf(l->stored, sizeof l->stored, "%.*s", STR_ARGS(stored));
    l->job.stored = l->found ? l->stored : NULL;
}

void call_locked(struct call *c, int64_t seconds)
{
    struct str wait =
        arena_printf(http_arena(c->r), "%lld", (long long)seconds);

    http_set_header(c->r, "Retry-After", wait.p);
    http_problem(c->r, 429, NULL,
                 "Too many wrong passwords or codes for this account; wait "
                 "%s s.",
                 wait.p);
}

static void looked(void *arg, const struct pg_outcome *o)
{
    struct login *l = arg;
    struct call *c = l->job.call;

    if (o->err < 0) {
        call_failed(c, o->err, o);
    } else if (l->locked_s > 0) {
        call_locked(c, l->locked_s);
    } else {
        gate_run(&l->job);
    }
}

static void login_serve(struct call *c)
{
    struct login *l = arena_alloc(http_arena(c->r), sizeof *l);

    l->job = (struct password_job){
        .call = c, .given = body_str(c, "password"), .done = checked};
    l->email = body_str(c, "email").p;
    l->code = body_str(c, "code");
    call_ask(c, "SELECT * FROM login_lookup($1)", 1, &l->email, account_row,
             looked, l);
}

/* ---- the session ---- */

static void session_ask(struct call *c, const char *sql, const char *second)
{
    char account[16], tenant[16];
    char *hash = arena_alloc(http_arena(c->r), HASH_HEX);
    const char *values[] = {account, hash, second ? second : tenant};

    snprintf(account, sizeof account, "%d", c->who.account_id);
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    hex_encode(c->hash, TOKEN_HASH, hash);
    call_ask(c, sql, 3, values, take_json, session_done, c);
}

static void session_get(struct call *c)
{
    session_ask(c, "SELECT session_show($1::int, $3::int, $2)", NULL);
}

static void session_switch(struct call *c)
{
    session_ask(c, "SELECT session_switch($1::int, $2, $3)",
                body_str(c, "tenant").p);
}

static void ended(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    auth_forget(c);
    http_set_header(c->r, "Set-Cookie",
                    "headend_session=; Path=/; HttpOnly; Secure; "
                    "SameSite=Strict; Max-Age=0");
    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        http_reply(c->r, 204, NULL, (struct str){0});
}

static void session_end(struct call *c)
{
    char hash[HASH_HEX];
    const char *values[] = {hex_encode(c->hash, TOKEN_HASH, hash)};

    call_ask(c, "SELECT session_end($1)", 1, values, NULL, ended, c);
}

/* ---- the password again, and a new one ---- */

static void no_content(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    auth_forget(c);
    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        http_reply(c->r, 204, NULL, (struct str){0});
}

static bool given_good(struct password_job *j)
{
    if (j->good && j->err == 0)
        return true;
    if (j->good) {
        call_failed(j->call, j->err, NULL);
        return false;
    }
    gate_wrong(j->call);
    http_problem(j->call->r, 403, "current", "This is not the password.");
    return false;
}

static void confirmed(struct password_job *j)
{
    char hash[HASH_HEX];
    const char *values[] = {hex_encode(j->call->hash, TOKEN_HASH, hash)};

    if (given_good(j))
        call_ask(j->call, "SELECT session_confirm($1)", 1, values, NULL,
                 no_content, j->call);
}

static void changed(struct password_job *j)
{
    char hash[HASH_HEX], account[16];
    const char *values[] = {account, j->hash,
                            hex_encode(j->call->hash, TOKEN_HASH, hash)};

    snprintf(account, sizeof account, "%d", j->call->who.account_id);
    if (given_good(j))
        call_ask(j->call, "SELECT password_set($1::int, $2, $3)", 3, values,
                 NULL, no_content, j->call);
}

/* The hash of the person who is signed in, then the gate. */
static void own_password(struct call *c, const char *given, struct str fresh,
                         void (*done)(struct password_job *))
{
    struct login *l = arena_alloc(http_arena(c->r), sizeof *l);
    const char *email = c->who.actor;

    l->job = (struct password_job){
        .call = c, .given = body_str(c, given), .fresh = fresh, .done = done};
    call_ask(c, "SELECT * FROM login_lookup($1)", 1, &email, account_row,
             looked, l);
}

static void session_confirm(struct call *c)
{
    own_password(c, "password", (struct str){0}, confirmed);
}

static void password_change(struct call *c)
{
    struct str fresh = body_str(c, "password");
    const char *why = password_weak(fresh, str_of(c->who.actor));

    if (why)
        http_problem(c->r, 422, "password", "%s", why);
    else
        own_password(c, "current", fresh, changed);
}

/* ---- the rows ---- */

static const struct field login_fields[] = {
    {"email", IN_BODY, FIELD_TEXT, true, .min = 3, .max = 254,
     .help = "The account's address."},
    {"password", IN_BODY, FIELD_TEXT, true, .min = 1, .max = PASSWORD_MOST,
     .help = "Its password."},
    {"code", IN_BODY, FIELD_TEXT, .min = 6, .max = 40,
     .help = "Of the second factor, where there is one; or a recovery code."},
    {0}};
static const struct field switch_fields[] = {
    {"tenant", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 63,
     .help = "Name of a tenant that the account belongs to."},
    {0}};
static const struct field confirm_fields[] = {
    {"password", IN_BODY, FIELD_TEXT, true, .min = 1, .max = PASSWORD_MOST,
     .help = "The password, again."},
    {0}};
static const struct field password_fields[] = {
    {"current", IN_BODY, FIELD_TEXT, true, .min = 1, .max = PASSWORD_MOST,
     .help = "The password as it is."},
    {"password", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 1024,
     .help = "The new one."},
    {0}};

const struct endpoint login_endpoints[] = {
    {"POST", "/api/v1/login", 0, ENDPOINT_PUBLIC, "login",
     "Signs in: a session cookie, and who one is.", login_fields,
     .serve = login_serve, .answer = "session"},
    {"GET", "/api/v1/session", 0, ENDPOINT_ANYBODY, "session_get",
     "Who is signed in, for which tenant, with which rights.",
     .serve = session_get, .answer = "session"},
    {"POST", "/api/v1/session", 0, ENDPOINT_ANYBODY, "session_switch",
     "Goes on for another tenant.", switch_fields, .serve = session_switch,
     .answer = "session"},
    {"DELETE", "/api/v1/session", 0, ENDPOINT_ANYBODY, "session_end",
     "Signs out.", .serve = session_end, .status = 204},
    {"POST", "/api/v1/session/confirm", 0, ENDPOINT_ANYBODY, "session_confirm",
     "Gives the password again; critical acts are open for five minutes.",
     confirm_fields, .serve = session_confirm, .status = 204},
    {"POST", "/api/v1/password", 0, ENDPOINT_ANYBODY, "password_change",
     "Changes the password; all other sessions end.", password_fields,
     .serve = password_change, .status = 204},
    {0}};
