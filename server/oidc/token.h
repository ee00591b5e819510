/*
 * token.h - ID tokens (OpenID Connect Core 1.0, 3.1.3.7; RFC 7515, 7517, 7518).
 * Any thread.
 */
#pragma once

#include "server/base/arena.h"
#include "server/base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct token_expect {
    const char *issuer, *client_id, *nonce;
    int64_t now_s;
};

/* Slices live in the arena. */
struct token_claims {
    struct str subject, email; /* email: {NULL, 0} if not verified */
    int64_t auth_s;            /* when the person proved it; 0: not told */
    const struct json *amr;    /* how: an array of words, or NULL */
    struct str acr;            /* the class of it, or {NULL, 0} */
};

/* Does it say one of `words` (comma-separated) in amr or as acr? */
bool token_says(const struct token_claims *t, const char *words);

/* NULL, or why it is not believed, for people. `jwks`: the provider's keys. */
const char *token_check(struct arena *a, struct str token, struct str jwks,
                        const struct token_expect *e, struct token_claims *ret);
