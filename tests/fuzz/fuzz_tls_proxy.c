/*
 * The header of a load balancer. Claims: no crash; a header never grows when
 * bytes follow it, and no part of it is a whole one; the peer is text.
 */
#include "server/base/err.h"
#include "server/tls/proxy.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct proxy found, part;
    int n = proxy_parse(in, &found);

    assert(n == ERR_FORMAT || (n >= 0 && (size_t)n <= size));
    assert(n == 0 || n == ERR_FORMAT || (n >= 16 && n <= PROXY_HEADER_MAX));
    assert(strlen(found.peer) < sizeof found.peer);
    if (n <= 0)
        return 0;
    assert(proxy_parse((struct str){in.p, (size_t)n}, &part) == n);
    assert(proxy_parse((struct str){in.p, (size_t)n - 1}, &part) == 0);
    return 0;
}
