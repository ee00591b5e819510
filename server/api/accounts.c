/*
 * accounts.c - the people of a tenant, their roles, and API keys.
 */
#include "server/api/gate.h"
#include "server/base/hex.h"

#include <sodium.h>
#include <stdio.h>

/* ---- a generated password: shown once, changed at the first sign-in ---- */

struct invitation {
    struct password_job job;
    char shown[PASSWORD_GENERATED];
};

/* $2 is the body, where there is one, or the path's id. */
static void hashed(struct password_job *j)
{
    struct call *c = j->call;
    struct invitation *v = (struct invitation *)j;
    char tenant[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    if (j->err < 0)
        call_failed(c, j->err, NULL);
    else
        call_do(c, c->endpoint->sql, 4,
                (const char *const[]){tenant,
                                      c->body ? c->body_text.p : c->values[0],
                                      j->hash, v->shown});
}

void invite_serve(struct call *c)
{
    struct invitation *v = arena_alloc(http_arena(c->r), sizeof *v);

    password_generate(v->shown);
    v->job = (struct password_job){
        .call = c, .fresh = str_of(v->shown), .done = hashed};
    gate_run(&v->job);
}

/* ---- API keys ---- */

enum { KEY_BYTES = 24, PREFIX = 12 };

static void api_key_add(struct call *c)
{
    uint8_t random[KEY_BYTES], hash[TOKEN_HASH];
    char key[4 + 2 * KEY_BYTES + 1] = "hdk_", hex[2 * TOKEN_HASH + 1];
    char prefix[PREFIX + 1], tenant[16];

    if (json_bool(json_get(c->body, "critical"), false) &&
        !(c->who.account_id ? c->who.confirmed : c->who.critical)) {
        http_problem(c->r, 403, "confirm",
                     "A key for critical acts is made by one, or by a person "
                     "who gave the password again: POST "
                     "/api/v1/session/confirm.");
        return;
    }
    randombytes_buf(random, sizeof random);
    hex_encode(random, sizeof random, key + 4);
    snprintf(prefix, sizeof prefix, "%.*s", PREFIX, key);
    crypto_generichash(hash, sizeof hash, (uint8_t *)key, strlen(key), NULL, 0);
    hex_encode(hash, sizeof hash, hex);
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    call_do(c, "api_key_add($1::int, $2::jsonb, $3, $4, $5)", 5,
            (const char *const[]){tenant, c->body_text.p, prefix, hex, key});
}

/* ---- the rows ---- */

#define ID(what)                                                               \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX, .help = what     \
    }
static const struct field account_id[] = {ID("account_id"), {0}};
static const struct field key_id[] = {ID("api_key_id"), {0}};
static const struct field role_name[] = {
    {"name", IN_PATH, FIELD_TEXT, .min = 1, .max = 63, .help = "Its name."},
    {0}};
static const struct field account_add_fields[] = {
    {"email", IN_BODY, FIELD_TEXT, true, .min = 3, .max = 254,
     .help = "The person's address; an account that exists joins the tenant."},
    {"name", IN_BODY, FIELD_TEXT, .max = 100, .help = "The person's name."},
    {"role", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 63,
     .help = "What the person may do: the name of a role."},
    {0}};
static const struct field account_change_fields[] = {
    ID("account_id"),
    {"role", IN_BODY, FIELD_TEXT, .min = 1, .max = 63,
     .help = "The name of another role."},
    {0}};
static const struct field role_fields[] = {
    {"name", IN_PATH, FIELD_TEXT, .min = 1, .max = 63, .help = "Its name."},
    {"rights", IN_BODY, FIELD_WORDS, true, .max = 32,
     .help = "Names of rights; only such as one has oneself."},
    {0}};
