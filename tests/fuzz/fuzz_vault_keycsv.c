/*
 * fuzz_vault_keycsv.c - a file of meter keys, whatever its lines hold: what is
 * taken is in bounds, what is not says why.
 */
#include "server/vault/key_csv.h"
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *rest = text, *line;
    struct csv c;
    bool first = true;

    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    while ((line = strsep(&rest, "\n"))) {
        char error[KEY_ERROR] = "";
        const char *meter = NULL;
        struct meter_key k;
        int r = first ? key_csv_header(&c, line, error)
                      : key_csv_row(&c, line, &k, &meter, error);
        assert((r < 0) == (*error != 0));
        if (r < 0 && first)
            break;
        if (r == 0 && !first)
            assert(k.purpose < KEY_PURPOSES && k.device_type >= -1 &&
                   k.version <= 255 && strlen(k.address) <= KEY_ADDRESS_MAX);
        first = false;
    }
    free(text);
    return 0;
}
