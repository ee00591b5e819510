/*
 * fuzz_vault_master.c - the master key's file, whatever it holds: keys or an
 * error, never more than fit.
 */
#include "server/vault/master.h"
#include <assert.h>
#include <sodium.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct masters *m;
    char error[MASTER_ERROR];

    if (!m && (sodium_init() < 0 || !(m = masters_new())))
        return 0;
    m->n = 0;
    int r = masters_parse(m, (struct str){(const char *)data, size}, error);
    assert(m->n <= MASTER_KEYS && (r < 0 || m->n > 0));
    return 0;
}
