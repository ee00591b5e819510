/*
 * secrets.c - see secrets.h.
 */
#include "server/cli/secrets.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

int secrets_bytea(const PGresult *r, int row, int column, uint8_t *out,
                  size_t cap)
{
    struct str hex = str_of(PQgetvalue(r, row, column));

    return hex.n < 2 ? -1
                     : hex_decode((struct str){hex.p + 2, hex.n - 2}, out, cap);
}

static int put_tenant_key(struct vault *v, const PGresult *r, int row)
{
    uint8_t sealed[VAULT_KEY + SEAL_EXTRA];
    int n = secrets_bytea(r, row, 3, sealed, sizeof sealed);

    return n < 0 ? n
                 : vault_put_tenant_key(
                       v, atoi(PQgetvalue(r, row, 0)),
                       atoi(PQgetvalue(r, row, 1)), PQgetvalue(r, row, 2),
                       (struct str){(const char *)sealed, (size_t)n});
}

int secrets_read(const struct cli *c, PGconn *pq, struct vault *v)
{
    PGresult *r = db_query(pq,
                           "SELECT tenant_id, key_no, master, sealed"
                           " FROM tenant_key ORDER BY tenant_id, key_no",
                           0, NULL);
    int status = r ? 0 : -1;

    vault_clear(v);
    for (int i = 0; status == 0 && i < PQntuples(r); i++) {
        int err = vault_ready(v) ? put_tenant_key(v, r, i) : 0;
        if (err < 0) {
            cli_fail("tenant %s: its key is under master key %s, %s",
                     PQgetvalue(r, i, 0), PQgetvalue(r, i, 2),
                     err == ERR_UNKNOWN ? "which is not here"
                                        : "and does not open with it");
            cli_fail("name the file that holds it with --keys.master_file (it "
                     "is %s)",
                     c->settings.keys_master_file);
            status = -1;
        }
    }
    PQclear(r);
    return status;
}

struct vault *secrets_vault(const struct settings *s, bool must)
{
    char error[MASTER_ERROR] = "libsodium cannot start";
    struct masters *m = NULL;
    int err = sodium_init() < 0 ? ERR_UNSUPPORTED : 0;

    if (err == 0) {
        m = masters_new();
        err = masters_load(m, s->keys_master_file, error);
    }
    if (err == 0 || (err == ERR_UNKNOWN && !must)) {
        struct vault *v = vault_new();
        vault_masters(v, m);
        return v;
    }
    masters_free(m);
    if (err == ERR_UNKNOWN)
        cli_fail("no master key in %s: make one with `headend keys init`",
                 s->keys_master_file);
    else
        cli_fail("%s", error);
    return NULL;
}

struct vault *secrets_open(const struct cli *c, PGconn *pq, bool must)
{
    struct vault *v = secrets_vault(&c->settings, must);

    if (v && secrets_read(c, pq, v) == 0)
        return v;
    vault_free(v);
    return NULL;
}

int secrets_put(PGconn *pq, struct vault *v, const struct secret_name *n,
                struct str clear)
{
    struct sealed s = {0};
    char tenant[16], row[24], key_no[16];
    int err = vault_seal(v, n, clear, &s);

    if (err < 0) {
        cli_fail("%s.%s cannot be sealed: %s", n->owner, n->name,
                 err == ERR_UNKNOWN ? "no master key; make one with `headend "
                                      "keys init`"
                                    : err_text(err));
        return -1;
    }
    snprintf(tenant, sizeof tenant, "%d", n->tenant_id);
    snprintf(row, sizeof row, "%lld", (long long)n->row);
    snprintf(key_no, sizeof key_no, "%d", s.key_no);
    const char *values[9] = {tenant,   n->owner, row,          n->name, key_no,
                             s.secret, s.master, s.tenant_key, s.check};
    PGresult *r = db_query(
        pq, "SELECT secret_put($1, $2, $3, $4, $5, $6, $7, $8, $9)", 9, values);
    sealed_free(&s);
    PQclear(r);
    return r ? 0 : -1;
}

int secrets_take(const struct vault *v, const struct secret_name *n,
                 const PGresult *r, int row, int key_no, int sealed,
                 uint8_t *out, size_t cap, const char *what)
{
    uint8_t bytes[SECRET_MAX + SEAL_EXTRA];
    int size = secrets_bytea(r, row, sealed, bytes, sizeof bytes);
    int got = size < 0 ? size
                       : vault_open(v, n, atoi(PQgetvalue(r, row, key_no)),
                                    (struct str){(char *)bytes, (size_t)size},
                                    out, cap);

    if (got < 0)
        cli_fail("%s %lld of tenant %d does not open: %s", what,
                 (long long)n->row, n->tenant_id,
                 got == ERR_UNKNOWN
                     ? "the key of its tenant is not here"
                     : "sealed under another key, or for another row");
    return got;
}

int secrets_seal_passwords(PGconn *pq, struct vault *v, int *n)
{
    PGresult *r = db_query(pq,
                           "SELECT tenant_id, integration_id, password"
                           " FROM integration WHERE password IS NOT NULL"
                           " ORDER BY 1, 2 FOR UPDATE",
                           0, NULL);
    int status = r ? 0 : -1;

    *n = 0;
    for (int i = 0; status == 0 && i < PQntuples(r); i++) {
        struct secret_name name = {atoi(PQgetvalue(r, i, 0)), "integration",
                                   atoll(PQgetvalue(r, i, 1)), "password"};
        const char *values[2] = {PQgetvalue(r, i, 0), PQgetvalue(r, i, 1)};
        status = secrets_put(pq, v, &name, str_of(PQgetvalue(r, i, 2)));
        PGresult *u = status == 0 ? db_query(pq,
                                             "UPDATE integration SET password ="
                                             " NULL WHERE tenant_id = $1 AND"
                                             " integration_id = $2",
                                             2, values)
                                  : NULL;
        status = u ? 0 : -1;
        *n += u != NULL;
        PQclear(u);
    }
    PQclear(r);
    return status;
}
