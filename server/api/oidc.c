/*
 * oidc.c - signing in through an identity provider (OpenID Connect, the code
 * flow with PKCE). What ties the answer to the browser is made from a random
 * number that only the browser keeps, in a cookie.
 *   GET start    -> (pool) begun -> 302 to the provider
 *   GET callback -> (pool) proven -> oidc_login -> a session, 302 to /
 * Only accounts that exist: matched by the verified email the first time, by
 * issuer and subject from then on. A second factor that is needed, and that the
 * provider does not vouch for (oidc.second_factor), is asked for afterwards:
 * POST /api/v1/session/factor.
 */
#include "server/api/call.h"
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/loop/loop.h"
#include "server/oidc/provider.h"

#include <sodium.h>
#include <stdio.h>

enum { RANDOM = 32, AT_ONCE = 8, ARENA_MOST = 4 << 20, CONFIRM_S = 300 };

/* Of the loop thread. */
static int running;

struct passage {
    struct call *call;
    const struct oidc_options *options;
    struct oidc_words words;
    struct arena *arena; /* of the pool thread */
    const char *code;
    int64_t now_s;
    bool again, good;
    struct buf url;
    struct token_claims claims;
    char error[OIDC_ERROR];
    char cookie[2 * TOKEN_HASH + 1];
};

/* NULL after the client was told why not. */
static struct passage *passage_new(struct call *c)
{
    const struct oidc_options *o = c->api->deps.oidc;
    struct passage *p;

    if (!*o->issuer) {
        http_problem(c->r, 404, NULL,
                     "There is no identity provider here (oidc.issuer).");
        return NULL;
    }
    if (running >= AT_ONCE) {
        http_set_header(c->r, "Retry-After", "5");
        http_problem(c->r, 429, NULL,
                     "Too many people sign in at this moment.");
        return NULL;
    }
    p = arena_alloc(http_arena(c->r), sizeof *p);
    p->call = c;
    p->options = o;
    return p;
}

static void unreachable(struct passage *p)
{
    log_warning("sign-in through the provider failed", "issuer=%s error=\"%s\"",
                p->options->issuer, p->error);
    http_problem(p->call->r, 403, NULL,
                 "The identity provider did not say who this is.");
}

static void keep_random(struct call *c, const char *hex, int seconds)
{
    struct str cookie =
        arena_printf(http_arena(c->r),
                     "headend_oidc=%s; Path=/api/v1/oidc; HttpOnly; Secure; "
                     "SameSite=Lax; Max-Age=%d",
                     hex, seconds);

    http_set_header(c->r, "Set-Cookie", cookie.p);
}

/* ---- to the provider ---- */

static int begin_work(void *arg)
{
    struct passage *p = arg;

    p->good = oidc_begin(p->options, &p->words, p->again, &p->url, p->error);
    return 0;
}

static void begun(void *arg, int result)
{
    struct passage *p = arg;
    struct call *c = p->call;

    (void)result;
    running--;
    if (p->good) {
        keep_random(c, p->cookie, 600);
        http_set_header(c->r, "Location", (char *)p->url.p);
        http_reply(c->r, 302, NULL, (struct str){0});
    } else {
        unreachable(p);
    }
    buf_done(&p->url);
}

static void oidc_start(struct call *c)
{
    struct passage *p = passage_new(c);
    uint8_t random[RANDOM];

    if (!p)
        return;
    randombytes_buf(random, sizeof random);
    hex_encode(random, sizeof random, p->cookie);
    oidc_words(random, &p->words);
    p->again = c->values[0] && strcmp(c->values[0], "true") == 0;
    running++;
    offload(c->api->deps.loop, begin_work, begun, p);
}

/* ---- and back ---- */

static void session_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->found = arena_str(http_arena(c->r), column_str(res, row, 0));
}

static void signed_in(void *arg, const struct pg_outcome *o)
{
    struct passage *p = arg;
    struct call *c = p->call;

    if (o->err < 0) {
        call_failed(c, o->err, o);
    } else if (c->found.n == 0) {
        http_problem(c->r, 403, NULL,
                     "No account here belongs to this person, or it is "
                     "disabled; the tenant's admin adds it.");
    } else {
        struct str cookie = arena_printf(
            http_arena(c->r),
            "headend_session=%s; Path=/; HttpOnly; Secure; SameSite=Strict",
            p->cookie);
        http_set_header(c->r, "Set-Cookie", cookie.p);
        http_set_header(c->r, "Location", "/");
        http_reply(c->r, 302, NULL, (struct str){0});
    }
}

static void found_row(void *arg, const PGresult *res, int row)
{
    struct passage *p = arg;

    session_row(p->call, res, row);
}

