/*
 * factor.c - the second factor of the person who is signed in.
 *   POST   a seed, once, as text and as what an authenticator scans
 *   PUT    its first code makes it count; recovery codes, once
 *   DELETE takes it away
 * and its code in a session that an identity provider's word began.
 */
#include "server/api/gate.h"
#include "server/api/secret.h"
#include "server/api/totp.h"
#include "server/base/hex.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>

static struct secret_name seed_name(int32_t account_id)
{
    return (struct secret_name){0, "account", account_id, "totp"};
}

int call_totp_step(struct call *c, int32_t account_id, int32_t key_no,
                   struct str sealed, struct str code, int64_t *step)
{
    const struct secret_name name = seed_name(account_id);
    uint8_t seed[TOTP_SEED];
    int n = secret_open(c, &name, key_no, sealed, seed, sizeof seed);

    *step = n == TOTP_SEED
                ? totp_step(seed, code, clock_utc(c->api->deps.clock))
                : 0;
    sodium_memzero(seed, sizeof seed);
    return n == TOTP_SEED ? 0 : n < 0 ? n : ERR_DAMAGED;
}

void call_totp_failed(struct call *c, int32_t account_id, int err)
{
    const struct secret_name name = seed_name(account_id);

    secret_failed(c, &name, err);
}

static void answer(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    auth_forget(c);
    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        call_answer(c, c->found);
}

/* ---- a seed ---- */

/* What RFC 3986 does not reserve stays. */
static void put_percent(struct buf *b, const char *s)
{
    for (; *s; s++)
        if (isalnum((unsigned char)*s) || strchr("-._~", *s))
            buf_u8(b, (uint8_t)*s);
        else
            buf_printf(b, "%%%02X", (unsigned char)*s);
}

static struct str shown(struct call *c, const uint8_t seed[TOTP_SEED])
{
    char text[TOTP_TEXT];
    struct buf b = {0};

    totp_seed_text(seed, text);
    buf_printf(&b,
               "{\"secret\":\"%s\",\"uri\":\"otpauth://totp/headend:", text);
    put_percent(&b, c->who.actor);
    buf_printf(&b,
               "?secret=%s&issuer=headend&algorithm=SHA1&digits=6"
               "&period=%d\"}",
               text, TOTP_STEP_S);
    struct str copy = arena_str(http_arena(c->r), buf_view(&b));
    sodium_memzero(text, sizeof text);
    sodium_memzero(b.p, b.n);
    buf_done(&b);
    return copy;
}

static void totp_begin(struct call *c)
{
    const struct secret_name name = seed_name(c->who.account_id);
    uint8_t seed[TOTP_SEED];
    struct sealed_text t;
    char account[16];

    randombytes_buf(seed, sizeof seed);
    if (!secret_seal(c, &name, (struct str){(char *)seed, sizeof seed}, &t))
        return;
    snprintf(account, sizeof account, "%d", c->who.account_id);
    c->found = shown(c, seed);
    call_ask(c,
             "SELECT totp_begin($1::int, $2::int, $3::bytea, $4, $5::bytea,"
             " $6::bytea)",
             6,
             (const char *const[]){account, t.key_no, t.s.secret, t.s.master,
                                   t.s.tenant_key, t.s.check},
             NULL, answer, c);
    sealed_free(&t.s);
    sodium_memzero(seed, sizeof seed);
}

/* ---- its first code ---- */

struct proof {
    struct call *call;
    int64_t step, locked_s;
    int err;
    bool found;
};

static void seed_row(void *arg, const PGresult *res, int row)
{
    struct proof *p = arg;
    struct call *c = p->call;

    p->found = true;
    p->err = call_totp_step(
        c, c->who.account_id, (int32_t)column_int(res, row, 0, 0),
        column_str(res, row, 1), json_str(json_get(c->body, "code")), &p->step);
}

/* {"recovery_codes":[...]}, and their hashes as an array of PostgreSQL. */
static const char *make_recovery(struct call *c)
{
    struct buf codes = {0}, hashes = {0};
    char code[RECOVERY_TEXT], hash[65];

    for (int i = 0; i < RECOVERY_CODES; i++) {
        recovery_make(code);
        recovery_hash(str_of(code), hash);
        buf_printf(&codes, "%s\"%s\"", i ? "," : "{\"recovery_codes\":[", code);
        buf_printf(&hashes, "%s%s", i ? "," : "{", hash);
    }
    buf_z(&codes, "]}");
    buf_u8(&hashes, '}');
    c->found = arena_str(http_arena(c->r), buf_view(&codes));
    struct str array = arena_str(http_arena(c->r), buf_view(&hashes));
    sodium_memzero(codes.p, codes.n);
    buf_done(&codes);
    buf_done(&hashes);
    return array.p;
}

static void seed_read(void *arg, const struct pg_outcome *o)
{
    struct proof *p = arg;
    struct call *c = p->call;
    char account[16], step[24], hash[2 * TOKEN_HASH + 1];

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    if (!p->found) {
        http_problem(c->r, 409, NULL, "Begin first: POST /api/v1/totp.");
        return;
    }
    if (p->err < 0) {
        call_totp_failed(c, c->who.account_id, p->err);
        return;
    }
    snprintf(account, sizeof account, "%d", c->who.account_id);
    snprintf(step, sizeof step, "%lld", (long long)p->step);
    call_ask(c, "SELECT totp_confirm($1::int, $2::bigint, $3::text[], $4)", 4,
             (const char *const[]){account, step, make_recovery(c),
                                   hex_encode(c->hash, TOKEN_HASH, hash)},
             NULL, answer, c);
}

