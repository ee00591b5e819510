/*
 * integrations.c - a tenant's network servers (MQTT). Their passwords are
 * sealed here and never answered. Files (certificates) and listeners are the
 * operator's: headend integration.
 *   put_serve -> (an id for a new one) numbered -> sealed -> integration_put
 */
#include "server/api/secret.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

struct put {
    struct call *call;
    int64_t id;
    bool fresh;
};

/* The body without what is secret in it: `password` becomes null. This is what
 * is stored, and what a request that is sent again is compared by. */
static struct str open_part(struct call *c)
{
    struct buf b = {0};

    json_each (v, c->body) {
        buf_u8(&b, b.n ? ',' : '{');
        buf_json_str(&b, v->name);
        buf_u8(&b, ':');
        if (str_is(v->name, "password") || v->type == JSON_NULL)
            buf_z(&b, "null");
        else if (v->type == JSON_STRING)
            buf_json_str(&b, v->text);
        else if (v->type == JSON_NUMBER)
            buf_str(&b, v->text);
        else
            buf_z(&b, v->type == JSON_TRUE ? "true" : "false");
    }
    buf_z(&b, b.n ? "}" : "{}");
    struct str text = arena_str(http_arena(c->r), buf_view(&b));
    buf_done(&b);
    return text;
}

static void store(struct put *p)
{
    struct call *c = p->call;
    struct str password = json_str(json_get(c->body, "password"));
    const struct secret_name name = {c->tenant_id, "integration", p->id,
                                     "password"};
    struct sealed_text t = {0};
    char tenant[16], id[24];

    if (password.n && !secret_seal(c, &name, password, &t))
        return;
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    snprintf(id, sizeof id, "%" PRId64, p->id);
    c->body_text = open_part(c);
    call_do(c,
            "integration_put($1::int, $2::jsonb, $3::bigint, $4::boolean,"
            " $5::int, $6::bytea, $7, $8::bytea, $9::bytea)",
            9,
            (const char *const[]){
                tenant, c->body_text.p, id, p->fresh ? "true" : "false",
                password.n ? t.key_no : NULL, t.s.secret,
                password.n ? t.s.master : NULL, t.s.tenant_key,
                password.n ? t.s.check : NULL});
    sealed_free(&t.s);
}

static void id_row(void *arg, const PGresult *res, int row)
{
    struct put *p = arg;

    p->id = column_int(res, row, 0, 0);
}

static void numbered(void *arg, const struct pg_outcome *o)
{
    struct put *p = arg;

    if (o->err < 0)
        call_failed(p->call, o->err, o);
    else
        store(p);
}

static void integration_add(struct call *c)
{
    struct put *p = arena_alloc(http_arena(c->r), sizeof *p);

    p->call = c;
    p->fresh = true;
    call_ask(c, "SELECT integration_id()", 0, NULL, id_row, numbered, p);
}

static void integration_change(struct call *c)
{
    struct put *p = arena_alloc(http_arena(c->r), sizeof *p);

    p->call = c;
    p->id = strtoll(c->values[0], NULL, 10);
    store(p);
}

/* ---- the rows ---- */

#define ID                                                                     \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX,                  \
                                  .help = "integration_id"                     \
    }
#define NAME(must)                                                             \
    {                                                                          \
        "name", IN_BODY, FIELD_TEXT, must,                                     \
            .min = 1, .max = 63, .help = "Letters, digits, '.', '_' and '-'."  \
    }
#define URL(must)                                                              \
    {                                                                          \
        "url", IN_BODY, FIELD_TEXT, must,                                      \
            .min = 8, .max = 260,                                              \
            .help = "mqtt://host:port or mqtts://host:port"                    \
    }
#define THE_REST                                                               \
    {"username",       IN_BODY,    FIELD_TEXT,                                 \
     .nullable = true, .max = 200, .help = "As whom the broker knows us."},    \
        {"password",                                                           \
         IN_BODY,                                                              \
         FIELD_TEXT,                                                           \
         .nullable = true,                                                     \
         .min = 1,                                                             \
         .max = 500,                                                           \
         .help = "Kept sealed, never answered; null: none."},                  \
        {"topic_prefix", IN_BODY, FIELD_TEXT, .max = 200,                      \
         .help = "Put before the network server's topics."},                   \
        {"bridges", IN_BODY,                                                   \
         FIELD_INT, .min = 1,                                                  \
         .max = 64, .help = "Parallel bridges on a shared subscription (1)."}, \
    {                                                                          \
        "enabled", IN_BODY, FIELD_BOOL, .help = "Whether it runs (true)."      \
    }

static const struct field id_fields[] = {ID, {0}};
static const struct field add_fields[] = {
    NAME(true),
    {"kind", IN_BODY, FIELD_TEXT, true, .one_of = "chirpstack|tts",
     .help = "Which network server it is."},
    URL(true),
    THE_REST,
    {0}};
static const struct field change_fields[] = {
    ID,
    NAME(false),
    URL(false),
    THE_REST,
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};

const struct endpoint integration_endpoints[] = {
    {"GET", "/api/v1/integrations", RIGHT_INTEGRATIONS, 0, "integrations_list",
     "Brokers and listeners, without their passwords.", NULL,
     .list = "integrations",
     .sql = "SELECT integration_json(i), i.integration_id, ''"
            " FROM integration i WHERE i.tenant_id = $1::int"
            " AND i.integration_id > coalesce($2::bigint, 0)"
            " AND ($3::text IS NULL OR true)"
            " ORDER BY i.integration_id LIMIT $4::int",
     .answer = "integration"},
    {"GET", "/api/v1/integrations/{id}", RIGHT_INTEGRATIONS, 0,
     "integration_get", "One of them.", id_fields,
     .sql = "SELECT integration_json(i) FROM integration i"
            " WHERE i.tenant_id = $1::int AND i.integration_id = $2::int",
     .answer = "integration"},
    {"POST", "/api/v1/integrations", RIGHT_INTEGRATIONS, ENDPOINT_ONCE,
     "integration_add", "Connects a network server's MQTT broker.", add_fields,
     .serve = integration_add, .status = 201, .answer = "integration"},
    {"PATCH", "/api/v1/integrations/{id}", RIGHT_INTEGRATIONS, ENDPOINT_ONCE,
     "integration_change", "Changes it; servers follow by themselves.",
     change_fields, .serve = integration_change, .answer = "integration"},
    {"DELETE", "/api/v1/integrations/{id}", RIGHT_INTEGRATIONS, 0,
     "integration_remove", "Forgets it, its password too.", id_fields,
     .call = "integration_remove($1, $3::int)", .status = 204},
    {0}};
