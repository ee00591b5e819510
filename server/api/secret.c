/*
 * secret.c - see secret.h.
 */
#include "server/api/secret.h"
#include "server/base/hex.h"
#include "server/base/log.h"

#include <stdio.h>

bool secret_seal(struct call *c, const struct secret_name *n, struct str clear,
                 struct sealed_text *ret)
{
    int err = vault_seal(c->api->deps.vault, n, clear, &ret->s);

    if (err == 0)
        snprintf(ret->key_no, sizeof ret->key_no, "%d", ret->s.key_no);
    else
        secret_unsealed(c, n, err);
    return err == 0;
}

void secret_unsealed(struct call *c, const struct secret_name *n, int err)
{
    if (err == ERR_UNKNOWN) {
        c->api->deps.keys_wanted(c->api->deps.arg);
        http_problem(c->r, 409, NULL,
                     "The server has no master key to seal secrets with: its "
                     "operator makes one with `headend keys init`; then try "
                     "again.");
    } else {
        http_problem(c->r, 422, n->name, "It cannot be sealed: %s.",
                     err_text(err));
    }
}

int secret_open(struct call *c, const struct secret_name *n, int32_t key_no,
                struct str sealed, uint8_t *out, size_t cap)
{
    uint8_t bytes[SECRET_MAX + SEAL_EXTRA];
    int size = sealed.n < 2
                   ? ERR_DAMAGED
                   : hex_decode((struct str){sealed.p + 2, sealed.n - 2}, bytes,
                                sizeof bytes);

    return size < 0
               ? size
               : vault_open(c->api->deps.vault, n, key_no,
                            (struct str){(const char *)bytes, (size_t)size},
                            out, cap);
}

void secret_failed(struct call *c, const struct secret_name *n, int err)
{
    log_error("secret does not open",
              "tenant=%d owner=%s row=%lld name=%s"
              " err=%s",
              n->tenant_id, n->owner, (long long)n->row, n->name,
              err_name(err));
    c->api->deps.keys_wanted(c->api->deps.arg);
    http_set_header(c->r, "Retry-After", "60");
    http_problem(c->r, 503, NULL,
                 "A secret cannot be opened: the server's master key is "
                 "missing, or another one.");
}
