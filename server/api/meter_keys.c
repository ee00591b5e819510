/*
 * meter_keys.c - keys of a tenant's meters: added and imported (a result per
 * row), listed without what they are, shown one by one.
 *   keys_serve -> (rows checked) -> looked: which are there already; ids for
 *   the others -> sealed here -> put, all or none, with the answer
 */
#include "server/api/secret.h"
#include "server/base/hex.h"
#include "server/vault/key_csv.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>

enum { ROWS_MOST = 2000 };

struct key_row {
    struct meter_key k;  /* key_id: the one there, or for the new one */
    const char *serial;  /* of the meter it is for, or NULL */
    bool refused, known; /* known: there is the very same */
    char error[KEY_ERROR];
};

struct import {
    struct call *call;
    struct key_row *rows;
    int n, added;
    bool one, dry_run;
};

/* ---- rows ---- */

static const char *const members[KEY_COLUMNS] = {
    "address", "key",     "manufacturer", "device_type",
    "version", "purpose", "meter",        ""};

static int column_named(struct str name)
{
    for (int i = 0; i < COLUMN_ID; i++)
        if (str_is(name, members[i]))
            return i;
    return -1;
}

/* Numbers as they are written; NULL is "any". False: another kind of value. */
static bool member_text(struct call *c, const struct json *v,
                        const char *texts[KEY_COLUMNS], int column)
{
    if (v->type == JSON_NULL)
        return true;
    if (v->type != JSON_STRING && v->type != JSON_NUMBER)
        return false;
    texts[column] = arena_str(http_arena(c->r), v->text).p;
    return true;
}

static void take_row(struct call *c, const struct json *object,
                     struct key_row *row)
{
    const char *texts[KEY_COLUMNS] = {NULL};

    row->refused = object->type != JSON_OBJECT;
    if (row->refused)
        snprintf(row->error, sizeof row->error, "key: must be an object");
    json_each (v, object) {
        int column = column_named(v->name);
        bool control = v->type == JSON_OBJECT || v->type == JSON_ARRAY;
        if (row->refused)
            continue;
        row->refused =
            control || column < 0 || !member_text(c, v, texts, column);
        if (row->refused)
            snprintf(row->error, sizeof row->error, "%.40s: %s",
                     arena_str(http_arena(c->r), v->name).p,
                     column < 0 ? "is no field of a key"
                                : "must be a string or a number");
    }
    if (!row->refused)
        row->refused = key_take(&row->k, texts, row->error) < 0;
    row->serial = texts[COLUMN_METER];
}

static bool same(const struct key_row *a, const struct key_row *b)
{
    return a->k.purpose == b->k.purpose &&
           a->k.device_type == b->k.device_type &&
           a->k.version == b->k.version && a->k.meter_id == b->k.meter_id &&
           strcmp(a->k.address, b->k.address) == 0 &&
           strcmp(a->k.manufacturer, b->k.manufacturer) == 0 &&
           sodium_memcmp(a->k.key, b->k.key, METER_KEY) == 0;
}

/* ---- the answer ---- */

enum { FIELD_NAME = 32 };

/* "DeviceType: must be ..." is about "device_type"; what is wrong with it. */
static const char *fault_of(const char *error, char field[FIELD_NAME])
{
    const char *colon = strchr(error, ':');
    int n = 0;

    for (const char *p = error; p < colon && n < FIELD_NAME - 2; p++) {
        if (isupper((unsigned char)*p) && p > error)
            field[n++] = '_';
        if (isalnum((unsigned char)*p) || *p == '_')
            field[n++] = (char)tolower((unsigned char)*p);
    }
    field[n] = 0;
    return colon ? colon + 2 : error;
}

