/*
 * passport_rows.c - see passport_rows.h.
 */
#include "server/vault/passport_rows.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/mem.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

const char *const passport_columns[PASSPORT_COLUMNS] = {"model",
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

/* Members that are keys, and their purpose. */
static const struct {
    const char *name;
    enum key_purpose purpose;
} key_members[] = {{"appkey", KEY_APPKEY},
                   {"appskey", KEY_APPSKEY},
                   {"encryption_key", KEY_ENCRYPTION},
                   {"authentication_key", KEY_AUTHENTICATION}};
enum { KEY_MEMBERS = sizeof key_members / sizeof *key_members };

void passport_rows_done(struct passport_rows *p)
{
    if (p->keys)
        sodium_memzero(p->keys, sizeof *p->keys * (size_t)p->n_keys);
    free(p->keys);
    buf_done(&p->json);
    *p = (struct passport_rows){0};
}

/* ---- one row ---- */

static int key_member(struct str name)
{
    for (int i = 0; i < KEY_MEMBERS; i++)
        if (str_is(name, key_members[i].name))
            return i;
    return -1;
}

static bool is_member(struct str name)
{
    for (int i = 0; i < PASSPORT_COLUMNS; i++)
        if (strncmp(passport_columns[i], name.p, name.n) == 0 &&
            strchr("|.", passport_columns[i][name.n]))
            return true;
    return str_is(name, "line");
}

static void put_member(struct buf *b, struct str name, const struct json *v)
{
    buf_u8(b, ',');
    buf_json_str(b, name);
    buf_u8(b, ':');
    json_write(b, v);
}

static void put_error(struct buf *b, struct str field, struct str error)
{
    buf_z(b, ",\"field\":");
    buf_json_str(b, field);
    buf_z(b, ",\"error\":");
    buf_json_str(b, error);
}

/* Room for the keys of one more row; the old place is wiped. */
static void make_room(struct passport_rows *p)
{
    if (p->n_keys + KEY_MEMBERS <= p->cap)
        return;
    int cap = 2 * p->cap + KEY_MEMBERS;
    struct passport_key *keys = mem_alloc(sizeof *keys * (size_t)cap);
    if (p->n_keys) {
        memcpy(keys, p->keys, sizeof *keys * (size_t)p->n_keys);
        sodium_memzero(p->keys, sizeof *keys * (size_t)p->n_keys);
    }
    free(p->keys);
    p->keys = keys;
    p->cap = cap;
}

static bool take_key(struct passport_rows *p, const struct json *v, int member)
{
    struct passport_key *k = &p->keys[p->n_keys];

    if (v->type != JSON_STRING || v->text.n != 2 * METER_KEY ||
        hex_decode(v->text, k->key, METER_KEY) != METER_KEY)
        return false;
    k->row = p->n_rows;
    k->purpose = (uint8_t)key_members[member].purpose;
    p->n_keys++;
    return true;
}

/* What is wrong with a member; NULL: nothing. */
static const char *member_fault(struct passport_rows *p, const struct json *v,
                                bool change)
{
    int key = key_member(v->name);

    if (key >= 0)
        return v->type == JSON_NULL || take_key(p, v, key)
                   ? NULL
                   : "A key is 32 hex digits.";
    if (str_is(v->name, "error"))
        return "It cannot be read.";
    if (!is_member(v->name) && !(change && str_is(v->name, "revision")))
        return "There is no such field of a passport.";
    if (v->type == JSON_ARRAY || v->type == JSON_TRUE ||
        v->type == JSON_FALSE ||
        (v->type == JSON_OBJECT && !str_is(v->name, "parameters")))
        return "It must be a string or a number.";
    return NULL;
}

/* The members but for the keys; false: something is wrong, which stands there
 * too. */
static bool put_members(struct passport_rows *p, const struct json *row,
                        bool change, struct buf *b)
{
    bool good = true;

    json_each (v, row) {
        const char *fault = member_fault(p, v, change);
        bool told = str_is(v->name, "error"); /* by csv.h: of the whole row */
        if (fault && good)
            put_error(b, told ? STR("") : v->name,
                      told ? v->text : str_of(fault));
        else if (!fault && key_member(v->name) < 0)
            put_member(b, v->name, v);
        good = good && !fault;
    }
    return good;
}

void passport_rows_add(struct passport_rows *p, const struct json *row,
                       int64_t passport_id)
{
    struct buf *b = &p->json, rest = {0};
    int first = p->n_keys;

    make_room(p);
    if (row->type != JSON_OBJECT)
        put_error(&rest, STR(""),
                  STR("A passport is an object: model, serial ..."));
    else if (!put_members(p, row, passport_id != 0, &rest))
        p->n_keys = first;
    buf_z(b, p->n_rows ? ",{\"purposes\":[" : "[{\"purposes\":[");
    for (int i = first; i < p->n_keys; i++)
        buf_printf(b, "%s\"%s\"", i > first ? "," : "",
                   key_purpose_name(p->keys[i].purpose));
    buf_u8(b, ']');
    if (passport_id)
        buf_printf(b, ",\"passport_id\":%" PRId64, passport_id);
    buf_str(b, buf_view(&rest));
    buf_u8(b, '}');
    buf_done(&rest);
    p->n_rows++;
}

const char *passport_rows_json(struct passport_rows *p)
{
    buf_z(&p->json, p->n_rows ? "]" : "[]");
    buf_u8(&p->json, 0);
    return (const char *)p->json.p;
}

/* ---- their keys ---- */

static struct passport_key *key_of(struct passport_rows *p, int row,
                                   int purpose)
{
    int low = 0, high = p->n_keys; /* they stand by row */

    while (low < high) {
        int middle = (low + high) / 2;
        if (p->keys[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < p->n_keys && p->keys[low].row == row &&
           p->keys[low].purpose != purpose)
        low++;
    return low < p->n_keys && p->keys[low].row == row ? &p->keys[low] : NULL;
}

void passport_rows_looked(struct passport_rows *p, const struct vault *v,
                          int32_t tenant_id, const struct passport_looked *l)
{
    struct passport_key *k = key_of(p, l->row, key_purpose_find(l->purpose));
    const struct secret_name name = {tenant_id, "meter_key", l->old, "key"};
    uint8_t key[METER_KEY];

    if (!k)
        return;
    k->fresh = l->fresh;
    k->old = l->old;
    k->known = l->old &&
               vault_open(v, &name, l->key_no, l->sealed, key, sizeof key) ==
                   METER_KEY &&
               sodium_memcmp(key, k->key, METER_KEY) == 0;
    sodium_memzero(key, sizeof key);
}

int passport_rows_seal(struct passport_rows *p, struct vault *v,
                       int32_t tenant_id, struct buf *b)
{
    struct sealed s = {0};
    const char *comma = "";
    int err = 0;

    buf_z(b, "{\"rows\":[");
    for (int i = 0; i < p->n_keys && err == 0; i++) {
        const struct passport_key *k = &p->keys[i];
        const struct secret_name name = {tenant_id, "meter_key", k->fresh,
                                         "key"};
        if (k->known)
            continue;
        sealed_free(&s);
        err = vault_seal(v, &name,
                         (struct str){(const char *)k->key, METER_KEY}, &s);
        if (err < 0)
            break;
        buf_printf(b,
                   "%s{\"n\":%d,\"purpose\":\"%s\",\"key_id\":%" PRId64
                   ",\"sealed\":\"\\%s\"",
                   comma, k->row, key_purpose_name(k->purpose), k->fresh,
                   s.secret);
        if (k->old)
            buf_printf(b, ",\"old\":%" PRId64, k->old);
        buf_u8(b, '}');
        comma = ",";
    }
    buf_u8(b, ']');
    if (err == 0 && *comma)
        buf_printf(b,
                   ",\"key_no\":%d,\"master\":\"%s\",\"tenant_key\":\"\\%s\","
                   "\"check\":\"\\%s\"",
                   s.key_no, s.master, s.tenant_key, s.check);
    buf_u8(b, '}');
    buf_u8(b, 0);
    sealed_free(&s);
    return err;
}
