/*
 * fuzz_vault_passports.c - rows of passports, whatever they hold: what goes on
 * is JSON again, and no key is in it.
 */
#include "server/vault/passport_rows.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(1 << 24);
    struct passport_rows rows = {0};
    struct json *list, *again;
    struct json_error why;
    struct str text = {(const char *)data, size};

    if (json_parse(a, text, (struct json_limits){4, 10000}, &list, &why) == 0) {
        json_each (row, list)
            passport_rows_add(&rows, row, 0);
        struct str json = str_of(passport_rows_json(&rows));
        int err =
            json_parse(a, json, (struct json_limits){8, 1 << 20}, &again, &why);
        assert(err == 0 && again->count == (uint32_t)rows.n_rows);
        json_each (row, again)
            for (const char *const *name =
                     (const char *const[]){"appkey", "appskey",
                                           "encryption_key",
                                           "authentication_key", NULL};
                 *name; name++)
                assert(!json_get(row, *name));
        for (int i = 0; i < rows.n_keys; i++)
            assert(rows.keys[i].row < rows.n_rows &&
                   rows.keys[i].purpose < KEY_PURPOSES);
    }
    passport_rows_done(&rows);
    arena_free(a);
    return 0;
}
