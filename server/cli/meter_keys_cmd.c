/*
 * meter_keys_cmd.c - headend keys add | import | list | remove: the keys of a
 * tenant's meters. A running server notices by itself, and decodes what waited
 * for them.
 */
#include "server/base/buf.h"
#include "server/base/err.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/cli/secrets.h"
#include "server/cli/table.h"
#include "server/vault/key_csv.h"
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

const struct cli_arg keys_add_args[] = {
    {"tenant", "NAME", true, "whose key"},
    {"key-file", "FILE", true, "32 hex digits in a file; - is standard input"},
    {"meter", "SERIAL", false, "for this meter; the store is then not asked"},
    {"address", "ADDRESS", false, "of the meters that it is for (any)"},
    {"manufacturer", "CODE", false, "three letters (any)"},
    {"device-type", "N", false, "EN 13757-3 device type, 0 to 255 (any)"},
    {"version", "N", false, "of the meter, 0 to 255 (any)"},
    {"purpose", "PURPOSE", false,
     "encryption (default) | authentication | appkey | appskey"},
    {0}};
const struct cli_arg keys_import_args[] = {
    {"tenant", "NAME", true, "whose keys"},
    {"dry-run", NULL, false, "say what would become of each row"},
    {"json", NULL, false, "print JSON, every row"},
    {0}};
const struct cli_arg keys_list_args[] = {{"tenant", "NAME", true, "whose keys"},
                                         {"json", NULL, false, "print JSON"},
                                         {0}};
const struct cli_arg keys_remove_args[] = {{"tenant", "NAME", true, "whose"},
                                           {0}};

/* A key that is there already, by the hash of all that it is. */
struct known {
    struct hash128 hash;
    int64_t key_id;
    UT_hash_handle hh;
};

struct keyfile {
    PGconn *pq;
    struct vault *vault;
    int32_t tenant;
    struct known *known;
    bool dry_run, json;
    int added, there, refused;
    struct buf rows; /* JSON */
};

static struct hash128 hash_of(struct meter_key k)
{
    k.key_id = 0;
    struct hash128 h = hash128(&k, offsetof(struct meter_key, key) + METER_KEY);
    sodium_memzero(&k, sizeof k);
    return h;
}

static struct known *find(struct keyfile *f, const struct meter_key *k)
{
    struct hash128 hash = hash_of(*k);
    struct known *found;

    HASH_FIND(hh, f->known, &hash, sizeof hash, found);
    return found;
}

static void remember(struct keyfile *f, const struct meter_key *k)
{
    if (find(f, k))
        return;
    struct known *n = mem_alloc(sizeof *n);
    n->hash = hash_of(*k);
    n->key_id = k->key_id;
    HASH_ADD(hh, f->known, hash, sizeof n->hash, n);
}

/* ---- what is there ---- */

static int read_known(struct keyfile *f)
{
    PGresult *r = db_query(
        f->pq,
        "SELECT k.key_id, k.purpose, coalesce(k.meter_id, 0),"
        " coalesce(k.address, ''), coalesce(k.manufacturer, ''),"
        " coalesce(k.device_type, -1), coalesce(k.version, -1), s.key_no,"
        " s.sealed FROM meter_key k JOIN secret s ON s.tenant_id = k.tenant_id"
        " AND s.owner = 'meter_key' AND s.row_id = k.key_id"
        " AND s.name = 'key' WHERE k.removed_at IS NULL AND NOT key_waits(k)",
        0, NULL);
    int status = r ? 0 : -1;

    for (int i = 0; status == 0 && i < PQntuples(r); i++) {
        struct meter_key k = {.key_id = atoll(PQgetvalue(r, i, 0))};
        k.purpose = (uint8_t)key_purpose_find(str_of(PQgetvalue(r, i, 1)));
        k.meter_id = atoi(PQgetvalue(r, i, 2));
        key_address(str_of(PQgetvalue(r, i, 3)), k.address);
        snprintf(k.manufacturer, sizeof k.manufacturer, "%s",
                 PQgetvalue(r, i, 4));
        k.device_type = (int16_t)atoi(PQgetvalue(r, i, 5));
        k.version = (int16_t)atoi(PQgetvalue(r, i, 6));
        struct secret_name name = {f->tenant, "meter_key", k.key_id, "key"};
        if (secrets_take(f->vault, &name, r, i, 7, 8, k.key, sizeof k.key,
                         "key") == METER_KEY)
            remember(f, &k);
        else
            status = -1;
        sodium_memzero(&k, sizeof k);
    }
    PQclear(r);
    return status;
}

