/*
 * openapi.c - GET /api/v1/openapi.json: the OpenAPI 3.1 description of what
 * this very program serves, made from the endpoints' own rows; what answers
 * look like is in components.json, and the tests hold every answer against it.
 */
#include "server/api/call.h"

#include <ctype.h>
#include <inttypes.h>

extern const char openapi_components[]; /* components.json */

/* "a|b" as ["a","b"] */
static void put_words(struct buf *b, const char *words)
{
    buf_u8(b, '[');
    for (const char *w = words; *w;) {
        size_t n = strcspn(w, "|");
        buf_json_str(b, (struct str){w, n});
        w += n + (w[n] == '|');
        if (*w)
            buf_u8(b, ',');
    }
    buf_u8(b, ']');
}

static void put_bounds(struct buf *b, const struct field *f, const char *least,
                       const char *most)
{
    if (f->min || f->type == FIELD_INT)
        buf_printf(b, ",\"%s\":%" PRId64, least, f->min);
    if (f->max)
        buf_printf(b, ",\"%s\":%" PRId64, most, f->max);
}

static const struct {
    const char *type, *more, *least, *most;
} types[] = {
    [FIELD_TEXT] = {"string", "", "minLength", "maxLength"},
    [FIELD_INT] = {"integer", "", "minimum", "maximum"},
    [FIELD_BOOL] = {"boolean", "", NULL, NULL},
    [FIELD_TIME] = {"string", ",\"format\":\"date-time\"", NULL, NULL},
    [FIELD_DECIMAL] = {"string", ",\"pattern\":\"^-?[0-9]+([.][0-9]+)?$\"",
                       NULL, NULL},
    [FIELD_WORDS] = {"array", ",\"items\":{\"type\":\"string\"}", "minItems",
                     "maxItems"},
    [FIELD_OBJECT] = {"object", "", NULL, NULL},
    [FIELD_LIST] = {"array", "", "minItems", "maxItems"},
};

static void put_type(struct buf *b, const struct field *f)
{
    if (f->nullable)
        buf_printf(b, "{\"type\":[\"%s\",\"null\"]%s", types[f->type].type,
                   types[f->type].more);
    else
        buf_printf(b, "{\"type\":\"%s\"%s", types[f->type].type,
                   types[f->type].more);
    if (f->one_of) {
        buf_z(b, ",\"enum\":");
        put_words(b, f->one_of);
    } else if (types[f->type].least) {
        put_bounds(b, f, types[f->type].least, types[f->type].most);
    }
    buf_u8(b, '}');
}

static void put_parameter(struct buf *b, const struct field *f)
{
    buf_printf(b, "{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s,", f->name,
               f->in == IN_PATH ? "path" : "query",
               f->in == IN_PATH ? "true" : "false");
    buf_z(b, "\"description\":");
    buf_json_str(b, str_of(f->help));
    buf_z(b, ",\"schema\":");
    put_type(b, f);
    buf_u8(b, '}');
}

static void put_parameters(struct buf *b, const struct endpoint *e)
{
    bool once = e->call || e->flags & ENDPOINT_ONCE;
    const char *comma = "";

    buf_z(b, ",\"parameters\":[");
    for (const struct field *f = e->fields; f && f->name; f++) {
        if (f->in == IN_BODY)
            continue;
        buf_z(b, comma);
        put_parameter(b, f);
        comma = ",";
    }
    if (e->list)
        buf_printf(b,
                   "%s{\"$ref\":\"#/components/parameters/limit\"},"
                   "{\"$ref\":\"#/components/parameters/after\"}%s",
                   comma,
                   e->csv ? ",{\"$ref\":\"#/components/parameters/format\"}"
                          : "");
    else if (once)
        buf_printf(b, "%s{\"$ref\":\"#/components/parameters/idempotency\"}",
                   comma);
    if (field_find(e, IN_BODY, STR("revision")))
        buf_printf(b, "%s{\"$ref\":\"#/components/parameters/if_match\"}",
                   once ? "," : comma);
    buf_u8(b, ']');
}

static void put_body(struct buf *b, const struct endpoint *e)
{
    const char *comma = "";
    int n = 0;

    for (const struct field *f = e->fields; f && f->name; f++)
        n += f->in == IN_BODY;
    if (n == 0)
        return;
    buf_z(b, ",\"requestBody\":{\"required\":true,\"content\":{"
             "\"application/json\":{\"schema\":{\"type\":\"object\","
             "\"additionalProperties\":false,\"required\":[");
    for (const struct field *f = e->fields; f->name; f++)
        if (f->in == IN_BODY && f->required) {
            buf_printf(b, "%s\"%s\"", comma, f->name);
            comma = ",";
        }
    buf_z(b, "],\"properties\":{");
    comma = "";
    for (const struct field *f = e->fields; f->name; f++)
        if (f->in == IN_BODY) {
            buf_printf(b, "%s\"%s\":", comma, f->name);
            put_type(b, f);
            comma = ",";
        }
    buf_z(b, "}}}");
    if (e->flags & ENDPOINT_CSV)
        buf_z(b, ",\"text/csv\":{\"schema\":{\"type\":\"string\"}}");
    buf_z(b, "}}");
}

