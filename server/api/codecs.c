/*
 * codecs.c - a tenant's own payload codecs: uploaded once their vectors pass
 * (on the pool, in a codec-host), then put in force.
 */
#include "server/api/call.h"
#include "server/loop/loop.h"

#include <stdlib.h>

/* A body whose script is on trial; lives in the request's arena. */
struct trial {
    struct call *call;
    struct arena *arena; /* the pool's, until judged */
    struct str script, mapping, vectors;
    struct str why;
    int err;
};

static int trial_run(void *arg)
{
    struct trial *t = arg;
    const struct api_deps *deps = &t->call->api->deps;

    t->err = deps->prove(t->call->tenant_id, t->script, t->mapping, t->vectors,
                         t->arena, &t->why, deps->arg);
    return 0;
}

static void trial_judged(void *arg, int result)
{
    struct trial *t = arg;
    struct call *c = t->call;

    (void)result;
    if (t->err < 0)
        http_problem(c->r, 422, NULL, "%.*s", STR_ARGS(t->why));
    else
        call_write(c, c->binding->direct, c->binding->once, c->body_text.p);
    arena_free(t->arena);
}

/* The member's own text, as it was written in the body. */
static struct str text_of(struct arena *a, const struct json *v)
{
    struct buf b = {0};
    struct str s = {0};

    if (v) {
        json_write(&b, v);
        s = arena_str(a, buf_view(&b));
    }
    buf_done(&b);
    return s;
}

static void codec_add(struct call *c)
{
    struct trial *t = arena_alloc(http_arena(c->r), sizeof *t);

    *t = (struct trial){.call = c, .arena = arena_new(64 << 20)};
    t->script = json_str(json_get(c->body, "script"));
    t->mapping = text_of(t->arena, json_get(c->body, "mapping"));
    t->vectors = text_of(t->arena, json_get(c->body, "vectors"));
    offload(c->api->deps.loop, trial_run, trial_judged, t);
}

#define CODEC                                                                  \
    "jsonb_build_object('name', c.name, 'version', c.version, 'state',"        \
    " c.state, 'created_at', c.created_at, 'activated_at', c.activated_at"

static const struct field add_fields[] = {
    {"name", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 63,
     .help = "What models call it: lower-case letters, digits, . _ -"},
    {"script", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 1 << 20,
     .help = "Payload codec in JavaScript (LoRa Alliance TS013)."},
    {"mapping", IN_BODY, FIELD_OBJECT, .nullable = true,
     .help = "Which of its fields are registers and events"
             " (codecs/script/README.md)."},
    {"vectors", IN_BODY, FIELD_LIST, .nullable = true, .max = 1000,
     .help = "What it must prove: a list of port, hex, object."},
    {0}};
static const struct field one_fields[] = {
    {"name", IN_PATH, FIELD_TEXT, .min = 1, .max = 63, .help = "Its name."},
    {"version", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Which version."},
    {0}};
static const struct field activate_fields[] = {
    {"name", IN_PATH, FIELD_TEXT, .min = 1, .max = 63, .help = "Its name."},
    {"version", IN_BODY, FIELD_INT, .min = 1, .max = INT32_MAX,
     .help = "Which version; the newest, if none is said."},
    {0}};

const struct endpoint codec_endpoints[] = {
    {"GET", "/api/v1/codecs", RIGHT_VIEW, 0, "codecs_list",
     "The tenant's own payload codecs, by name and version.", .list = "codecs",
     .sql = "SELECT " CODEC "), c.version::bigint, c.name FROM codec c"
            " WHERE c.tenant_id = $1::int AND (c.name, c.version) >"
            " (coalesce($3::text, ''), coalesce($2::bigint, 0))"
            " ORDER BY c.name, c.version LIMIT $4::int",
     .answer = "codec"},
    {"GET", "/api/v1/codecs/{name}/{version}", RIGHT_CODECS, 0, "codec_get",
     "One version, with its script, mapping and vectors.", one_fields,
     .sql = "SELECT " CODEC ", 'script', c.script, 'mapping',"
            " c.mapping::jsonb, 'vectors', c.vectors::jsonb) FROM codec c"
            " WHERE c.tenant_id = $1::int AND c.name = $2"
            " AND c.version = $3::int",
     .answer = "codec_whole"},
    {"POST", "/api/v1/codecs", RIGHT_CODECS, 0, "codec_add",
     "A new version, kept once its vectors pass; 422 says where they differ.",
     add_fields, .serve = codec_add,
     .call = "jsonb_build_object('name', $2 ->> 'name', 'version',"
             " codec_upload($1, $2 ->> 'name', $2 ->> 'script',"
             " $2 ->> 'mapping', $2 ->> 'vectors'))",
     .status = 201, .answer = "codec_version"},
    {"POST", "/api/v1/codecs/{name}/activate", RIGHT_CODECS, 0,
     "codec_activate", "Puts a version in force for what arrives from then on.",
     activate_fields,
     .call = "coalesce((SELECT jsonb_build_object('name', $3, 'version', v)"
             " FROM codec_activate($1, $3, ($2 ->> 'version')::int, NULL, NULL,"
             " NULL) v WHERE v IS NOT NULL), to_jsonb(refuse(404, 'name',"
             " 'There is no such codec, or no such version of it.')::text))",
     .answer = "codec_version"},
    {0}};
