/*
 * provider.h - the identity provider: where a browser is sent, and what its
 * code is worth. Both block: for a pool thread.
 */
#pragma once

#include "server/base/buf.h"
#include "server/oidc/token.h"

struct oidc_options {
    const char *issuer;                  /* "": none */
    const char *client_id, *secret_file; /* "": a client without a secret */
    const char *name;                    /* for people */
    const char *redirect_uri;
    const char *second_factor; /* what its tokens say (amr, acr) when it has
                                  asked for one; "": nothing counts */
};

enum { OIDC_WORD = 44, OIDC_ERROR = 400 };

/* What ties the parts of one sign-in together, all from one random number that
 * the browser keeps. Base64url, no padding. */
struct oidc_words {
    char state[OIDC_WORD], nonce[OIDC_WORD], verifier[OIDC_WORD],
        challenge[OIDC_WORD];
};
void oidc_words(const uint8_t random[32], struct oidc_words *ret);

/* The address to send the browser to, in `url`. `again`: the person must prove
 * anew who it is. False with `error`. */
bool oidc_begin(const struct oidc_options *o, const struct oidc_words *w,
                bool again, struct buf *url, char error[OIDC_ERROR]);
/* The code for who it is. False with `error`. */
bool oidc_finish(const struct oidc_options *o, const struct oidc_words *w,
                 const char *code, int64_t now_s, struct arena *a,
                 struct token_claims *ret, char error[OIDC_ERROR]);