static void put_answer(struct buf *b, const struct endpoint *e)
{
    int status = e->status ? e->status : 200;

    buf_printf(b, ",\"responses\":{\"%d\":{\"description\":", status);
    buf_json_str(b, str_of(e->title));
    if (e->list)
        buf_printf(b,
                   ",\"content\":{\"application/json\":{\"schema\":{"
                   "\"type\":\"object\",\"required\":[\"%s\",\"next\"],"
                   "\"properties\":{\"%s\":{\"type\":\"array\",\"items\":{"
                   "\"$ref\":\"#/components/schemas/%s\"}},"
                   "\"next\":{\"type\":[\"string\",\"null\"]}}}}}",
                   e->list, e->list, e->answer);
    else if (e->flags & ENDPOINT_STREAM)
        buf_z(b, ",\"content\":{\"text/event-stream\":{}}");
    else if (e->flags & ENDPOINT_FILE)
        buf_z(b, ",\"content\":{\"text/csv\":{},\"application/x-ndjson\":{}}");
    else if (e->answer)
        buf_printf(b,
                   ",\"content\":{\"application/json\":{\"schema\":{"
                   "\"$ref\":\"#/components/schemas/%s\"}}}",
                   e->answer);
    if (e->flags & ENDPOINT_CRITICAL)
        buf_z(b, "},\"202\":{\"description\":\"Kept until a second person "
                 "approves it.\",\"content\":{\"application/json\":{"
                 "\"schema\":{\"$ref\":\"#/components/schemas/approval\""
                 "}}}");
    buf_z(b, "},\"default\":{\"$ref\":\"#/components/responses/problem\"}}");
}

static void put_operation(struct buf *b, const struct endpoint *e)
{
    const char *right = right_name(e->right);

    buf_u8(b, '"');
    for (const char *m = e->method; *m; m++)
        buf_u8(b, (uint8_t)tolower((unsigned char)*m));
    buf_printf(b, "\":{\"operationId\":\"%s\",\"summary\":", e->name);
    buf_json_str(b, str_of(e->title));
    if (right)
        buf_printf(b, ",\"x-right\":\"%s\"", right);
    if (e->flags & ENDPOINT_CRITICAL)
        buf_z(b, ",\"x-critical\":true");
    if (e->flags & ENDPOINT_PUBLIC)
        buf_z(b, ",\"security\":[]");
    else if (e->flags & ENDPOINT_ANYBODY)
        buf_z(b, ",\"security\":[{\"session\":[]}]");
    put_parameters(b, e);
    put_body(b, e);
    put_answer(b, e);
    buf_u8(b, '}');
}

/* The endpoints of one path stand together, wherever their rows are. */
static bool first_of_path(const struct endpoint *e)
{
    for (const struct endpoint *const *l = endpoint_lists; *l; l++)
        for (const struct endpoint *o = *l; o->pattern; o++)
            if (strcmp(o->pattern, e->pattern) == 0)
                return o == e;
    return false;
}

static void put_path(struct buf *b, const char *pattern)
{
    const char *comma = "";

    buf_printf(b, "\"%s\":{", pattern);
    for (const struct endpoint *const *l = endpoint_lists; *l; l++)
        for (const struct endpoint *e = *l; e->pattern; e++)
            if (strcmp(e->pattern, pattern) == 0) {
                buf_z(b, comma);
                put_operation(b, e);
                comma = ",";
            }
    buf_u8(b, '}');
}

static void openapi_serve(struct call *c)
{
    struct buf *b = &c->api->scratch;
    const char *comma = "";

    buf_clear(b);
    buf_z(b, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"headend\","
             "\"version\":\"" HEADEND_VERSION "\"},\"paths\":{");
    for (const struct endpoint *const *l = endpoint_lists; *l; l++)
        for (const struct endpoint *e = *l; e->pattern; e++)
            if (first_of_path(e)) {
                buf_z(b, comma);
                put_path(b, e->pattern);
                comma = ",";
            }
    buf_printf(b,
               "},\"components\":%s,\"security\":[{\"key\":[]},"
               "{\"session\":[]},{\"certificate\":[]}]}\n",
               openapi_components);
    http_reply(c->r, 200, "application/json", buf_view(b));
}

const struct endpoint openapi_endpoints[] = {
    {"GET", "/api/v1/openapi.json", 0, ENDPOINT_PUBLIC, "openapi",
     "This description.", .serve = openapi_serve, .answer = "any"},
    {0}};