static void new_session(struct passage *p)
{
    struct call *c = p->call;
    uint8_t random[RANDOM], hash[TOKEN_HASH];
    char hex[2 * TOKEN_HASH + 1];
    struct str agent = http_header(c->r, "User-Agent");
    struct arena *a = http_arena(c->r);
    bool fresh = p->claims.auth_s > p->now_s - CONFIRM_S &&
                 p->claims.auth_s <= p->now_s + 60;
    bool factor = token_says(&p->claims, p->options->second_factor);
    const char *values[] = {p->options->issuer,
                            arena_str(a, p->claims.subject).p,
                            p->claims.email.n ? arena_str(a, p->claims.email).p
                                              : NULL,
                            hex,
                            c->address,
                            str_utf8(agent) ? agent.p : "",
                            fresh ? "true" : "false",
                            factor ? "true" : "false"};

    randombytes_buf(random, sizeof random);
    hex_encode(random, sizeof random, p->cookie);
    crypto_generichash(hash, sizeof hash, (uint8_t *)p->cookie,
                       strlen(p->cookie), NULL, 0);
    hex_encode(hash, sizeof hash, hex);
    call_ask(c,
             "SELECT oidc_login($1, $2, $3, $4, $5, $6, $7::boolean,"
             " $8::boolean)",
             8, values, found_row, signed_in, p);
}

static int finish_work(void *arg)
{
    struct passage *p = arg;

    p->arena = arena_new(ARENA_MOST);
    p->good = oidc_finish(p->options, &p->words, p->code, p->now_s, p->arena,
                          &p->claims, p->error);
    return 0;
}

static void proven(void *arg, int result)
{
    struct passage *p = arg;

    (void)result;
    running--;
    if (p->good)
        new_session(p);
    else
        unreachable(p);
    arena_free(p->arena);
}

/* The browser that was sent away, by the cookie that it alone has. */
static bool same_browser(struct passage *p, const char *state)
{
    struct str hex = call_cookie(p->call, "headend_oidc=");
    uint8_t random[RANDOM];

    if (!state || hex.n != 2 * RANDOM ||
        hex_decode(hex, random, sizeof random) != RANDOM)
        return false;
    oidc_words(random, &p->words);
    return strlen(state) == strlen(p->words.state) &&
           sodium_memcmp(state, p->words.state, strlen(state)) == 0;
}

static void oidc_callback(struct call *c)
{
    const char *state = c->values[0], *code = c->values[1];
    const char *error = c->values[2], *iss = c->values[3];
    struct passage *p = passage_new(c);

    if (!p)
        return;
    if (!same_browser(p, state)) {
        http_problem(c->r, 403, "state",
                     "This sign-in did not begin in this browser, or it is "
                     "too long ago.");
    } else if (error || !code) {
        http_problem(c->r, 403, "error", "The identity provider refused.");
    } else if (iss && strcmp(iss, p->options->issuer) != 0) {
        http_problem(c->r, 403, "iss", "Another provider answered.");
    } else {
        p->code = code;
        p->now_s = clock_utc(c->api->deps.clock) / US_PER_S;
        running++;
        offload(c->api->deps.loop, finish_work, proven, p);
    }
}

static void oidc_about(struct call *c)
{
    const struct oidc_options *o = c->api->deps.oidc;
    struct buf *b = &c->api->scratch;

    buf_clear(b);
    buf_z(b, "{\"name\":");
    if (*o->issuer)
        buf_json_str(b, str_of(o->name));
    else
        buf_z(b, "null");
    buf_u8(b, '}');
    call_answer(c, buf_view(b));
}

/* ---- the rows ---- */

#define TAKEN(what)                                                            \
    {                                                                          \
        what, IN_QUERY, FIELD_TEXT, .max = 2000,                               \
                                    .help = "As the provider says it."         \
    }
static const struct field start_fields[] = {
    {"again", IN_QUERY, FIELD_BOOL,
     .help = "Who it is must be proven anew; critical acts are open then."},
    {0}};
static const struct field callback_fields[] = {TAKEN("state"),
                                               TAKEN("code"),
                                               TAKEN("error"),
                                               TAKEN("iss"),
                                               TAKEN("error_description"),
                                               TAKEN("error_uri"),
                                               TAKEN("session_state"),
                                               TAKEN("scope"),
                                               TAKEN("authuser"),
                                               TAKEN("prompt"),
                                               TAKEN("hd"),
                                               {0}};

const struct endpoint oidc_endpoints[] = {
    {"GET", "/api/v1/oidc", 0, ENDPOINT_PUBLIC, "oidc_about",
     "The identity provider's name for people; null where there is none.",
     .serve = oidc_about, .answer = "oidc"},
    {"GET", "/api/v1/oidc/start", 0, ENDPOINT_PUBLIC, "oidc_start",
     "Sends the browser to the identity provider.", start_fields,
     .serve = oidc_start, .status = 302},
    {"GET", "/api/v1/oidc/callback", 0, ENDPOINT_PUBLIC, "oidc_callback",
     "Where the provider sends it back to; signs in.", callback_fields,
     .serve = oidc_callback, .status = 302},
    {0}};