static const struct field key_fields[] = {
    {"name", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 100,
     .help = "What it is for."},
    {"rights", IN_BODY, FIELD_WORDS, true, .min = 1, .max = 32,
     .help = "Names of rights; only such as one has oneself."},
    {"critical", IN_BODY, FIELD_BOOL,
     .help = "It may do critical acts, and nobody is asked (false)."},
    {"networks", IN_BODY, FIELD_WORDS, .max = 32,
     .help = "From where it may come, such as 192.0.2.0/24; empty: anywhere."},
    {"certificate_sha256", IN_BODY, FIELD_TEXT, .min = 64, .max = 95,
     .help = "The machine must show this certificate: its SHA-256 in hex."},
    {"certificate_subject", IN_BODY, FIELD_TEXT, .min = 1, .max = 255,
     .help = "The same by its subject, such as CN=billing,O=Utility (RFC 4514, "
             "as openssl x509 -subject -nameopt RFC2253 prints it); renewed "
             "ones fit, too."},
    {"secret", IN_BODY, FIELD_BOOL,
     .help = "With a certificate: a key must come as well (false)."},
    {"expires_at", IN_BODY, FIELD_TIME, .nullable = true,
     .help = "When it ends; absent: never."},
    {0}};

const struct endpoint account_endpoints[] = {
    {"GET", "/api/v1/accounts", RIGHT_USERS, 0, "accounts_list",
     "The tenant's people, by account_id.", .list = "accounts",
     .sql = "SELECT * FROM account_list($1::int, $2::int,"
            " $4::int) WHERE $3::text IS NULL OR true",
     .answer = "account"},
    {"GET", "/api/v1/accounts/{id}", RIGHT_USERS, 0, "account_get",
     "One of them.", account_id, .sql = "SELECT account_get($1::int, $2::int)",
     .answer = "account"},
    {"POST", "/api/v1/accounts", RIGHT_USERS, ENDPOINT_ONCE, "account_add",
     "A person joins; a new account's password is shown once.",
     account_add_fields, .serve = invite_serve, .status = 201,
     .sql = "account_add($1::int, $2::jsonb, $3, $4)", .shown = "password",
     .answer = "account_invited"},
    {"PATCH", "/api/v1/accounts/{id}", RIGHT_USERS, 0, "account_change",
     "Another role for one of them.", account_change_fields,
     .call = "account_change($1, $2, $3::int)", .answer = "account"},
    {"DELETE", "/api/v1/accounts/{id}", RIGHT_USERS, 0, "account_remove",
     "A person leaves the tenant.", account_id,
     .call = "account_remove($1, $3::int)", .status = 204},
    {"POST", "/api/v1/accounts/{id}/reset", RIGHT_USERS, ENDPOINT_ONCE,
     "account_reset",
     "A new generated password, shown once; second factor and sessions end.",
     account_id, .serve = invite_serve, .answer = "account_reset",
     .sql = "account_reset($1::int, $2::int, $3, $4)", .shown = "password"},

    {"GET", "/api/v1/roles", RIGHT_USERS, 0, "roles_list",
     "Roles and their rights, by name.", .list = "roles",
     .sql = "SELECT role_json(r), 0, r.name FROM role r"
            " WHERE r.tenant_id = $1::int AND ($2::bigint IS NULL OR"
            " r.name > $3::text) ORDER BY r.name LIMIT $4::int",
     .answer = "role"},
    {"PUT", "/api/v1/roles/{name}", RIGHT_USERS, 0, "role_put",
     "Makes or changes a role of the tenant's own.", role_fields,
     .call = "role_put($1, $2, $3)", .answer = "role"},
    {"DELETE", "/api/v1/roles/{name}", RIGHT_USERS, 0, "role_remove",
     "Removes a role that nobody has.", role_name,
     .call = "role_remove($1, $3)", .status = 204},

    {"GET", "/api/v1/api-keys", RIGHT_USERS, 0, "api_keys_list",
     "API keys, without their secrets.", .list = "api_keys",
     .sql = "SELECT api_key_json(k), k.api_key_id, '' FROM api_key k"
            " WHERE k.tenant_id = $1::int AND k.api_key_id >"
            " coalesce($2::bigint, 0) AND ($3::text IS NULL OR true)"
            " ORDER BY k.api_key_id LIMIT $4::int",
     .answer = "api_key"},
    {"POST", "/api/v1/api-keys", RIGHT_USERS, ENDPOINT_ONCE, "api_key_add",
     "A key for a machine, shown once; or a certificate that it is known by.",
     key_fields, .serve = api_key_add, .shown = "key", .status = 201,
     .answer = "api_key_made"},
    {"DELETE", "/api/v1/api-keys/{id}", RIGHT_USERS, 0, "api_key_remove",
     "Takes a key back; it works for five seconds longer at most.", key_id,
     .call = "api_key_remove($1, $3::int)", .status = 204},
    {0}};
