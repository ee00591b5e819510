/*
 * token.c - see token.h: split -> key of its header -> signature -> claims.
 */
#include "server/oidc/token.h"
#include "server/base/json.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sodium.h>

enum { KEYS_TRIED = 20, SKEW_S = 60, RSA_LEAST = 2048, COORDINATE = 32 };

static struct str bytes_of(struct arena *a, struct str base64)
{
    size_t n = 0;
    char *p = arena_alloc(a, base64.n + 1);

    if (!p || !base64.p ||
        sodium_base642bin((uint8_t *)p, base64.n, base64.p, base64.n, NULL, &n,
                          NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return (struct str){0};
    return (struct str){p, n};
}

static const struct json *object_of(struct arena *a, struct str text)
{
    struct json_error why;
    struct json *found = NULL;

    if (!text.p ||
        json_parse(a, text, (struct json_limits){8, 2000}, &found, &why) < 0)
        return NULL;
    return found->type == JSON_OBJECT ? found : NULL;
}

/* ---- keys ---- */

static EVP_PKEY *key_made(const char *kind, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY *key = NULL;

    if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static BIGNUM *number_of(struct str bytes)
{
    return bytes.n && bytes.n <= 1024
               ? BN_bin2bn((const uint8_t *)bytes.p, (int)bytes.n, NULL)
               : NULL;
}

static EVP_PKEY *rsa_key(struct arena *a, const struct json *jwk)
{
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    BIGNUM *n = number_of(bytes_of(a, json_str(json_get(jwk, "n"))));
    BIGNUM *e = number_of(bytes_of(a, json_str(json_get(jwk, "e"))));
    EVP_PKEY *key = NULL;

    if (b && n && e && BN_num_bits(n) >= RSA_LEAST &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e))
        key = key_made("RSA", b);
    OSSL_PARAM_BLD_free(b);
    BN_free(n);
    BN_free(e);
    return key;
}

static EVP_PKEY *ec_key(struct arena *a, const struct json *jwk)
{
    struct str x = bytes_of(a, json_str(json_get(jwk, "x")));
    struct str y = bytes_of(a, json_str(json_get(jwk, "y")));
    uint8_t point[1 + 2 * COORDINATE] = {4}; /* not compressed */
    EVP_PKEY *key = NULL;

    if (!str_is(json_str(json_get(jwk, "crv")), "P-256") || x.n != COORDINATE ||
        y.n != COORDINATE)
        return NULL;
    memcpy(point + 1, x.p, COORDINATE);
    memcpy(point + 1 + COORDINATE, y.p, COORDINATE);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    if (b &&
        OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME,
                                        "prime256v1", 0) &&
        OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         sizeof point))
        key = key_made("EC", b);
    OSSL_PARAM_BLD_free(b);
    return key;
}

/* ---- signatures ---- */

/* ES256 carries r and s as they are (RFC 7518 3.4); OpenSSL wants DER. */
static struct str der_of(struct arena *a, struct str raw)
{
    const uint8_t *p = (const uint8_t *)raw.p;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, COORDINATE, NULL);
    BIGNUM *s = BN_bin2bn(p + COORDINATE, COORDINATE, NULL);
    struct str der = {0};

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s)) {
        int n = i2d_ECDSA_SIG(sig, NULL);
        uint8_t *out = n > 0 ? arena_alloc(a, (size_t)n) : NULL;
        der = (struct str){(char *)out, out ? (size_t)n : 0};
        if (out)
            i2d_ECDSA_SIG(sig, &out);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return der;
}

