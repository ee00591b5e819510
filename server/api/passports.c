/*
 * passports.c - passports: what a maker says of one serial number, one by one
 * or many at once. Keys that come with them are sealed here and never answered;
 * they are meter keys, for nobody until the meter is registered.
 *   take (keys out of the rows) -> looked: which keys are there already, ids
 *   for the others -> sealed -> passport_put or passport_import
 */
#include "server/api/secret.h"
#include "server/base/csv.h"
#include "server/base/hex.h"
#include "server/vault/keyring.h"

#include <sodium.h>
#include <stdio.h>

enum { ROWS_MOST = 5000, KEYS_MOST = KEY_PURPOSES };

static const char *const columns[] = {"model",
                                      "serial",
                                      "dev_eui|deveui",
                                      "join_eui|app_eui",
                                      "module_model",
                                      "module_serial",
                                      "made_on|made",
                                      "note",
                                      "appkey",
                                      "appskey",
                                      "encryption_key",
                                      "authentication_key",
                                      "parameters.|param."};
enum { COLUMNS = sizeof columns / sizeof *columns };

/* Members that are keys, and their purpose. */
static const struct {
    const char *name;
    enum key_purpose purpose;
} key_members[KEYS_MOST] = {{"appkey", KEY_APPKEY},
                            {"appskey", KEY_APPSKEY},
                            {"encryption_key", KEY_ENCRYPTION},
                            {"authentication_key", KEY_AUTHENTICATION}};

struct passport_key {
    int row;
    uint8_t purpose;
    bool known; /* its passport has this very key */
    int64_t fresh, old;
    uint8_t key[METER_KEY];
};

struct taking {
    struct call *call;
    struct str rows; /* JSON for SQL, without keys */
    struct passport_key *keys;
    int n_keys, n_rows;
    bool import, dry_run, change;
};

/* ---- rows ---- */

static int key_member(struct str name)
{
    for (int i = 0; i < KEYS_MOST; i++)
        if (str_is(name, key_members[i].name))
            return i;
    return -1;
}

static bool is_member(struct str name)
{
    for (int i = 0; i < COLUMNS; i++)
        if (strncmp(columns[i], name.p, name.n) == 0 &&
            strchr("|.", columns[i][name.n]))
            return true;
    return str_is(name, "line") || str_is(name, "error");
}

static void put_member(struct buf *b, struct str name, const struct json *v)
{
    buf_u8(b, ',');
    buf_json_str(b, name);
    buf_u8(b, ':');
    json_write(b, v);
}

static void put_error(struct buf *b, struct str field, const char *error)
{
    buf_z(b, ",\"field\":");
    buf_json_str(b, field);
    buf_printf(b, ",\"error\":\"%s\"", error);
}

static bool take_key(struct taking *t, const struct json *v, int member)
{
    struct passport_key *k = &t->keys[t->n_keys];

    if (v->type != JSON_STRING || v->text.n != 2 * METER_KEY ||
        hex_decode(v->text, k->key, METER_KEY) != METER_KEY)
        return false;
    k->row = t->n_rows;
    k->purpose = (uint8_t)key_members[member].purpose;
    t->n_keys++;
    return true;
}

/* The first thing that is wrong with a member; NULL: nothing. */
static const char *member_fault(struct taking *t, const struct json *v)
{
    int key = key_member(v->name);

    if (key >= 0)
        return v->type == JSON_NULL || take_key(t, v, key)
                   ? NULL
                   : "A key is 32 hex digits.";
    if (!t->change && !is_member(v->name))
        return "There is no such field of a passport.";
    if (v->type == JSON_ARRAY || v->type == JSON_TRUE ||
        v->type == JSON_FALSE ||
        (v->type == JSON_OBJECT && !str_is(v->name, "parameters")))
        return "It must be a string or a number.";
    return NULL;
}

/* One row without its keys; what they are for stays, as "purposes". */
static void take_row(struct taking *t, const struct json *object, struct buf *b)
{
    int first = t->n_keys;
    bool refused = false;

    buf_z(b, t->n_rows ? ",{\"purposes\":[" : "[{\"purposes\":[");
    if (object->type == JSON_OBJECT) {
        struct buf rest = {0};
        json_each (v, object) {
            const char *fault = member_fault(t, v);
            if (fault && !refused)
                put_error(&rest, v->name, fault);
            else if (!fault && key_member(v->name) < 0)
                put_member(&rest, v->name, v);
            refused = refused || fault;
        }
        if (refused)
            t->n_keys = first;
        for (int i = first; i < t->n_keys; i++)
            buf_printf(b, "%s\"%s\"", i > first ? "," : "",
                       key_purpose_name(t->keys[i].purpose));
        buf_u8(b, ']');
        buf_str(b, buf_view(&rest));
        buf_done(&rest);
    } else {
        buf_u8(b, ']');
        put_error(b, STR(""), "A passport is an object: model, serial ...");
    }
    buf_u8(b, '}');
    t->n_rows++;
}

static void forget(struct taking *t)
{
    sodium_memzero(t->keys, sizeof *t->keys * (size_t)t->n_keys);
}

/* ---- storing ---- */

