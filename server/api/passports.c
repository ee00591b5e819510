/*
 * passports.c - passports: what a maker says of one serial number, one by one
 * or many at once. Keys that come with them are sealed here and never answered;
 * they are meter keys, for nobody until the meter is registered.
 *   rows (vault/passport_rows) -> looked: which keys are there already, ids for
 *   the others -> sealed -> passport_put or passport_import
 */
#include "server/api/secret.h"
#include "server/base/csv.h"
#include "server/base/hex.h"
#include "server/vault/passport_rows.h"

#include <stdio.h>
#include <stdlib.h>

struct taking {
    struct call *call;
    struct passport_rows rows;
    const char *json; /* of them */
    bool import, dry_run, change;
};

/* ---- storing ---- */

static void store(struct taking *t)
{
    const struct secret_name name = {t->call->tenant_id, "meter_key", 0, "key"};
    struct call *c = t->call;
    bool last = t->import ? t->dry_run : !t->change;
    struct buf keys = {0};
    char tenant[16];
    int err =
        passport_rows_seal(&t->rows, c->api->deps.vault, c->tenant_id, &keys);

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    if (err < 0)
        secret_unsealed(c, &name, err);
    else
        call_do(c,
                t->import ? "passport_import($1::int, $2::jsonb, $3::jsonb,"
                            " $4::boolean)"
                          : "passport_put($1::int, $2::jsonb, $3::jsonb,"
                            " $4::boolean)",
                4,
                (const char *const[]){tenant, t->json, (char *)keys.p,
                                      last ? "true" : "false"});
    buf_done(&keys);
    passport_rows_done(&t->rows);
}

/* ---- which keys are there already ---- */

static void look_row(void *arg, const PGresult *res, int at)
{
    struct taking *t = arg;
    uint8_t bytes[SECRET_MAX + SEAL_EXTRA];
    struct str hex = column_str(res, at, 5);
    int n = hex.n > 2 ? hex_decode((struct str){hex.p + 2, hex.n - 2}, bytes,
                                   sizeof bytes)
                      : 0;

    passport_rows_looked(
        &t->rows, t->call->api->deps.vault, t->call->tenant_id,
        &(struct passport_looked){(int)column_int(res, at, 0, -1),
                                  column_str(res, at, 1),
                                  column_int(res, at, 2, 0),
                                  column_int(res, at, 3, 0),
                                  (int32_t)column_int(res, at, 4, 0),
                                  {(char *)bytes, n > 0 ? (size_t)n : 0}});
}

static void looked(void *arg, const struct pg_outcome *o)
{
    struct taking *t = arg;

    if (o->err < 0) {
        passport_rows_done(&t->rows);
        call_failed(t->call, o->err, o);
    } else {
        store(t);
    }
}

static void look(struct taking *t)
{
    struct call *c = t->call;
    char tenant[16];

    t->json = passport_rows_json(&t->rows);
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    const struct pg_actor actor = call_actor(c);
    const struct pg_call call = {
        .tenant_id = c->tenant_id,
        .actor = &actor,
        .write = true,
        .sql = "SELECT * FROM passports_look($1::int, $2::jsonb)",
        .n = 2,
        .values = {tenant, t->json},
        .row = look_row,
        .done = looked,
        .arg = t};
    if (t->rows.n_keys == 0) {
        store(t);
        return;
    }
    int r = pg_call(c->api->deps.pool, &call);
    if (r < 0) {
        passport_rows_done(&t->rows);
        call_failed(c, r, NULL);
    }
}

/* ---- the operations ---- */

static struct taking *taking_new(struct call *c)
{
    struct taking *t = arena_alloc(http_arena(c->r), sizeof *t);

    t->call = c;
    return t;
}

static void passport_add(struct call *c)
{
    struct taking *t = taking_new(c);

    passport_rows_add(&t->rows, c->body, 0);
    look(t);
}

static void passport_change(struct call *c)
{
    struct taking *t = taking_new(c);

    t->change = true;
    passport_rows_add(&t->rows, c->body, strtoll(c->values[0], NULL, 10));
    look(t);
}

/* The list of a file or of the body; NULL after a refusal. */
static const struct json *rows_of(struct call *c)
{
    struct arena *a = http_arena(c->r);
    struct str text = arena_str(a, c->body_text);
    char error[CSV_ERROR] = "it is too long";
    struct buf rows = {0};
    struct json *list = NULL;
    struct json_error why;

    if (c->body)
        return json_get(c->body, "passports");
    bool good =
        text.p && csv_json((char *)text.p, passport_columns, PASSPORT_COLUMNS,
                           PASSPORT_ROWS_MOST, &rows, error) >= 0;
    struct str json = good ? arena_str(a, buf_view(&rows)) : (struct str){0};
    buf_done(&rows);
    if (json.p &&
        json_parse(a, json, (struct json_limits){4, 1 << 18}, &list, &why) < 0)
        snprintf(error, sizeof error, "%s", why.text);
    if (!list)
        http_problem(c->r, 422, NULL, "The file cannot be read: %s.", error);
    return list;
}

static void passports_import(struct call *c)
{
    const struct json *list = rows_of(c);

    if (!list)
        return;
    struct taking *t = taking_new(c);
    t->import = true;
    t->dry_run = json_bool(json_get(c->body, "dry_run"), false) ||
                 (c->values[0] && *c->values[0] == 't');
    json_each (object, list)
        passport_rows_add(&t->rows, object, 0);
    look(t);
}

