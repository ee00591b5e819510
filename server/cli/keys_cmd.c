/*
 * keys_cmd.c - headend keys init | rotate | seal: the master key, and the
 * tenants' keys under it.
 *
 * Rotation of the master key: the file gets a new key in front of the old ->
 * every tenant key goes under the new one -> the old one's name leaves the
 * database, which then refuses anything under it -> it leaves the file.
 * Of a tenant's key: a further key -> every secret goes under it -> the older
 * ones are deleted. Both may be killed at any point and called again; a server
 * that runs meanwhile misses nothing.
 */
#include "server/cli/secrets.h"
#include <errno.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const struct cli_arg keys_rotate_args[] = {
    {"tenant", "NAME", false, "this tenant's key instead of the master key"},
    {0}};

int cmd_keys_init(struct cli *c)
{
    const char *path = c->settings.keys_master_file;
    struct masters *m;
    char folder[1024];

    if (sodium_init() < 0)
        return cli_fail("no source of random numbers");
    if (!*path)
        return cli_fail("keys.master_file is empty: name a file");
    snprintf(folder, sizeof folder, "%s", path);
    mkdir(dirname(folder), 0700); /* if it is not there */
    m = masters_new();
    masters_add(m);
    int err = masters_write(m, path, true);
    if (err == 0)
        printf("master key %s made in %s\nKeep a copy of that file apart from "
               "the database's: without it no secret can be read again.\n",
               m->list[0].name, path);
    masters_free(m);
    if (err == -EEXIST)
        return cli_fail("%s is there already and was left as it is", path);
    return err < 0 ? cli_fail("%s: %s", path, strerror(-err)) : 0;
}

/* ---- a transaction around a step ---- */

static bool begin(PGconn *pq)
{
    PGresult *r = db_query(pq, "BEGIN", 0, NULL);
    PQclear(r);
    return r != NULL;
}

static int commit(PGconn *pq, int status)
{
    PGresult *r = db_query(pq, status < 0 ? "ROLLBACK" : "COMMIT", 0, NULL);
    PQclear(r);
    return r ? status : -1;
}

/* Deletes what nothing must refer to any more: 1 done, 0 something does again
 * (another process was at work), -1 after telling why. */
static int forget(PGconn *pq, const char *sql, const char *value)
{
    PGresult *r = PQexecParams(pq, sql, 1, NULL, &value, NULL, NULL, 0);
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    int status = PQresultStatus(r) == PGRES_COMMAND_OK  ? 1
                 : state && strcmp(state, "23503") == 0 ? 0
                                                        : -1;
    if (status < 0)
        cli_fail("%s", PQresultErrorMessage(r));
    PQclear(r);
    return status;
}

/* ---- the master key ---- */

static int reseal_row(PGconn *pq, struct vault *v, const PGresult *r, int row)
{
    struct sealed s = {0};
    int err = vault_reseal(v, atoi(PQgetvalue(r, row, 0)),
                           atoi(PQgetvalue(r, row, 1)), &s);
    const char *values[5] = {PQgetvalue(r, row, 0), PQgetvalue(r, row, 1),
                             s.master, s.tenant_key, PQgetvalue(r, row, 2)};
    PGresult *u = err < 0 ? NULL
                          : db_query(pq,
                                     "UPDATE tenant_key SET master = $3,"
                                     " sealed = $4 WHERE tenant_id = $1"
                                     " AND key_no = $2 AND master = $5",
                                     5, values);
    if (err < 0)
        cli_fail("tenant %s: its key is not here", values[0]);
    sealed_free(&s);
    PQclear(u);
    return u ? 0 : -1;
}

/* All tenant keys under the first master key; the count, or -1. */
static int reseal_all(const struct cli *c, PGconn *pq, struct vault *v,
                      const char *newest)
{
    const char *values[1] = {newest};

    if (secrets_read(c, pq, v) < 0 || !begin(pq))
        return -1;
    PGresult *r = db_query(pq,
                           "SELECT tenant_id, key_no, master FROM tenant_key"
                           " WHERE master <> $1 ORDER BY 1, 2",
                           1, values);
    int n = r ? PQntuples(r) : -1;
    for (int i = 0; n >= 0 && i < PQntuples(r); i++)
        n = reseal_row(pq, v, r, i) < 0 ? -1 : n;
    PQclear(r);
    return commit(pq, n);
}

static int rotate_database(const struct cli *c, PGconn *pq, struct vault *v,
                           const char *newest)
{
    const char *values[1] = {newest};
    int sealed = 0, done = 0;
    PGresult *r = db_query(
        pq,
        "INSERT INTO master_key (master) VALUES ($1) ON CONFLICT DO NOTHING", 1,
        values);

    PQclear(r);
    while (r && sealed >= 0 && done == 0) {
        int n = reseal_all(c, pq, v, newest);
        sealed = n < 0 ? -1 : sealed + n;
        done = n < 0 ? -1
                     : forget(pq, "DELETE FROM master_key WHERE master <> $1",
                              newest);
    }
    return done < 0 || !r ? -1 : sealed;
}

/* The keys of the file with a new one in front; a rotation that was cut short
 * goes on with the one it had made. */
static int next_masters(const struct cli *c, struct masters *m)
{
    const char *path = c->settings.keys_master_file;
    char error[MASTER_ERROR] = "there is none; `headend keys init` makes one";
    bool given = getenv(MASTER_VARIABLE) != NULL;

    if (masters_load(m, path, error) < 0)
        return cli_fail("master key: %s", error);
    if (given && m->n < 2)
        return cli_fail(MASTER_VARIABLE
                        ": to rotate, give the new key and the old one, with "
                        "a comma between");
    if (given || m->n > 1)
        return 0;
    masters_add(m);
    int err = masters_write(m, path, false);
    return err < 0 ? cli_fail("%s: %s", path, strerror(-err)) : 0;
}

