/*
 * fuzz_oidc_token.c - an ID token and a provider's keys, with a line's end
 * between: nothing that was not signed by a key is believed.
 */
#include "server/oidc/token.h"
#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct token_expect e = {"https://login.example", "headend", "nonce",
                                   1700000000};
    struct arena *a = arena_new(1 << 22);
    struct str all = arena_str(a, (struct str){(const char *)data, size});
    const char *end = all.n ? memchr(all.p, '\n', all.n) : NULL;
    size_t n = end ? (size_t)(end - all.p) : all.n;
    struct token_claims claims;

    if (all.p) {
        struct str keys = {all.p + n, all.n - n};
        const char *why =
            token_check(a, (struct str){all.p, n}, keys, &e, &claims);
        assert(why || claims.subject.n > 0);
    }
    arena_free(a);
    return 0;
}