/* ---- the rows of the API ---- */

#define ID                                                                     \
    {                                                                          \
        "id", IN_PATH, FIELD_INT, .min = 1, .max = INT32_MAX,                  \
                                  .help = "passport_id"                        \
    }
#define TEXT(field, least, most, what)                                         \
    {                                                                          \
        field, IN_BODY, FIELD_TEXT, .nullable = true, .min = least,            \
                                    .max = most, .help = what                  \
    }
#define KEY(field, what)                                                       \
    {                                                                          \
        field, IN_BODY, FIELD_TEXT, .min = 32, .max = 32, .help = what         \
    }
#define WHAT_IT_SAYS                                                           \
    TEXT("dev_eui", 16, 32, "LoRaWAN DevEUI."),                                \
        TEXT("join_eui", 16, 32, "LoRaWAN JoinEUI (AppEUI)."),                 \
        TEXT("module_model", 1, 100, "Model of its radio module."),            \
        TEXT("module_serial", 1, 64, "Serial of its radio module."),           \
        TEXT("made_on", 10, 10, "When it was made, 2017-12-31."),              \
        {"parameters", IN_BODY, FIELD_OBJECT,                                  \
         .help = "What it must report of itself, by name."},                   \
        {"note", IN_BODY, FIELD_TEXT, .max = 2000, .help = "Anything else."},  \
        KEY("appkey", "LoRaWAN AppKey, 32 hex digits; never answered."),       \
        KEY("appskey", "LoRaWAN AppSKey."),                                    \
        KEY("encryption_key", "Of its telegrams (M-Bus, DLMS)."),              \
        KEY("authentication_key", "Of its telegrams (DLMS).")

static const struct field list_fields[] = {
    {"serial", IN_QUERY, FIELD_TEXT, .max = 64, .help = "Only this serial."},
    {"search", IN_QUERY, FIELD_TEXT, .max = 64,
     .help = "Found in serial, DevEUI or the module's serial."},
    {"model", IN_QUERY, FIELD_TEXT, .max = 100, .help = "Only this model."},
    {"dev_eui", IN_QUERY, FIELD_TEXT, .max = 32, .help = "Only this DevEUI."},
    {"registered", IN_QUERY, FIELD_BOOL,
     .help = "Only those whose meter is registered, or is not."},
    {0}};
static const struct field id_fields[] = {ID, {0}};
static const struct field add_fields[] = {
    {"model", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 100,
     .help = "Name of a model of the tenant."},
    {"serial", IN_BODY, FIELD_TEXT, true, .min = 1, .max = 64,
     .help = "As on its label."},
    WHAT_IT_SAYS,
    {0}};
static const struct field change_fields[] = {
    ID,
    WHAT_IT_SAYS,
    {"revision", IN_BODY, FIELD_INT, .min = 1, .max = INT64_MAX,
     .help = "What was seen; 412 when it was changed meanwhile."},
    {0}};
static const struct field import_fields[] = {
    {"dry_run", IN_QUERY, FIELD_BOOL,
     .help = "Only tell what would become of each."},
    {"passports", IN_BODY, FIELD_LIST, true, .min = 1,
     .max = PASSPORT_ROWS_MOST,
     .help = "Passports as POST /api/v1/passports takes them."},
    {"dry_run", IN_BODY, FIELD_BOOL,
     .help = "Only tell what would become of each."},
    {0}};

const struct endpoint passport_endpoints[] = {
    {"GET", "/api/v1/passports", RIGHT_VIEW, 0, "passports_list",
     "What makers say of serial numbers, without keys.", list_fields,
     .list = "passports",
     .sql = "SELECT * FROM passport_search($1::int, $2, $3, $4, $5,"
            " $6::boolean, $7::bigint, $9::int) WHERE $8::text IS NULL OR true",
     .csv = "model,serial,dev_eui,join_eui,module_model,module_serial,made_on,"
            "note",
     .answer = "passport"},
    {"GET", "/api/v1/passports/{id}", RIGHT_VIEW, 0, "passport_get",
     "One of them.", id_fields,
     .sql = "SELECT passport_json(p) FROM passport p"
            " WHERE p.tenant_id = $1::int AND p.passport_id = $2::int",
     .answer = "passport"},
    {"POST", "/api/v1/passports", RIGHT_KEYS, ENDPOINT_ONCE, "passport_add",
     "A passport; the very same again changes nothing.", add_fields,
     .serve = passport_add, .status = 201, .answer = "passport_added"},
    {"PATCH", "/api/v1/passports/{id}", RIGHT_KEYS, ENDPOINT_ONCE,
     "passport_change", "Changes what is said; a key replaces the one before.",
     change_fields, .serve = passport_change, .answer = "passport"},
    {"DELETE", "/api/v1/passports/{id}", RIGHT_KEYS, 0, "passport_remove",
     "Removes a passport, and its keys if no meter has them.", id_fields,
     .call = "passport_remove($1, $3::int)", .status = 204},
    {"POST", "/api/v1/passports/import", RIGHT_KEYS,
     ENDPOINT_ONCE | ENDPOINT_CSV, "passports_import",
     "Adds and changes many, with a result for each row; JSON or CSV.",
     import_fields, .serve = passports_import, .answer = "passports_imported"},
    {0}};