static bool signed_with(EVP_PKEY *key, struct str text, struct str signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && key && signature.n &&
                EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(ctx, (const uint8_t *)signature.p, signature.n,
                                 (const uint8_t *)text.p, text.n) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* The key's kind says how it signs, not the token. */
static bool signed_by(struct arena *a, const struct json *jwk, bool rsa,
                      struct str text, struct str signature)
{
    struct str kind = json_str(json_get(jwk, "kty"));
    EVP_PKEY *key = NULL;

    if (str_is(json_str(json_get(jwk, "use")), "enc") ||
        !str_is(kind, rsa ? "RSA" : "EC") ||
        (!rsa && signature.n != 2 * COORDINATE))
        return false;
    key = rsa ? rsa_key(a, jwk) : ec_key(a, jwk);
    bool good = signed_with(key, text, rsa ? signature : der_of(a, signature));
    EVP_PKEY_free(key);
    return good;
}

static bool signature_good(struct arena *a, const struct json *header,
                           struct str jwks, struct str text,
                           struct str signature)
{
    struct str alg = json_str(json_get(header, "alg"));
    struct str kid = json_str(json_get(header, "kid"));
    bool rsa = str_is(alg, "RS256");
    int tried = 0;

    if (!rsa && !str_is(alg, "ES256"))
        return false;
    json_each (jwk, json_get(object_of(a, jwks), "keys")) {
        struct str id = json_str(json_get(jwk, "kid"));
        bool other =
            kid.p && id.p && (kid.n != id.n || memcmp(kid.p, id.p, id.n) != 0);
        if (jwk->type != JSON_OBJECT || other || ++tried > KEYS_TRIED)
            continue;
        if (signed_by(a, jwk, rsa, text, signature))
            return true;
    }
    return false;
}

/* ---- claims ---- */

static bool meant_for(const struct json *claims, const char *client_id)
{
    const struct json *aud = json_get(claims, "aud");
    const struct json *azp = json_get(claims, "azp");
    bool found = str_is(json_str(aud), client_id);

    if (aud && aud->type == JSON_ARRAY)
        json_each (one, aud)
            found |= str_is(json_str(one), client_id);
    return found && (!azp || str_is(json_str(azp), client_id));
}

static const char *claims_wrong(const struct json *claims,
                                const struct token_expect *e)
{
    int64_t until = 0, since = 0;

    if (!str_is(json_str(json_get(claims, "iss")), e->issuer))
        return "it is of another issuer";
    if (!meant_for(claims, e->client_id))
        return "it is meant for somebody else";
    if (!json_int(json_get(claims, "exp"), &until) || until + SKEW_S < e->now_s)
        return "it has expired";
    if (!json_int(json_get(claims, "iat"), &since) || since - SKEW_S > e->now_s)
        return "it is from the future";
    if (!str_is(json_str(json_get(claims, "nonce")), e->nonce))
        return "it answers another request";
    if (json_str(json_get(claims, "sub")).n == 0 ||
        json_str(json_get(claims, "sub")).n > 255)
        return "it names nobody";
    return NULL;
}

const char *token_check(struct arena *a, struct str token, struct str jwks,
                        const struct token_expect *e, struct token_claims *ret)
{
    const char *first = token.n ? memchr(token.p, '.', token.n) : NULL;
    const char *end = token.p + token.n;
    const char *second =
        first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;

    *ret = (struct token_claims){0};
    if (!second)
        return "it is no signed token";
    struct str text = {token.p, (size_t)(second - token.p)};
    const struct json *header = object_of(
        a, bytes_of(a, (struct str){token.p, (size_t)(first - token.p)}));
    const struct json *claims = object_of(
        a, bytes_of(a, (struct str){first + 1, (size_t)(second - first - 1)}));
    struct str signature =
        bytes_of(a, (struct str){second + 1, (size_t)(end - second - 1)});
    if (!header || !claims)
        return "it is no signed token";
    if (json_get(header, "crit") ||
        !signature_good(a, header, jwks, text, signature))
        return "none of the provider's keys has signed it";
    const char *why = claims_wrong(claims, e);
    if (why)
        return why;
    ret->subject = json_str(json_get(claims, "sub"));
    if (json_bool(json_get(claims, "email_verified"), false))
        ret->email = json_str(json_get(claims, "email"));
    json_int(json_get(claims, "auth_time"), &ret->auth_s);
    ret->amr = json_get(claims, "amr");
    ret->acr = json_str(json_get(claims, "acr"));
    return NULL;
}

static bool says_word(const struct token_claims *t, struct str word)
{
    struct str said;

    if (word.n == 0)
        return false;
    for (uint32_t i = 0; (said = json_str(json_at(t->amr, i))).p; i++)
        if (str_eq(said, word))
            return true;
    return t->acr.p && str_eq(t->acr, word);
}

bool token_says(const struct token_claims *t, const char *words)
{
    struct str rest = str_of(words);

    while (rest.n) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;

        if (says_word(t, str_trim((struct str){rest.p, n})))
            return true;
        n += comma != NULL;
        rest = (struct str){rest.p + n, rest.n - n};
    }
    return false;
}