static int keyfile_open(struct cli *c, const char *tenant, struct keyfile *f)
{
    f->pq = db_open(c, DB_SERVER);
    f->tenant = f->pq ? db_tenant_named(f->pq, tenant) : -1;
    f->vault = f->tenant < 0 ? NULL : secrets_open(c, f->pq, true);
    return f->vault ? read_known(f) : -1;
}

static void keyfile_close(struct keyfile *f)
{
    struct known *n, *next;

    HASH_ITER (hh, f->known, n, next) {
        HASH_DEL(f->known, n);
        free(n);
    }
    vault_free(f->vault);
    buf_done(&f->rows);
    PQfinish(f->pq);
}

/* ---- adding ---- */

/* The meter of that serial. ERR_FORMAT with `error`; ERR_DATABASE, told. */
static int find_meter(struct keyfile *f, const char *serial,
                      struct meter_key *k, char error[KEY_ERROR])
{
    const char *values[1] = {serial};
    PGresult *r = db_query(f->pq,
                           "SELECT meter_id FROM meter WHERE serial = $1"
                           " AND state <> 'removed'",
                           1, values);
    int n = r ? PQntuples(r) : -1;

    if (n == 1)
        k->meter_id = atoi(PQgetvalue(r, 0, 0));
    else if (n >= 0)
        snprintf(error, KEY_ERROR, "Meter: %s serial %.60s",
                 n ? "several meters have" : "no meter has", serial);
    PQclear(r);
    return n == 1 ? 0 : n < 0 ? ERR_DATABASE : ERR_FORMAT;
}

static const char *number_or_null(char text[16], int value, int none)
{
    snprintf(text, 16, "%d", value);
    return value == none ? NULL : text;
}

/* 0 with k->key_id; -1 after telling why. */
static int insert(struct keyfile *f, struct meter_key *k)
{
    char tenant[16], meter[16], type[16], version[16];
    const char *values[7] = {tenant,
                             key_purpose_name(k->purpose),
                             number_or_null(meter, k->meter_id, 0),
                             *k->address ? k->address : NULL,
                             *k->manufacturer ? k->manufacturer : NULL,
                             number_or_null(type, k->device_type, -1),
                             number_or_null(version, k->version, -1)};
    snprintf(tenant, sizeof tenant, "%d", f->tenant);
    PGresult *r = db_query(f->pq,
                           "INSERT INTO meter_key (tenant_id, purpose,"
                           " meter_id, address, manufacturer, device_type,"
                           " version) VALUES ($1, $2, $3, $4, $5, $6, $7)"
                           " RETURNING key_id",
                           7, values);
    if (!r)
        return -1;
    k->key_id = atoll(PQgetvalue(r, 0, 0));
    PQclear(r);
    return secrets_put(
        f->pq, f->vault,
        &(struct secret_name){f->tenant, "meter_key", k->key_id, "key"},
        (struct str){(const char *)k->key, METER_KEY});
}

/* 1 added, 0 it was there; -1 after telling why. k->key_id either way, but 0
 * for what a dry run would add. */
static int add(struct keyfile *f, struct meter_key *k)
{
    const struct known *known = find(f, k);

    if (known) {
        k->key_id = known->key_id;
        return 0;
    }
    if (!f->dry_run && insert(f, k) < 0)
        return -1;
    remember(f, k);
    return 1;
}