static void put_results(struct import *m, struct buf *b)
{
    char field[FIELD_NAME];
    int there = 0, refused = 0;

    for (int i = 0; i < m->n; i++) {
        there += m->rows[i].known;
        refused += m->rows[i].refused;
    }
    buf_printf(b,
               "{\"dry_run\":%s,\"added\":%d,\"unchanged\":%d,"
               "\"refused\":%d,\"results\":[",
               m->dry_run ? "true" : "false", m->added, there, refused);
    for (int i = 0; i < m->n; i++) {
        const struct key_row *row = &m->rows[i];
        buf_printf(b, "%s{\"row\":%d,\"result\":\"%s\"", i ? "," : "", i + 1,
                   row->refused ? "refused"
                   : row->known ? "unchanged"
                                : "added");
        if (row->refused) {
            buf_z(b, ",\"field\":");
            const char *fault = fault_of(row->error, field);
            buf_json_str(b, str_of(field));
            put_text(b, "detail", str_of(fault));
        } else if (row->k.key_id && (row->known || !m->dry_run))
            buf_printf(b, ",\"key_id\":%lld", (long long)row->k.key_id);
        buf_u8(b, '}');
    }
    buf_z(b, "]}");
}

/* ---- storing ---- */

static void put_selector(struct buf *b, const struct meter_key *k)
{
    buf_printf(b,
               "\"purpose\":\"%s\",\"address\":", key_purpose_name(k->purpose));
    buf_json_str(b, str_of(k->address));
    buf_printf(b,
               ",\"manufacturer\":\"%s\",\"device_type\":%d,\"version\":%d,"
               "\"meter_id\":%d",
               k->manufacturer, k->device_type, k->version, k->meter_id);
}

/* Seals what is new; the rows for SQL. False after the client was told. */
static bool seal_rows(struct import *m, struct buf *b, struct sealed_text *t)
{
    buf_u8(b, '[');
    for (int i = 0; i < m->n; i++) {
        const struct meter_key *k = &m->rows[i].k;
        const struct secret_name name = {m->call->tenant_id, "meter_key",
                                         k->key_id, "key"};
        if (m->rows[i].refused || m->rows[i].known)
            continue;
        sealed_free(&t->s);
        if (!secret_seal(m->call, &name,
                         (struct str){(const char *)k->key, METER_KEY}, t))
            return false;
        buf_printf(b, "%s{\"key_id\":%lld,", b->n > 1 ? "," : "",
                   (long long)k->key_id);
        put_selector(b, k);
        buf_printf(b, ",\"sealed\":\"\\%s\"}", t->s.secret);
    }
    buf_u8(b, ']');
    buf_u8(b, 0);
    return true;
}