static void totp_confirm(struct call *c)
{
    struct proof *p = arena_alloc(http_arena(c->r), sizeof *p);
    char account[16];

    p->call = c;
    snprintf(account, sizeof account, "%d", c->who.account_id);
    call_ask(c, "SELECT key_no, sealed FROM totp_seed($1::int)", 1,
             (const char *const[]){account}, seed_row, seed_read, p);
}

static void totp_remove(struct call *c)
{
    char account[16], hash[2 * TOKEN_HASH + 1];

    snprintf(account, sizeof account, "%d", c->who.account_id);
    call_ask(
        c, "SELECT totp_remove($1::int, $2)", 2,
        (const char *const[]){account, hex_encode(c->hash, TOKEN_HASH, hash)},
        NULL, answer, c);
}

/* ---- a code in this session ---- */

static void factor_refused(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    if (o->err < 0)
        call_failed(c, o->err, o);
    else
        http_problem(c->r, 403, "code",
                     "This is not the code of this moment, or it was used.");
}

static void factor_used(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    auth_forget(c);
    if (o->err < 0) {
        call_failed(c, o->err, o);
    } else if (c->found.n == 0) {
        gate_wrong(c);
        call_ask(c, "SELECT login_failed($1)", 1,
                 (const char *const[]){c->who.actor}, NULL, factor_refused, c);
    } else {
        call_reply_session(c);
    }
}

static void found_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
}

static void locked_row(void *arg, const PGresult *res, int row)
{
    struct proof *p = arg;
    struct call *c = p->call;
    struct str sealed = column_str(res, row, 5);

    p->locked_s = column_int(res, row, 2, 0);
    if (sealed.p)
        p->err = call_totp_step(c, c->who.account_id,
                                (int32_t)column_int(res, row, 4, 0), sealed,
                                json_str(json_get(c->body, "code")), &p->step);
}

static void factor_looked(void *arg, const struct pg_outcome *o)
{
    struct proof *p = arg;
    struct call *c = p->call;
    struct str code = json_str(json_get(c->body, "code"));
    char account[16], step[24], hash[2 * TOKEN_HASH + 1], recovery[65];

    if (o->err < 0) {
        call_failed(c, o->err, o);
    } else if (p->locked_s > 0) {
        call_locked(c, p->locked_s);
    } else if (p->err < 0 && code.n == TOTP_CODE - 1) {
        call_totp_failed(c, c->who.account_id, p->err);
    } else {
        snprintf(account, sizeof account, "%d", c->who.account_id);
        snprintf(step, sizeof step, "%lld", (long long)p->step);
        recovery_hash(code, recovery);
        call_ask(c, "SELECT session_factor($1::int, $2, $3::bigint, $4)", 4,
                 (const char *const[]){account,
                                       hex_encode(c->hash, TOKEN_HASH, hash),
                                       step, recovery},
                 found_row, factor_used, c);
    }
}

static void session_factor(struct call *c)
{
    struct proof *p = arena_alloc(http_arena(c->r), sizeof *p);

    *p = (struct proof){.call = c};
    if (gate_allows(c))
        call_ask(c, "SELECT * FROM login_lookup($1)", 1,
                 (const char *const[]){c->who.actor}, locked_row, factor_looked,
                 p);
}

static const struct field confirm_fields[] = {
    {"code", IN_BODY, FIELD_TEXT, true, .min = 6, .max = 6,
     .help = "What the authenticator shows now."},
    {0}};
static const struct field code_fields[] = {
    {"code", IN_BODY, FIELD_TEXT, true, .min = 6, .max = 40,
     .help = "What the authenticator shows now, or a recovery code."},
    {0}};

const struct endpoint factor_endpoints[] = {
    {"POST", "/api/v1/totp", 0, ENDPOINT_ANYBODY | ENDPOINT_CONFIRMED,
     "totp_begin",
     "Begins a second factor (TOTP, RFC 6238): its seed, shown once.",
     .serve = totp_begin, .answer = "totp_begun"},
    {"PUT", "/api/v1/totp", 0, ENDPOINT_ANYBODY | ENDPOINT_CONFIRMED,
     "totp_confirm",
     "Its first code: from now on sign-ins ask for one; recovery codes, shown "
     "once.",
     confirm_fields, .serve = totp_confirm, .answer = "totp_confirmed"},
    {"DELETE", "/api/v1/totp", 0, ENDPOINT_ANYBODY | ENDPOINT_CONFIRMED,
     "totp_remove", "Takes the second factor away.", .serve = totp_remove,
     .status = 204},
    {"POST", "/api/v1/session/factor", 0, ENDPOINT_ANYBODY, "session_factor",
     "Proves the second factor, where the identity provider has not.",
     code_fields, .serve = session_factor, .answer = "session"},
    {0}};