static int rotate_master(const struct cli *c, PGconn *pq)
{
    bool given = getenv(MASTER_VARIABLE) != NULL;
    struct masters *m = masters_new();
    struct vault *v = vault_new();

    if (db_all(pq) < 0 || next_masters(c, m) != 0) {
        masters_free(m);
        vault_free(v);
        return 1;
    }
    vault_masters(v, m);
    int n = rotate_database(c, pq, v, m->list[0].name);
    if (n >= 0) {
        m->n = 1;
        int err =
            given ? 0 : masters_write(m, c->settings.keys_master_file, false);
        if (err < 0)
            n = -cli_fail("%s: %s", c->settings.keys_master_file,
                          strerror(-err));
    }
    if (n >= 0)
        printf("master key %s in use; %d tenant keys sealed under it\n%s",
               m->list[0].name, n,
               given ? "take the old key out of " MASTER_VARIABLE "\n" : "");
    vault_free(v);
    return n < 0;
}

/* ---- a tenant's key ---- */

static int reseal_secret(PGconn *pq, struct vault *v, const PGresult *r,
                         int row)
{
    uint8_t clear[SECRET_MAX];
    struct secret_name n = {atoi(PQgetvalue(r, row, 0)), PQgetvalue(r, row, 1),
                            atoll(PQgetvalue(r, row, 2)),
                            PQgetvalue(r, row, 3)};
    int size = secrets_take(v, &n, r, row, 4, 5, clear, sizeof clear, n.owner);
    int status =
        size < 0
            ? -1
            : secrets_put(pq, v, &n, (struct str){(char *)clear, (size_t)size});
    sodium_memzero(clear, sizeof clear);
    return status;
}

/* Some hundred secrets; how many are done, 0 when none is left, or -1. */
static int reseal_some(PGconn *pq, struct vault *v, const char *key_no)
{
    const char *values[1] = {key_no};

    if (!begin(pq))
        return -1;
    PGresult *r = db_query(pq,
                           "SELECT tenant_id, owner, row_id, name, key_no,"
                           " sealed FROM secret WHERE key_no < $1"
                           " LIMIT 500 FOR UPDATE",
                           1, values);
    int n = r ? PQntuples(r) : -1;
    for (int i = 0; n > 0 && i < PQntuples(r); i++)
        n = reseal_secret(pq, v, r, i) < 0 ? -1 : n;
    PQclear(r);
    return commit(pq, n);
}

/* The tenant's newest key, a new one unless a rotation was cut short. */
static int next_key(PGconn *pq, struct vault *v, int32_t tenant,
                    char key_no[16])
{
    struct sealed s = {0};
    char id[16];
    PGresult *r = db_query(
        pq, "SELECT count(*), coalesce(max(key_no), 0) FROM tenant_key", 0,
        NULL);

    if (!r)
        return -1;
    bool unfinished = atoi(PQgetvalue(r, 0, 0)) > 1;
    snprintf(key_no, 16, "%s", PQgetvalue(r, 0, 1));
    PQclear(r);
    if (unfinished)
        return 0;
    vault_renew(v, tenant, &s);
    snprintf(id, sizeof id, "%d", tenant);
    snprintf(key_no, 16, "%d", s.key_no);
    const char *values[5] = {id, key_no, s.master, s.tenant_key, s.check};
    r = db_query(pq, "SELECT tenant_key_put($1, $2, $3, $4, $5)", 5, values);
    PQclear(r);
    sealed_free(&s);
    return r ? 0 : -1;
}

static int rotate_tenant(const struct cli *c, PGconn *pq, const char *name)
{
    int32_t tenant = db_tenant_named(pq, name);
    struct vault *v = tenant < 0 ? NULL : secrets_open(c, pq, true);
    char key_no[16];
    int done = v && next_key(pq, v, tenant, key_no) == 0 ? 0 : -1, sealed = 0;

    while (done == 0) {
        int n = reseal_some(pq, v, key_no);
        sealed += n;
        if (n <= 0)
            done = n < 0
                       ? -1
                       : forget(pq, "DELETE FROM tenant_key WHERE key_no < $1",
                                key_no);
    }
    if (done > 0)
        printf("tenant %s: %d secrets sealed under key %s\n", name, sealed,
               key_no);
    vault_free(v);
    return done < 0;
}

int cmd_keys_rotate(struct cli *c)
{
    const char *tenant = cli_get(c, keys_rotate_args, "tenant");
    PGconn *pq = db_open(c, DB_SERVER);

    if (!pq)
        return 1;
    if (sodium_init() < 0)
        return cli_fail("no source of random numbers");
    int status = tenant ? rotate_tenant(c, pq, tenant) : rotate_master(c, pq);
    PQfinish(pq);
    return status;
}

int cmd_keys_seal(struct cli *c)
{
    PGconn *pq = db_open(c, DB_SERVER);
    struct vault *v = pq && db_all(pq) == 0 ? secrets_open(c, pq, true) : NULL;
    int n = 0, status = -1;

    if (v && begin(pq))
        status = commit(pq, secrets_seal_passwords(pq, v, &n));
    if (status == 0)
        printf("%d secrets sealed that stood in clear\n", n);
    vault_free(v);
    PQfinish(pq);
    return status < 0;
}
