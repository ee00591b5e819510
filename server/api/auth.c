/*
 * auth.c - who is it, and may he?
 *   auth_call -> (cache, or auth_look -> auth_found) -> admit -> call_run
 * A machine sends an API key, shows a certificate, or both; a person's browser
 * sends the cookie of a session. Neither key nor cookie is ever kept nor sent
 * on, only its BLAKE2b-256. What is remembered lives five seconds: as long as a
 * key that is taken back still works.
 * With a certificate alone a machine names the tenant, in X-Tenant: it may be
 * known to several, and a browser that has one cannot be made to send that.
 */
#include "server/api/call.h"
#include "server/base/hex.h"
#include "server/base/log.h"

#include <sodium.h>
#include <stdio.h>
#include <strings.h>

static const int64_t cache_us = 5 * US_PER_S;

static void refuse(struct call *c, const char *challenge, const char *why)
{
    static struct log_limit limit;
    int lines = log_allowed(&limit);

    if (lines)
        log_warning("api caller refused", "address=%s times=%d", c->address,
                    lines);
    http_set_header(c->r, "WWW-Authenticate", challenge);
    http_problem(c->r, 401, NULL, "%s", why);
}

/* ---- may he? ---- */

void auth_csrf(const uint8_t hash[TOKEN_HASH], char ret[CSRF_TEXT])
{
    uint8_t tag[(CSRF_TEXT - 1) / 2];

    crypto_generichash(tag, sizeof tag, hash, TOKEN_HASH,
                       (const uint8_t *)"csrf", 4);
    hex_encode(tag, sizeof tag, ret);
}

/* A page of somebody else can make a browser send the cookie, not this. */
static bool csrf_good(struct call *c)
{
    char want[CSRF_TEXT];
    struct str got = http_header(c->r, "X-CSRF-Token");

    if (!c->by_cookie || strcmp(c->endpoint->method, "GET") == 0)
        return true;
    auth_csrf(c->hash, want);
    if (got.n == CSRF_TEXT - 1 && sodium_memcmp(got.p, want, got.n) == 0)
        return true;
    http_problem(c->r, 403, "X-CSRF-Token",
                 "With a cookie, this needs the \"csrf\" of /api/v1/session in "
                 "the header X-CSRF-Token.");
    return false;
}

static const char give_again[] =
    "Give the password again for this: POST /api/v1/session/confirm.";

static const char needs_right[] = "This needs the right \"%s\".";

/* NULL: he may. Else why not, and the field that it is about. */
static const char *refusal(const struct call *c, const char **field)
{
    const struct endpoint *e = c->endpoint;
    const struct identity *who = &c->who;

    *field = NULL;
    if (e->flags & ENDPOINT_ANYBODY && !who->account_id)
        return "This is for people, not for API keys.";
    *field = "confirm";
    if (e->flags & ENDPOINT_CONFIRMED && !who->confirmed)
        return give_again;
    if (e->flags & ENDPOINT_ANYBODY)
        return NULL;
    *field = "password";
    if (who->must_change)
        return "The password must be changed first: POST /api/v1/password.";
    *field = "second_factor";
    if (who->lacks_factor)
        return "A second factor is missing: give its code (POST "
               "/api/v1/session/factor), or begin one (POST /api/v1/totp).";
    *field = NULL;
    if (!(who->rights & e->right))
        return needs_right;
    if (e->flags & ENDPOINT_CRITICAL && !who->account_id && !who->critical)
        return "This act is critical: it needs a key that was made with "
               "\"critical\": true.";
    *field = "confirm";
    if (e->flags & ENDPOINT_CRITICAL && who->account_id &&
        !who->second_person && !who->confirmed)
        return give_again;
    return NULL;
}

static bool allowed(struct call *c)
{
    const char *field, *why = refusal(c, &field);

    if (why == needs_right)
        http_problem(c->r, 403, NULL, needs_right,
                     right_name(c->endpoint->right));
    else if (why)
        http_problem(c->r, 403, field, "%s", why);
    return !why;
}

static void admit(struct call *c)
{
    c->tenant_id = c->who.tenant_id;
    if (!limit_pass(c) || !csrf_good(c) || !allowed(c) || !fields_check(c))
        return;
    if (approval_needed(c))
        approval_ask(c);
    else
        call_run(c);
}

/* ---- who is it? ---- */

static struct auth_slot *slot_of(struct call *c)
{
    size_t i = (size_t)c->hash[0] << 8 | c->hash[1];

    return &c->api->slots[i % AUTH_SLOTS];
}

void auth_forget(struct call *c)
{
    *slot_of(c) = (struct auth_slot){0};
}

static void key_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;
    struct str name = column_str(res, row, 2);

    c->who = (struct identity){
        .tenant_id = (int32_t)column_int(res, row, 0, PG_NO_TENANT),
        .rights = (uint32_t)column_int(res, row, 3, 0),
        .critical = str_is(column_str(res, row, 4), "t")};
    snprintf(c->who.actor, sizeof c->who.actor, "api key %lld (%.*s)",
             (long long)column_int(res, row, 1, 0), STR_ARGS(name));
}

static void session_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;
    struct str email = column_str(res, row, 2);

    c->who = (struct identity){
        .tenant_id = (int32_t)column_int(res, row, 0, PG_NO_TENANT),
        .account_id = (int32_t)column_int(res, row, 1, 0),
        .rights = (uint32_t)column_int(res, row, 3, 0),
        .must_change = str_is(column_str(res, row, 4), "t"),
        .confirmed = str_is(column_str(res, row, 5), "t"),
        .lacks_factor = str_is(column_str(res, row, 6), "t"),
        .second_person = str_is(column_str(res, row, 7), "t")};
    snprintf(c->who.actor, sizeof c->who.actor, "%.*s", STR_ARGS(email));
}