/* The keys that are new, for SQL; false after the client was told. */
static bool seal_keys(struct taking *t, struct buf *b)
{
    struct sealed_text s = {0};
    bool good = true;
    const char *comma = "";

    buf_z(b, "{\"rows\":[");
    for (int i = 0; i < t->n_keys && good; i++) {
        const struct passport_key *k = &t->keys[i];
        const struct secret_name name = {t->call->tenant_id, "meter_key",
                                         k->fresh, "key"};
        if (k->known)
            continue;
        sealed_free(&s.s);
        good = secret_seal(t->call, &name,
                           (struct str){(const char *)k->key, METER_KEY}, &s);
        if (!good)
            break;
        buf_printf(b,
                   "%s{\"n\":%d,\"purpose\":\"%s\",\"key_id\":%lld,"
                   "\"sealed\":\"\\%s\"",
                   comma, k->row, key_purpose_name(k->purpose),
                   (long long)k->fresh, s.s.secret);
        if (k->old)
            buf_printf(b, ",\"old\":%lld", (long long)k->old);
        buf_u8(b, '}');
        comma = ",";
    }
    buf_u8(b, ']');
    if (good && *comma)
        buf_printf(b,
                   ",\"key_no\":%s,\"master\":\"%s\",\"tenant_key\":\"\\%s\","
                   "\"check\":\"\\%s\"",
                   s.key_no, s.s.master, s.s.tenant_key, s.s.check);
    buf_u8(b, '}');
    buf_u8(b, 0);
    sealed_free(&s.s);
    return good;
}

static void store(struct taking *t)
{
    struct call *c = t->call;
    bool last = t->import ? t->dry_run : !t->change;
    struct buf keys = {0};
    char tenant[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    if (seal_keys(t, &keys))
        call_do(c,
                t->import ? "passport_import($1::int, $2::jsonb, $3::jsonb,"
                            " $4::boolean)"
                          : "passport_put($1::int, $2::jsonb, $3::jsonb,"
                            " $4::boolean)",
                4,
                (const char *const[]){tenant, t->rows.p, (char *)keys.p,
                                      last ? "true" : "false"});
    buf_done(&keys);
    forget(t);
}

/* ---- which keys are there already ---- */

static struct passport_key *key_of(struct taking *t, int row, int purpose)
{
    int low = 0, high = t->n_keys; /* they stand by row */

    while (low < high) {
        int middle = (low + high) / 2;
        if (t->keys[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < t->n_keys && t->keys[low].row == row &&
           t->keys[low].purpose != purpose)
        low++;
    return low < t->n_keys && t->keys[low].row == row ? &t->keys[low] : NULL;
}

static void look_row(void *arg, const PGresult *res, int at)
{
    struct taking *t = arg;
    struct passport_key *k = key_of(t, (int)column_int(res, at, 0, -1),
                                    key_purpose_find(column_str(res, at, 1)));
    uint8_t key[METER_KEY];

    if (!k)
        return;
    k->fresh = column_int(res, at, 2, 0);
    k->old = column_int(res, at, 3, 0);
    const struct secret_name name = {t->call->tenant_id, "meter_key", k->old,
                                     "key"};
    k->known =
        k->old &&
        secret_open(t->call, &name, (int32_t)column_int(res, at, 4, 0),
                    column_str(res, at, 5), key, sizeof key) == METER_KEY &&
        sodium_memcmp(key, k->key, METER_KEY) == 0;
    sodium_memzero(key, sizeof key);
}

static void looked(void *arg, const struct pg_outcome *o)
{
    struct taking *t = arg;

    if (o->err < 0) {
        forget(t);
        call_failed(t->call, o->err, o);
    } else {
        store(t);
    }
}

static void look(struct taking *t)
{
    struct call *c = t->call;
    char tenant[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    if (t->n_keys)
        call_ask(c, "SELECT * FROM passports_look($1::int, $2::jsonb)", 2,
                 (const char *const[]){tenant, t->rows.p}, look_row, looked, t);
    else
        store(t);
}

/* ---- the operations ---- */

static struct taking *taking_new(struct call *c, uint32_t rows)
{
    struct taking *t = arena_alloc(http_arena(c->r), sizeof *t);

    t->call = c;
    t->keys = arena_alloc(http_arena(c->r),
                          sizeof *t->keys * KEYS_MOST * (size_t)(rows + 1));
    return t;
}

static void take_rows(struct taking *t, struct buf *b)
{
    buf_z(b, t->n_rows ? "]" : "[]");
    t->rows = arena_str(http_arena(t->call->r), buf_view(b));
    buf_done(b);
    if (t->rows.p)
        look(t);
    else
        http_problem(t->call->r, 413, NULL, "Too much at once.");
}

static void passport_add(struct call *c)
{
    struct taking *t = taking_new(c, 1);
    struct buf b = {0};

    take_row(t, c->body, &b);
    take_rows(t, &b);
}

static void passport_change(struct call *c)
{
    struct taking *t = taking_new(c, 1);
    struct buf b = {0};

    t->change = true;
    take_row(t, c->body, &b);
    b.n--; /* the brace */
    buf_printf(&b, ",\"passport_id\":%s}", c->values[0]);
    take_rows(t, &b);
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
    bool good = text.p && csv_json((char *)text.p, columns, COLUMNS, ROWS_MOST,
                                   &rows, error) >= 0;
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
    struct taking *t = list ? taking_new(c, list->count) : NULL;
    struct buf b = {0};

    if (!list)
        return;
    t->import = true;
    t->dry_run = json_bool(json_get(c->body, "dry_run"), false) ||
                 (c->values[0] && *c->values[0] == 't');
    json_each (object, list)
        take_row(t, object, &b);
    take_rows(t, &b);
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
    {"passports", IN_BODY, FIELD_LIST, true, .min = 1, .max = ROWS_MOST,
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
