/*
 * provider.c - see provider.h.
 */
#include "server/oidc/provider.h"
#include "server/base/json.h"
#include "server/oidc/fetch.h"

#include <ctype.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>

static void text64(const uint8_t bytes[32], char ret[OIDC_WORD])
{
    sodium_bin2base64(ret, OIDC_WORD, bytes, 32,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void word(const uint8_t random[32], const char *what,
                 char ret[OIDC_WORD])
{
    uint8_t hash[32];

    crypto_generichash(hash, sizeof hash, (const uint8_t *)what, strlen(what),
                       random, 32);
    text64(hash, ret);
}

void oidc_words(const uint8_t random[32], struct oidc_words *ret)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];

    word(random, "state", ret->state);
    word(random, "nonce", ret->nonce);
    word(random, "verifier", ret->verifier);
    SHA256((const uint8_t *)ret->verifier, strlen(ret->verifier), hash);
    text64(hash, ret->challenge);
}

static void put_field(struct buf *b, const char *name, const char *value)
{
    if (b->n && b->p[b->n - 1] != '?')
        buf_u8(b, '&');
    buf_printf(b, "%s=", name);
    for (; *value; value++)
        if (isalnum((unsigned char)*value) || strchr("-._~", *value))
            buf_u8(b, (uint8_t)*value);
        else
            buf_printf(b, "%%%02X", (unsigned char)*value);
}

/* An object from there; strings with their NUL in the arena. */
static const struct json *ask(struct arena *a, const char *url,
                              const char *form, const char *user,
                              const char *secret, char error[OIDC_ERROR])
{
    struct buf body = {0};
    char why[FETCH_ERROR] = "";
    struct json_error wrong = {0};
    struct json *found = NULL;

    if (!fetch(url, form, user, secret, &body, why)) {
        snprintf(error, OIDC_ERROR, "%.60s: %s", url, why);
    } else if (json_parse(a, arena_str(a, buf_view(&body)),
                          (struct json_limits){8, 5000}, &found, &wrong) < 0 ||
               found->type != JSON_OBJECT) {
        snprintf(error, OIDC_ERROR, "%.60s: no JSON object", url);
        found = NULL;
    }
    buf_done(&body);
    return found;
}

/* OpenID Connect Discovery 1.0, 4.3: the issuer must be who was asked. */
static const struct json *discover(const struct oidc_options *o,
                                   struct arena *a, char error[OIDC_ERROR])
{
    size_t n = strlen(o->issuer);
    bool slash = n > 0 && o->issuer[n - 1] == '/';
    struct str url = arena_printf(a, "%s%s.well-known/openid-configuration",
                                  o->issuer, slash ? "" : "/");
    const struct json *about = ask(a, url.p, NULL, NULL, NULL, error);

    if (about && !str_is(json_str(json_get(about, "issuer")), o->issuer)) {
        snprintf(error, OIDC_ERROR, "it calls itself another issuer");
        return NULL;
    }
    return about;
}

static const char *address(struct arena *a, const struct json *about,
                           const char *name, char error[OIDC_ERROR])
{
    struct str s = json_str(json_get(about, name));

    if (s.n == 0)
        snprintf(error, OIDC_ERROR, "it tells no %s", name);
    return s.n ? arena_str(a, s).p : NULL;
}

bool oidc_begin(const struct oidc_options *o, const struct oidc_words *w,
                bool again, struct buf *url, char error[OIDC_ERROR])
{
    struct arena *a = arena_new(1 << 22);
    const struct json *about = discover(o, a, error);
    const char *to =
        about ? address(a, about, "authorization_endpoint", error) : NULL;
    if (to) {
        buf_printf(url, "%s%s", to, strchr(to, '?') ? "" : "?");
        put_field(url, "response_type", "code");
        put_field(url, "client_id", o->client_id);
        put_field(url, "redirect_uri", o->redirect_uri);
        put_field(url, "scope", "openid email");
        put_field(url, "state", w->state);
        put_field(url, "nonce", w->nonce);
        put_field(url, "code_challenge", w->challenge);
        put_field(url, "code_challenge_method", "S256");
        if (again) {
            put_field(url, "prompt", "login");
            put_field(url, "max_age", "0");
        }
        buf_u8(url, 0);
    }
    arena_free(a);
    return to != NULL;
}

/* Its first line. False: there is a file, and it cannot be read. */
static bool read_secret(const char *path, char secret[256])
{
    FILE *f = *path ? fopen(path, "r") : NULL;
    bool read = f && fgets(secret, 256, f);

    if (f)
        fclose(f);
    secret[read ? strcspn(secret, "\r\n") : 0] = 0;
    return read || !*path;
}

static struct str token_of(const struct oidc_options *o,
                           const struct oidc_words *w, const char *code,
                           const char *to, struct arena *a,
                           char error[OIDC_ERROR])
{
    char secret[256] = "";
    struct buf form = {0};
    const struct json *got = NULL;

    put_field(&form, "grant_type", "authorization_code");
    put_field(&form, "code", code);
    put_field(&form, "redirect_uri", o->redirect_uri);
    put_field(&form, "client_id", o->client_id);
    put_field(&form, "code_verifier", w->verifier);
    buf_u8(&form, 0);
    if (!read_secret(o->secret_file, secret))
        snprintf(error, OIDC_ERROR, "oidc.client_secret_file: cannot be read");
    else
        got = ask(a, to, (char *)form.p, *secret ? o->client_id : NULL, secret,
                  error);
    sodium_memzero(secret, sizeof secret);
    buf_done(&form);
    struct str token = json_str(json_get(got, "id_token"));
    if (got && !token.n)
        snprintf(error, OIDC_ERROR, "it gave no id_token");
    return token;
}

bool oidc_finish(const struct oidc_options *o, const struct oidc_words *w,
                 const char *code, int64_t now_s, struct arena *a,
                 struct token_claims *ret, char error[OIDC_ERROR])
{
    const struct token_expect e = {o->issuer, o->client_id, w->nonce, now_s};
    const struct json *about = discover(o, a, error);
    const char *to = about ? address(a, about, "token_endpoint", error) : NULL;
    const char *keys = to ? address(a, about, "jwks_uri", error) : NULL;
    struct str token =
        keys ? token_of(o, w, code, to, a, error) : (struct str){0};
    struct buf jwks = {0};
    char why[FETCH_ERROR] = "";

    if (!token.n)
        return false;
    if (!fetch(keys, NULL, NULL, NULL, &jwks, why)) {
        snprintf(error, OIDC_ERROR, "%.60s: %s", keys, why);
        buf_done(&jwks);
        return false;
    }
    const char *wrong =
        token_check(a, token, arena_str(a, buf_view(&jwks)), &e, ret);
    if (wrong)
        snprintf(error, OIDC_ERROR, "its token is not believed: %s", wrong);
    buf_done(&jwks);
    return wrong == NULL;
}
