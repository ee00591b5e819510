/*
 * secret.h - inside of the room: the vault, for endpoints that seal or open.
 * What is sealed goes to SQL as key_no, secret, master, tenant_key, check.
 */
#pragma once

#include "server/api/call.h"
#include "server/vault/vault.h"

struct sealed_text {
    struct sealed s;
    char key_no[16];
};

/* False after the client was told why not; else end it with sealed_free. */
bool secret_seal(struct call *c, const struct secret_name *n, struct str clear,
                 struct sealed_text *ret);
/* Tells the client why vault_seal failed. */
void secret_unsealed(struct call *c, const struct secret_name *n, int err);
/* `sealed` is PostgreSQL's \x text. As vault_open. */
int secret_open(struct call *c, const struct secret_name *n, int32_t key_no,
                struct str sealed, uint8_t *out, size_t cap);
/* Tells the client of what secret_open gave, and the log. */
void secret_failed(struct call *c, const struct secret_name *n, int err);
