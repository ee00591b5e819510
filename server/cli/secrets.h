/*
 * secrets.h - sealing and opening for the subcommands: the vault of one
 * connection, filled from keys.master_file and the tenants in its scope.
 */
#pragma once

#include "server/cli/db.h"
#include "server/vault/vault.h"

/* NULL after telling why; with `must`, no master key is a reason. The tenants'
 * keys that pq may see are in it. */
struct vault *secrets_open(const struct cli *c, PGconn *pq, bool must);
/* The same without database and tenants. */
struct vault *secrets_vault(const struct settings *s, bool must);
/* Reads them again. -1 after telling why. */
int secrets_read(const struct cli *c, PGconn *pq, struct vault *v);
/* Stores one, in the transaction under way. -1 after telling why. */
int secrets_put(PGconn *pq, struct vault *v, const struct secret_name *n,
                struct str clear);
/* PostgreSQL's \x text in `out`; its length. -1: more than cap. */
int secrets_bytea(const PGresult *r, int row, int column, uint8_t *out,
                  size_t cap);
/* Opens what a row holds. -1 after telling why, with `what`. */
int secrets_take(const struct vault *v, const struct secret_name *n,
                 const PGresult *r, int row, int key_no, int sealed,
                 uint8_t *out, size_t cap, const char *what);
/* Every password that an earlier version left in clear; how many in *n. */
int secrets_seal_passwords(PGconn *pq, struct vault *v, int *n);