/* What is new goes into the database, and `answer` to the client. */
static void store(struct import *m, struct str answer)
{
    struct call *c = m->call;
    struct sealed_text t = {0};
    struct buf b = {0};
    char tenant[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    if (seal_rows(m, &b, &t))
        call_do(c,
                "(SELECT $7::text FROM meter_keys_put($1::int, $2::jsonb,"
                " $3::int, $4, $5::bytea, $6::bytea))",
                7,
                (const char *const[]){tenant, (char *)b.p, t.key_no, t.s.master,
                                      t.s.tenant_key, t.s.check, answer.p});
    sealed_free(&t.s);
    buf_done(&b);
}

static void finish(struct import *m)
{
    struct call *c = m->call;
    const struct key_row *row = m->rows;
    struct buf *b = &c->api->scratch;
    char field[FIELD_NAME];

    buf_clear(b);
    if (!m->one) {
        put_results(m, b);
    } else if (!row->refused) {
        buf_printf(b, "{\"key_id\":%lld,\"added\":%s}",
                   (long long)row->k.key_id, row->known ? "false" : "true");
    }
    struct str json = arena_str(http_arena(c->r), buf_view(b));
    if (m->one && row->refused) {
        const char *fault = fault_of(row->error, field);
        http_problem(c->r, 422, field, "%s.", fault);
    } else if (m->added > 0 && !m->dry_run) {
        store(m, json);
    } else {
        call_do(c, "$1::text", 1, &json.p);
    }
    sodium_memzero(m->rows, sizeof *m->rows * (size_t)m->n);
}

/* ---- what is there ---- */

static void look_row(void *arg, const PGresult *res, int at)
{
    struct import *m = arg;
    struct key_row *row = &m->rows[column_int(res, at, 0, 0)];
    int64_t there = column_int(res, at, 4, 0);
    const struct secret_name name = {m->call->tenant_id, "meter_key", there,
                                     "key"};
    uint8_t key[METER_KEY];

    if (row->refused || row->known)
        return;
    row->k.key_id = column_int(res, at, 1, 0);
    row->k.meter_id = (int32_t)column_int(res, at, 2, 0);
    row->refused = column_int(res, at, 3, 1) != 1;
    if (row->refused)
        snprintf(row->error, sizeof row->error, "meter: %s this serial number",
                 column_int(res, at, 3, 1) ? "several meters have"
                                           : "no meter has");
    if (there &&
        secret_open(m->call, &name, (int32_t)column_int(res, at, 5, 0),
                    column_str(res, at, 6), key, sizeof key) == METER_KEY &&
        sodium_memcmp(key, row->k.key, METER_KEY) == 0) {
        row->known = true;
        row->k.key_id = there;
    }
    sodium_memzero(key, sizeof key);
}

static void looked(void *arg, const struct pg_outcome *o)
{
    struct import *m = arg;

    if (o->err < 0) {
        sodium_memzero(m->rows, sizeof *m->rows * (size_t)m->n);
        call_failed(m->call, o->err, o);
        return;
    }
    for (int i = 0; i < m->n; i++) {
        struct key_row *row = &m->rows[i];
        for (int k = 0; k < i && !row->refused && !row->known; k++)
            if (!m->rows[k].refused && same(&m->rows[k], row)) {
                row->known = true;
                row->k.key_id =
                    m->rows[k].known || !m->dry_run ? m->rows[k].k.key_id : 0;
            }
        m->added += !row->refused && !row->known;
    }
    finish(m);
}

static void look(struct import *m)
{
    struct call *c = m->call;
    struct buf b = {0};
    char tenant[16];

    buf_u8(&b, '[');
    for (int i = 0; i < m->n; i++) {
        if (m->rows[i].refused)
            continue;
        buf_printf(&b, "%s{\"n\":%d,\"meter\":", b.n > 1 ? "," : "", i);
        if (m->rows[i].serial)
            buf_json_str(&b, str_of(m->rows[i].serial));
        else
            buf_z(&b, "null");
        buf_u8(&b, ',');
        put_selector(&b, &m->rows[i].k);
        buf_u8(&b, '}');
    }
    buf_u8(&b, ']');
    buf_u8(&b, 0);
    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    call_ask(c, "SELECT * FROM meter_keys_look($1::int, $2::jsonb)", 2,
             (const char *const[]){tenant, (char *)b.p}, look_row, looked, m);
    buf_done(&b);
}

static struct import *import_new(struct call *c, uint32_t n)
{
    struct import *m = arena_alloc(http_arena(c->r), sizeof *m);

    m->call = c;
    m->n = (int)n;
    m->rows = arena_alloc(http_arena(c->r), sizeof *m->rows * n);
    return m;
}

static void key_add(struct call *c)
{
    struct import *m = import_new(c, 1);

    m->one = true;
    take_row(c, c->body, m->rows);
    look(m);
}

static void keys_import(struct call *c)
{
    const struct json *list = json_get(c->body, "keys");
    struct import *m = import_new(c, list->count);
    int n = 0;

    m->dry_run = json_bool(json_get(c->body, "dry_run"), false);
    json_each (object, list)
        take_row(c, object, &m->rows[n++]);
    look(m);
}

/* ---- one key, shown ---- */

static void reveal_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;
    int64_t id = column_int(res, row, 0, 0);
    const struct secret_name name = {c->tenant_id, "meter_key", id, "key"};
    uint8_t key[METER_KEY];
    char hex[2 * METER_KEY + 1];
    int n = secret_open(c, &name, (int32_t)column_int(res, row, 1, 0),
                        column_str(res, row, 2), key, sizeof key);

    if (n == METER_KEY)
        c->found =
            arena_printf(http_arena(c->r), "{\"key_id\":%lld,\"key\":\"%s\"}",
                         (long long)id, hex_encode(key, sizeof key, hex));
    sodium_memzero(key, sizeof key);
    sodium_memzero(hex, sizeof hex);
}

