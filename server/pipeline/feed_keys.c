/*
 * feed_keys.c - rows that are sealed, and what opens frames: tenant keys,
 * passwords, keys of meters, record lists.
 */
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/pipeline/feed_rows.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what is sealed ---- */

/* Bytes of a column; 0 when it is NULL or too long. */
static size_t bytes_of_cell(const PGresult *res, int row, int column,
                            uint8_t *out, size_t cap)
{
    const char *text = feed_cell(res, row, column);
    int n = text && *text ? hex_decode(str_of(text + 2), out, cap) : 0;

    return n > 0 ? (size_t)n : 0;
}

void feed_tenant_key(void *arg, const PGresult *res, int row)
{
    static struct log_limit told;
    struct feed *f = arg;
    uint8_t sealed[VAULT_KEY + SEAL_EXTRA];
    size_t n = bytes_of_cell(res, row, 3, sealed, sizeof sealed);
    int err = vault_put_tenant_key(
        f->vault, atoi(PQgetvalue(res, row, 0)), atoi(PQgetvalue(res, row, 1)),
        PQgetvalue(res, row, 2), (struct str){(char *)sealed, n});

    f->missing |= err == ERR_UNKNOWN;
    if (err < 0 && f->reread && log_allowed(&told))
        log_error("tenant key does not open",
                  "tenant=%s master=%s err=%s keys.master_file=%s",
                  PQgetvalue(res, row, 0), PQgetvalue(res, row, 2),
                  err_name(err), f->master_file);
}

/* The clear bytes' count, or an error that was told. */
static int open_cell(struct feed *f, const struct secret_name *name,
                     const PGresult *res, int row, int key_no, int sealed,
                     uint8_t *out, size_t cap)
{
    static struct log_limit told;
    uint8_t bytes[SECRET_MAX + SEAL_EXTRA];
    size_t n = bytes_of_cell(res, row, sealed, bytes, sizeof bytes);
    int r = vault_open(f->vault, name, atoi(PQgetvalue(res, row, key_no)),
                       (struct str){(char *)bytes, n}, out, cap);

    if (r < 0 && log_allowed(&told))
        log_error("secret does not open", "tenant=%d of=%s id=%lld err=%s",
                  name->tenant_id, name->owner, (long long)name->row,
                  err_name(r));
    return r;
}

static void sealed_done(void *arg, const struct pg_outcome *o)
{
    (void)arg;
    if (o->err == ERR_DATABASE) /* the next round tries again */
        log_warning("password not sealed", "error=%s", o->error);
}

/* One that an earlier version left in clear. */
static void seal_password(struct feed *f, int32_t tenant, const char *row,
                          const char *password)
{
    static struct log_limit told;
    struct secret_name name = {tenant, "integration", atoll(row), "password"};
    struct sealed s;
    char id[16], key_no[16];

    if (vault_seal(f->vault, &name, str_of(password), &s) < 0) {
        if (log_allowed(&told))
            log_warning("password stands in clear in the database",
                        "tenant=%d integration=%s hint=%s", tenant, row,
                        "make a master key: headend keys init");
        return;
    }
    snprintf(id, sizeof id, "%d", tenant);
    snprintf(key_no, sizeof key_no, "%d", s.key_no);
    pg_call(f->pool,
            &(struct pg_call){
                .tenant_id = tenant,
                .write = true,
                .sql = "WITH taken AS (UPDATE integration SET password = NULL"
                       " WHERE tenant_id = $1::int"
                       " AND integration_id = $2::bigint"
                       " AND password IS NOT NULL RETURNING 1)"
                       " SELECT secret_put($1::int, 'integration', $2::bigint,"
                       " 'password', $3::int, $4::bytea, $5, $6::bytea,"
                       " $7::bytea) FROM taken",
                .n = 7,
                .values = {id, row, key_no, s.secret, s.master, s.tenant_key,
                           s.check},
                .done = sealed_done});
    sealed_free(&s);
}

char *feed_password(struct feed *f, const PGresult *res, int row,
                    int32_t tenant)
{
    const char *clear = feed_cell(res, row, 6);
    struct secret_name name = {tenant, "integration",
                               atoll(PQgetvalue(res, row, 1)), "password"};
    char text[SECRET_MAX + 1];

    if (clear)
        seal_password(f, tenant, PQgetvalue(res, row, 1), clear);
    if (clear || !feed_cell(res, row, 14))
        return mem_strdup(clear);
    int n = open_cell(f, &name, res, row, 14, 15, (uint8_t *)text, SECRET_MAX);
    char *password = n < 0 ? NULL : mem_strndup(text, (size_t)n);
    sodium_memzero(text, sizeof text);
    return password;
}

/* ---- what opens frames ---- */

static int16_t number_or_any(const PGresult *res, int row, int column)
{
    const char *text = feed_cell(res, row, column);

    return (int16_t)(text ? atoi(text) : -1);
}

void feed_meter_key(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    struct keyrings *keys = directory_keys(f->directory);
    int32_t tenant = atoi(PQgetvalue(res, row, 0));
    int purpose = key_purpose_find(str_of(PQgetvalue(res, row, 2)));
    struct meter_key k = {.key_id = atoll(PQgetvalue(res, row, 1)),
                          .meter_id = atoi(PQgetvalue(res, row, 3)),
                          .device_type = number_or_any(res, row, 6),
                          .version = number_or_any(res, row, 7),
                          .purpose = (uint8_t)purpose};
    struct secret_name name = {tenant, "meter_key", k.key_id, "key"};

    f->news++;
    key_address(str_of(PQgetvalue(res, row, 4)), k.address);
    snprintf(k.manufacturer, sizeof k.manufacturer, "%s",
             PQgetvalue(res, row, 5));
    if (*PQgetvalue(res, row, 8) == 't' || purpose < 0)
        keyrings_drop(keys, tenant, k.key_id);
    else if (open_cell(f, &name, res, row, 9, 10, k.key, sizeof k.key) ==
             METER_KEY)
        keyrings_put(keys, tenant, &k);
    else
        f->unopened = true;
    sodium_memzero(k.key, sizeof k.key);
}

void feed_format(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;
    uint8_t list[256];
    size_t n = bytes_of_cell(res, row, 1, list, sizeof list);

    f->news++;
    keyrings_format(directory_keys(f->directory), atoi(PQgetvalue(res, row, 0)),
                    (struct str){(char *)list, n});
}

void feed_tenant(void *arg, const PGresult *res, int row)
{
    struct feed *f = arg;

    keyrings_refuse(directory_keys(f->directory), atoi(PQgetvalue(res, row, 0)),
                    *PQgetvalue(res, row, 1) == 't');
}