static int take_texts(struct keyfile *f, const char *const texts[KEY_COLUMNS],
                      struct meter_key *k, char error[KEY_ERROR])
{
    int err = key_take(k, texts, error);

    if (err == 0 && texts[COLUMN_METER])
        err = find_meter(f, texts[COLUMN_METER], k, error);
    return err;
}

/* The first line of the file; false after telling why. */
static bool read_key(const char *path, char line[128])
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    bool ok = in && fgets(line, 128, in);

    if (in && in != stdin)
        fclose(in);
    if (ok)
        line[strcspn(line, " \t\r\n")] = 0;
    else
        cli_fail("--key-file %s: cannot be read, or is empty", path);
    return ok;
}

int cmd_keys_add(struct cli *c)
{
    const struct cli_arg *a = keys_add_args;
    char line[128], error[KEY_ERROR];
    const char *const texts[KEY_COLUMNS] = {
        [COLUMN_ADDRESS] = cli_get(c, a, "address"),
        [COLUMN_KEY] = line,
        [COLUMN_MANUFACTURER] = cli_get(c, a, "manufacturer"),
        [COLUMN_TYPE] = cli_get(c, a, "device-type"),
        [COLUMN_VERSION] = cli_get(c, a, "version"),
        [COLUMN_PURPOSE] = cli_get(c, a, "purpose"),
        [COLUMN_METER] = cli_get(c, a, "meter")};
    struct keyfile f = {0};
    struct meter_key k;
    int done = -1;

    if (!read_key(cli_get(c, a, "key-file"), line))
        return 1;
    if (keyfile_open(c, cli_get(c, a, "tenant"), &f) == 0) {
        int err = take_texts(&f, texts, &k, error);
        PQclear(db_query(f.pq, "BEGIN", 0, NULL));
        if (err == ERR_FORMAT)
            cli_fail("%s", error);
        done = err < 0 ? -1 : add(&f, &k);
        PGresult *r = db_query(f.pq, done < 0 ? "ROLLBACK" : "COMMIT", 0, NULL);
        done = r ? done : -1;
        PQclear(r);
    }
    if (done >= 0)
        printf("key %lld %s\n", (long long)k.key_id,
               done ? "added" : "was there already");
    keyfile_close(&f);
    sodium_memzero(line, sizeof line);
    sodium_memzero(&k, sizeof k);
    return done < 0;
}

/* ---- CSV ---- */

static void say_row(struct keyfile *f, int number, int done,
                    const struct meter_key *k, const char *error)
{
    const char *what = done < 0 ? "refused" : done ? "added" : "there";

    f->added += done > 0;
    f->there += done == 0;
    f->refused += done < 0;
    if (f->json) {
        buf_printf(&f->rows, "%s{\"line\":%d,\"result\":\"%s\"",
                   f->rows.n ? "," : "", number, what);
        if (done >= 0 && k->key_id)
            buf_printf(&f->rows, ",\"key_id\":%lld", (long long)k->key_id);
        if (done < 0) {
            buf_z(&f->rows, ",\"error\":");
            buf_json_str(&f->rows, str_of(error));
        }
        buf_u8(&f->rows, '}');
    } else if (done < 0) {
        printf("line %d: refused: %s\n", number, error);
    }
}

/* 0, or -1 when the database failed (told). */
static int import_row(struct keyfile *f, struct csv *csv, char *line,
                      int number)
{
    char error[KEY_ERROR];
    const char *meter = NULL;
    struct meter_key k;
    int err = key_csv_row(csv, line, &k, &meter, error);

    if (err == 0 && meter)
        err = find_meter(f, meter, &k, error);
    if (err == ERR_DATABASE)
        return -1;
    int done = err < 0 ? -1 : add(f, &k);
    if (err == 0 && done < 0)
        return -1;
    say_row(f, number, done, &k, error);
    sodium_memzero(&k, sizeof k);
    return 0;
}