static void auth_found(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;
    struct auth_slot *s = slot_of(c);

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    if (o->rows == 0) {
        if (c->by_cookie)
            refuse(c, "Cookie", "The session has ended; sign in again.");
        else if (c->by_certificate)
            refuse(c, "Bearer",
                   "The certificate is not known to the tenant that X-Tenant "
                   "names, or may not come from this address.");
        else
            refuse(c, "Bearer error=\"invalid_token\"",
                   "The API key is not known, has expired, needs its "
                   "certificate, or may not come from this address.");
        return;
    }
    *s = (struct auth_slot){
        .who = c->who, .until_us = clock_mono(c->api->deps.clock) + cache_us};
    memcpy(s->hash, c->hash, TOKEN_HASH);
    memcpy(s->address, c->address, sizeof s->address);
    memcpy(s->certificate, c->client.sha256, sizeof s->certificate);
    admit(c);
}

static void auth_look(struct call *c)
{
    char hex[2 * TOKEN_HASH + 1], idle[24], absolute[24];
    struct pg_call call = {
        .tenant_id = PG_NO_TENANT,
        .write = true,
        .n = 5,
        .values = {hex_encode(c->hash, TOKEN_HASH, hex), c->tenant_name,
                   c->client.sha256, c->client.subject, c->address},
        .sql = "SELECT * FROM authenticate_key($1, $2, $3, $4, $5)",
        .row = key_row,
        .done = auth_found,
        .arg = c};

    if (c->by_certificate)
        call.values[0] = NULL;
    if (c->by_cookie) {
        snprintf(idle, sizeof idle, "%lld",
                 (long long)c->api->deps.session_idle_s);
        snprintf(absolute, sizeof absolute, "%lld",
                 (long long)c->api->deps.session_most_s);
        call.sql = "SELECT * FROM authenticate_session($1, $2, $3)";
        call.n = 3;
        call.values[1] = idle;
        call.values[2] = absolute;
        call.row = session_row;
    }
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0)
        call_failed(c, r, NULL);
}

/* "a=b; headend_session=x; c=d" */
struct str call_cookie(struct call *c, const char *name)
{
    struct str s = http_header(c->r, "Cookie");
    size_t length = strlen(name);

    while (s.n) {
        const char *semicolon = memchr(s.p, ';', s.n);
        size_t n = semicolon ? (size_t)(semicolon - s.p) : s.n;
        struct str one = str_trim((struct str){s.p, n});
        if (one.n > length && memcmp(one.p, name, length) == 0)
            return (struct str){one.p + length, one.n - length};
        n += semicolon != NULL;
        s = (struct str){s.p + n, s.n - n};
    }
    return (struct str){0};
}

/* What it is known by, into c->hash. */
static bool credentials(struct call *c)
{
    struct str header = http_header(c->r, "Authorization"), token;

    http_client(c->r, &c->client);
    if (c->client.until_us < clock_utc(c->api->deps.clock))
        c->client = (struct tls_client){0}; /* ended on an open connection */
    if (header.n >= 7 && strncasecmp(header.p, "Bearer ", 7) == 0) {
        token = str_trim((struct str){header.p + 7, header.n - 7});
    } else if ((token = call_cookie(c, "headend_session=")).n > 0) {
        c->by_cookie = true;
    } else if (*c->client.sha256 &&
               (c->tenant_name = http_header(c->r, "X-Tenant").p)) {
        c->by_certificate = true;
        token = arena_printf(http_arena(c->r), "%s %s", c->client.sha256,
                             c->tenant_name);
    } else {
        return false;
    }
    crypto_generichash(c->hash, TOKEN_HASH, (const uint8_t *)token.p, token.n,
                       NULL, 0);
    return true;
}

static void ask_who(struct call *c)
{
    if (*c->client.sha256)
        refuse(c, "Bearer",
               "With a certificate alone, say for which tenant: "
               "\"X-Tenant: NAME\".");
    else
        refuse(c, "Bearer",
               "Sign in (POST /api/v1/login), or send an API key: "
               "\"Authorization: Bearer ...\".");
}

/* "127.0.0.1:40112", "[::1]:40112" without the port and brackets. */
static void take_address(struct call *c)
{
    struct str s = http_peer(c->r);

    while (s.n && s.p[s.n - 1] != ':')
        s.n--;
    s.n -= s.n > 0;
    if (s.n > 2 && s.p[0] == '[')
        s = (struct str){s.p + 1, s.n - 2};
    snprintf(c->address, sizeof c->address, "%.*s", STR_ARGS(s));
}

static bool is_remembered(struct call *c, const struct auth_slot *s)
{
    return s->until_us > clock_mono(c->api->deps.clock) &&
           sodium_memcmp(s->hash, c->hash, TOKEN_HASH) == 0 &&
           strcmp(s->address, c->address) == 0 &&
           strcmp(s->certificate, c->client.sha256) == 0 &&
           (s->who.account_id != 0) == c->by_cookie;
}

void auth_call(struct call *c)
{
    const struct auth_slot *slot;

    c->tenant_id = c->who.tenant_id = PG_NO_TENANT;
    take_address(c);
    if (!limit_address(c))
        return;
    if (c->endpoint->flags & ENDPOINT_PUBLIC) {
        if (fields_check(c))
            call_run(c);
    } else if (!credentials(c)) {
        ask_who(c);
    } else if (is_remembered(c, slot = slot_of(c))) {
        c->who = slot->who;
        admit(c);
    } else {
        auth_look(c);
    }
}
