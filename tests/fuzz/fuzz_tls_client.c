/*
 * What a proxy says of a client's certificate. Claims: no crash; what is
 * believed has a fingerprint of its own, and one certificate told in another
 * way has the same; names are text.
 */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/tls/client.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct tls_client told, again;
    uint8_t hash[32];

    if (tls_client_der(in, &told) == 0) {
        assert(strlen(told.sha256) == TLS_FINGERPRINT - 1);
        assert(!*told.subject || str_utf8(str_of(told.subject)));
    }
    if (tls_client_told(in, &told) < 0)
        return 0;
    assert(hex_decode(str_of(told.sha256), hash, sizeof hash) == 32);
    assert(strlen(told.subject) < sizeof told.subject);
    assert(tls_client_told(str_of(told.sha256), &again) == 0);
    assert(strcmp(told.sha256, again.sha256) == 0);
    return 0;
}
