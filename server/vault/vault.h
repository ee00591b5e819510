/*
 * vault.h - secrets at rest. Each is sealed under a key of its tenant, and that
 * one under a master key; a tenant whose keys are deleted is forgotten, backups
 * included. Holds the keys in memory that is neither swapped nor dumped.
 *
 * In SQL: `tenant_key` and `secret` (migrations/0006_keys.sql). One thread at a
 * time; the server's belongs to the loop thread.
 */
#pragma once

#include "server/vault/master.h"

struct vault; /* opaque */

enum { SECRET_MAX = 4096, KEY_CHECK = 16 };

/* Whose and what; bound to the sealed bytes. `owner` is a table, `row` the id
 * of its row, `name` a column: {1, "integration", 7, "password"}. */
struct secret_name {
    int32_t tenant_id;
    const char *owner;
    int64_t row;
    const char *name;
};

/* What goes into the database: the secret, and the tenant's key under which it
 * is (new, where the tenant had none). Text for PostgreSQL: bytea as \x... */
struct sealed {
    int32_t key_no;
    char master[MASTER_NAME];
    char check[2 + 2 * KEY_CHECK + 1]; /* tells tenant keys apart */
    char *tenant_key;                  /* heap; sealed_free */
    char *secret;
};

struct vault *vault_new(void);
void vault_free(struct vault *v); /* NULL is fine */

/* Takes m over (it may hold no key) and forgets the masters before. */
void vault_masters(struct vault *v, struct masters *m);
bool vault_ready(const struct vault *v); /* has a master key: can seal */

/* A row of tenant_key. ERR_UNKNOWN: under a master key that is not here;
 * ERR_DAMAGED. */
int vault_put_tenant_key(struct vault *v, int32_t tenant_id, int32_t key_no,
                         const char *master, struct str sealed);
/* Forgets the keys of all tenants, before they are put anew. */
void vault_clear(struct vault *v);

/* Under the tenant's newest key, made if there is none: SQL is
 * SELECT secret_put($1 tenant, $2 owner, $3 row, $4 name, $5 key_no, $6 secret,
 * $7 master, $8 tenant_key, $9 check). ERR_UNKNOWN: no master key; ERR_RANGE:
 * longer than SECRET_MAX. */
int vault_seal(struct vault *v, const struct secret_name *n, struct str clear,
               struct sealed *ret);
void sealed_free(struct sealed *s);
/* The clear bytes' count. ERR_UNKNOWN: the tenant's key is not here (master key
 * missing, or a newer key than was read); else as seal_open. */
int vault_open(const struct vault *v, const struct secret_name *n,
               int32_t key_no, struct str sealed, uint8_t *out, size_t cap);

/* A further key for the tenant, which seals from now on; its row is what
 * tenant_key takes. ERR_UNKNOWN: no master key. */
int vault_renew(struct vault *v, int32_t tenant_id, struct sealed *ret);
/* The same tenant key under the first master key: only ->master and
 * ->tenant_key. ERR_UNKNOWN. */
int vault_reseal(struct vault *v, int32_t tenant_id, int32_t key_no,
                 struct sealed *ret);
