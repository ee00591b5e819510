/*
 * auth.c - whose token is it? auth_call -> (cache, or auth_look -> auth_found)
 * -> serve. The token itself is never kept nor sent on: only its BLAKE2b-256.
 * A token that is taken back works for at most cache_us longer.
 */
#include "server/api/call.h"
#include "server/base/hex.h"
#include "server/base/log.h"

#include <sodium.h>
#include <strings.h>

static const int64_t cache_us = 5 * US_PER_S;

static void serve(struct call *c)
{
    struct str odd = http_query_unknown(c->r, c->endpoint->query);
    struct buf known = {0};

    if (!odd.p) {
        c->endpoint->serve(c);
        return;
    }
    for (const char *const *q = c->endpoint->query; *q; q++)
        buf_printf(&known, "%s%s", known.n ? ", " : "", *q);
    http_problem(c->r, 400, odd.p,
                 "There is no parameter of this name here; known: %.*s.",
                 known.n ? (int)known.n : 4,
                 known.n ? (const char *)known.p : "none");
    buf_done(&known);
}

static void refuse(struct call *c, const char *challenge, const char *why)
{
    static struct log_limit limit;
    struct str peer = http_peer(c->r);
    int lines = log_allowed(&limit);

    if (lines)
        log_warning("api token refused", "peer=%.*s times=%d", STR_ARGS(peer),
                    lines);
    http_set_header(c->r, "WWW-Authenticate", challenge);
    http_problem(c->r, 401, NULL, "%s", why);
}

static struct auth_slot *slot_of(struct call *c)
{
    size_t i = (size_t)c->hash[0] << 8 | c->hash[1];

    return &c->api->slots[i % AUTH_SLOTS];
}

static void auth_row(void *arg, const PGresult *res, int row)
{
    struct call *c = arg;

    c->tenant_id = (int32_t)column_int(res, row, 0, 0);
}

static void auth_found(void *arg, const struct pg_outcome *o)
{
    struct call *c = arg;

    if (o->err < 0) {
        call_failed(c, o->err, o);
        return;
    }
    if (o->rows == 0) {
        refuse(c, "Bearer error=\"invalid_token\"", "The token is not known.");
        return;
    }
    *slot_of(c) = (struct auth_slot){
        .tenant_id = c->tenant_id,
        .until_us = clock_mono(c->api->deps.clock) + cache_us};
    memcpy(slot_of(c)->hash, c->hash, TOKEN_HASH);
    serve(c);
}

static void auth_look(struct call *c)
{
    char hex[2 * TOKEN_HASH + 1];
    const struct pg_call call = {
        .tenant_id = PG_NO_TENANT,
        .sql = "SELECT tenant_id FROM authenticate_token($1)",
        .n = 1,
        .values = {hex_encode(c->hash, TOKEN_HASH, hex)},
        .row = auth_row,
        .done = auth_found,
        .arg = c};
    int r = pg_call(c->api->deps.pool, &call);

    if (r < 0)
        call_failed(c, r, NULL);
}

void auth_call(struct call *c)
{
    struct str header = http_header(c->r, "Authorization"), token = header;
    const struct auth_slot *slot;

    if (header.n < 7 || strncasecmp(header.p, "Bearer ", 7) != 0) {
        refuse(c, "Bearer",
               "A token is needed: \"Authorization: Bearer ...\".");
        return;
    }
    token.p += 7, token.n -= 7;
    token = str_trim(token);
    crypto_generichash(c->hash, TOKEN_HASH, (const uint8_t *)token.p, token.n,
                       NULL, 0);
    slot = slot_of(c);
    if (slot->until_us > clock_mono(c->api->deps.clock) &&
        sodium_memcmp(slot->hash, c->hash, TOKEN_HASH) == 0) {
        c->tenant_id = slot->tenant_id;
        serve(c);
        return;
    }
    auth_look(c);
}
