/*
 * webhooks.c - where a tenant wants what becomes new posted to, and what became
 * of each delivery (server/deliver sends).
 *   add -> (webhook_next) numbered -> seal -> (webhook_add)
 */
#include "server/api/secret.h"
#include "server/deliver/signature.h"

#include <sodium.h>
#include <stdio.h>

static void row_found(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
}

static void numbered(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;
    struct sealed_text sealed;
    uint8_t bytes[SECRET_BYTES];
    char tenant[16], shown[SECRET_TEXT];

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    struct str id = arena_str(http_arena(c->r), c->found);
    struct secret_name name = {c->tenant_id, "webhook", atoll(id.p), "secret"};
    randombytes_buf(bytes, sizeof bytes);
    secret_text(bytes, shown);
    if (!secret_seal(c, &name, (struct str){(char *)bytes, sizeof bytes},
                     &sealed))
        return;
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    call_do(c,
            "webhook_add($1::int, $2::jsonb, $3::int, $4, $5::int,"
            " $6::bytea, $7, $8::bytea, $9::bytea)",
            9,
            (const char *const[]){tenant, c->body_text.p, id.p, shown,
                                  sealed.key_no, sealed.s.secret,
                                  sealed.s.master, sealed.s.tenant_key,
                                  sealed.s.check});
    sealed_free(&sealed.s);
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(shown, sizeof shown);
}

static void add(struct call *c)
{
    call_ask(c, "SELECT webhook_next()", 0, NULL, row_found, numbered, c);
}

/* ---- the rows ---- */

#define ID                                                                     \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX,                  \
                                  .help = "webhook_id"                         \
    }
#define WEBHOOK(needed)                                                        \
    {"url",                                                                    \
     IN_BODY,                                                                  \
     FIELD_TEXT,                                                               \
     needed,                                                                   \
     .min = 8,                                                                 \
     .max = 2000,                                                              \
     .help = "Where to: https://host/path, or http."},                         \
        {"kinds", IN_BODY, FIELD_WORDS, .max = 32,                             \
         .help =                                                               \
             "Only these: readings, event, meter, command, report; empty: "    \
             "all."},                                                          \
    {                                                                          \
        "enabled", IN_BODY, FIELD_BOOL,                                        \
            .help = "false: nothing is sent; within a day nothing is lost."    \
    }

static const struct field webhook_id[] = {ID, {0}};
static const struct field webhook_add[] = {WEBHOOK(true), {0}};
static const struct field webhook_change[] = {
    ID,
    WEBHOOK(false),
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};
static const struct field delivery_list[] = {
    ID,
    {"state", IN_QUERY, FIELD_TEXT, .one_of = "pending|delivered|failed",
     .help = "Only these."},
    {0}};

const struct endpoint webhook_endpoints[] = {
    {"GET", "/api/v1/webhooks", RIGHT_INTEGRATIONS, 0, "webhooks_list",
     "Webhooks, by webhook_id.", .list = "webhooks",
     .sql = "SELECT webhook_json(w), w.webhook_id, '' FROM webhook w"
            " WHERE w.tenant_id = $1::int AND w.webhook_id >"
            " coalesce($2::bigint, 0) AND ($3::text IS NULL OR true)"
            " ORDER BY w.webhook_id LIMIT $4::int",
     .answer = "webhook"},
    {"GET", "/api/v1/webhooks/{id}", RIGHT_INTEGRATIONS, 0, "webhook_get",
     "One of them.", webhook_id,
     .sql = "SELECT webhook_json(w) FROM webhook w"
            " WHERE w.tenant_id = $1::int AND w.webhook_id = $2::int",
     .answer = "webhook"},
    {"POST", "/api/v1/webhooks", RIGHT_INTEGRATIONS, ENDPOINT_ONCE,
     "webhook_add", "A new webhook, from now on; its secret is shown once.",
     webhook_add, .serve = add, .shown = "secret", .status = 201,
     .answer = "webhook_added"},
    {"PATCH", "/api/v1/webhooks/{id}", RIGHT_INTEGRATIONS, 0, "webhook_change",
     "Another URL, other kinds; on or off.", webhook_change,
     .call = "webhook_change($1, $2, $3::int)", .answer = "webhook"},
    {"DELETE", "/api/v1/webhooks/{id}", RIGHT_INTEGRATIONS, 0, "webhook_remove",
     "Removes a webhook and its log.", webhook_id,
     .call = "webhook_remove($1, $3::int)", .status = 204},
    {"POST", "/api/v1/webhooks/{id}/test", RIGHT_INTEGRATIONS, 0,
     "webhook_test", "Sends one entry of kind test, once.", webhook_id,
     .call = "webhook_test($1, $3::int)", .status = 202, .answer = "delivery"},
    {"GET", "/api/v1/webhooks/{id}/deliveries", RIGHT_INTEGRATIONS, 0,
     "deliveries_list", "What was sent and what came of it, newest first.",
     delivery_list, .list = "deliveries",
     .sql = "SELECT * FROM webhook_deliveries($1::int, $2::int, $3,"
            " $4::bigint, $6::int) WHERE $5::text IS NULL OR true",
     .answer = "delivery"},
    {0}};