static void revealed(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;
    const struct secret_name name = {c->tenant_id, "meter_key",
                                     strtoll(c->values[0], NULL, 10), "key"};

    if (o->err < 0)
        call_failed(c, o->err, o);
    else if (!c->found.p)
        secret_failed(c, &name, ERR_UNKNOWN);
    else
        call_answer(c, c->found);
}

static void key_reveal(struct call *c)
{
    char tenant[16];

    snprintf(tenant, sizeof tenant, "%d", c->tenant_id);
    call_ask(c, "SELECT * FROM meter_key_reveal($1::int, $2::bigint)", 2,
             (const char *const[]){tenant, c->values[0]}, reveal_row, revealed,
             c);
}

/* ---- the rows ---- */

static const struct field id_fields[] = {
    {"id", IN_PATH, FIELD_INT, .min = 1, .max = INT64_MAX, .help = "key_id"},
    {0}};
static const struct field add_fields[] = {
    {"key", IN_BODY, FIELD_TEXT, true, .min = 32, .max = 32,
     .help = "32 hex digits."},
    {"purpose", IN_BODY, FIELD_TEXT,
     .one_of = "encryption|authentication|appkey|appskey",
     .help = "What it is for (encryption)."},
    {"meter", IN_BODY, FIELD_TEXT, .nullable = true, .min = 1, .max = 64,
     .help = "Serial number of the one meter it is for; then nothing below."},
    {"address", IN_BODY, FIELD_TEXT, .nullable = true, .min = 1,
     .max = KEY_ADDRESS_MAX,
     .help = "Address of the meters that it is for; null: any."},
    {"manufacturer", IN_BODY, FIELD_TEXT, .nullable = true, .min = 1, .max = 3,
     .help = "Their manufacturer, three letters; null: any."},
    {"device_type", IN_BODY, FIELD_INT, .nullable = true, .max = 255,
     .help = "Their device type (EN 13757-3); null: any."},
    {"version", IN_BODY, FIELD_INT, .nullable = true, .max = 255,
     .help = "Their version; null: any."},
    {0}};
static const struct field import_fields[] = {
    {"keys", IN_BODY, FIELD_LIST, true, .min = 1, .max = ROWS_MOST,
     .help = "Keys as POST /api/v1/meter-keys takes them."},
    {"dry_run", IN_BODY, FIELD_BOOL,
     .help = "Only say what would become of each."},
    {0}};

const struct endpoint meter_key_endpoints[] = {
    {"GET", "/api/v1/meter-keys", RIGHT_KEYS, 0, "meter_keys_list",
     "Keys of meters: what they are for, not what they are.", NULL,
     .list = "meter_keys",
     .sql = "SELECT meter_key_json(k), k.key_id, '' FROM meter_key k"
            " WHERE k.tenant_id = $1::int AND k.removed_at IS NULL"
            " AND k.key_id > coalesce($2::bigint, 0)"
            " AND ($3::text IS NULL OR true)"
            " ORDER BY k.key_id LIMIT $4::int",
     .answer = "meter_key"},
    {"POST", "/api/v1/meter-keys", RIGHT_KEYS, ENDPOINT_ONCE, "meter_key_add",
     "Adds a key; the very same again is no error.", add_fields,
     .serve = key_add, .status = 201, .answer = "meter_key_added"},
    {"POST", "/api/v1/meter-keys/import", RIGHT_KEYS, ENDPOINT_ONCE,
     "meter_keys_import", "Adds many keys, with a result for each row.",
     import_fields, .serve = keys_import, .answer = "meters_imported"},
    {"DELETE", "/api/v1/meter-keys/{id}", RIGHT_KEYS, 0, "meter_key_remove",
     "Removes a key; what it is is forgotten.", id_fields,
     .call = "meter_key_take($1, $3::bigint)", .status = 204},
    {"POST", "/api/v1/meter-keys/{id}/reveal", RIGHT_KEYS, ENDPOINT_CRITICAL,
     "meter_key_reveal", "Shows what a key is; stands in the audit trail.",
     id_fields, .serve = key_reveal, .answer = "meter_key_revealed"},
    {0}};