static int import(struct keyfile *f, FILE *in)
{
    struct csv csv;
    char *line = NULL, error[KEY_ERROR] = "the file is empty";
    size_t cap = 0;
    int number = 0, status = 0, header = ERR_FORMAT;

    PQclear(db_query(f->pq, "BEGIN", 0, NULL));
    while (status == 0 && getline(&line, &cap, in) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (number++ == 0) {
            header = key_csv_header(&csv, line, error);
            status = header < 0 ? -1 : 0;
        } else if (*line) {
            status = import_row(f, &csv, line, number);
        }
    }
    if (header < 0)
        cli_fail("line 1: %s", error);
    if (line)
        sodium_memzero(line, cap);
    free(line);
    bool keep = status == 0 && header == 0 && !f->dry_run;
    PGresult *r = db_query(f->pq, keep ? "COMMIT" : "ROLLBACK", 0, NULL);
    PQclear(r);
    return r && status == 0 && header == 0 ? 0 : -1;
}

int cmd_keys_import(struct cli *c)
{
    const struct cli_arg *a = keys_import_args;
    bool standard = strcmp(c->free[0], "-") == 0;
    FILE *in = standard ? stdin : fopen(c->free[0], "r");
    struct keyfile f = {.dry_run = cli_get(c, a, "dry-run") != NULL,
                        .json = cli_get(c, a, "json") != NULL};

    if (!in)
        return cli_fail("%s: cannot be read", c->free[0]);
    int status = keyfile_open(c, cli_get(c, a, "tenant"), &f);
    if (status == 0)
        status = import(&f, in);
    if (status == 0 && f.json)
        printf("{\"dry_run\":%s,\"added\":%d,\"there\":%d,\"refused\":%d,"
               "\"rows\":[%.*s]}\n",
               f.dry_run ? "true" : "false", f.added, f.there, f.refused,
               STR_ARGS(buf_view(&f.rows)));
    else if (status == 0)
        printf("%d keys %sadded, %d were there already, %d rows refused\n",
               f.added, f.dry_run ? "would be " : "", f.there, f.refused);
    status = status < 0 || f.refused > 0;
    keyfile_close(&f);
    if (!standard)
        fclose(in);
    return status;
}

/* ---- list, remove ---- */

int cmd_keys_list(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    PGresult *r = NULL;

    if (pq && db_tenant_named(pq, cli_get(c, keys_list_args, "tenant")) >= 0)
        r = db_query(
            pq,
            "SELECT k.key_id, k.purpose, m.serial AS meter, k.address,"
            " k.manufacturer, k.device_type, k.version, (SELECT count(*)"
            " FROM meter_key_use u WHERE u.tenant_id = k.tenant_id"
            " AND u.key_id = k.key_id) AS opens_meters"
            " FROM meter_key k LEFT JOIN meter m USING (tenant_id, meter_id)"
            " WHERE NOT key_waits(k) AND k.removed_at IS NULL ORDER BY "
            "k.key_id",
            0, NULL);
    if (r && cli_get(c, keys_list_args, "json"))
        table_json(r, "keys");
    else if (r)
        table_print(r);
    PQclear(r);
    PQfinish(pq);
    return r ? 0 : 1;
}

int cmd_keys_remove(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    char id[16], *end;
    const char *values[2] = {id, c->free[0]};
    int32_t tenant =
        pq ? db_tenant_named(pq, cli_get(c, keys_remove_args, "tenant")) : -1;
    PGresult *r = NULL;
    bool number = strtoll(c->free[0], &end, 10) > 0 && *end == 0;

    snprintf(id, sizeof id, "%d", tenant);
    if (!number)
        cli_fail("%s: a key's id is a number", c->free[0]);
    else if (tenant >= 0)
        r = db_query(pq, "SELECT meter_key_remove($1, $2)", 2, values);
    bool gone = r && *PQgetvalue(r, 0, 0) == 't';
    if (gone)
        printf("key %s removed\n", c->free[0]);
    else if (r)
        cli_fail("the tenant has no key %s", c->free[0]);
    PQclear(r);
    PQfinish(pq);
    return gone ? 0 : 1;
}
