/*
 * limit.c - how often one address, one key or account, and one tenant may ask:
 * each has a bucket of ten seconds' requests, kept as the time when it is full
 * again. Two that fall on one place share it: the later one begins with a full
 * bucket.
 */
#include "server/api/call.h"
#include "server/base/hash.h"
#include "server/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { PLACES = 8192, BURST_S = 10, WHO_TEXT = 96 };

struct limit {
    struct place {
        struct hash128 who;
        int64_t full_us; /* clock_mono */
    } places[PLACES];
};

struct limit *limit_new(void)
{
    return mem_alloc(sizeof(struct limit));
}

void limit_free(struct limit *l)
{
    free(l);
}

static struct place *place_of(struct limit *l, const void *who, size_t n)
{
    struct hash128 h = hash128(who, n);
    struct place *p = &l->places[(h.b[0] << 8 | h.b[1]) % PLACES];

    if (memcmp(&p->who, &h, sizeof h) != 0)
        *p = (struct place){.who = h};
    return p;
}

/* False after 429 was answered. `what` asks, known by `who`. */
static bool passes(struct call *c, const char *what, const void *who, size_t n,
                   int64_t rate)
{
    int64_t now = clock_mono(c->api->deps.clock);
    struct place *p = place_of(c->api->limit, who, n);
    int64_t wait = p->full_us - now - BURST_S * US_PER_S;
    char text[24];

    if (rate == 0)
        return true;
    if (wait <= 0) {
        p->full_us = (p->full_us > now ? p->full_us : now) + US_PER_S / rate;
        return true;
    }
    snprintf(text, sizeof text, "%lld", (long long)(wait / US_PER_S + 1));
    http_set_header(c->r, "Retry-After", text);
    http_problem(c->r, 429, NULL,
                 "This %s asks too often: %lld requests a second, %d seconds' "
                 "worth at once.",
                 what, (long long)rate, BURST_S);
    return false;
}

bool limit_address(struct call *c)
{
    return passes(c, "address", c->address, strlen(c->address),
                  c->api->deps.address_rate);
}

bool limit_pass(struct call *c)
{
    const struct api_deps *d = &c->api->deps;
    char account[WHO_TEXT], tenant[WHO_TEXT];
    int n = snprintf(account, sizeof account, "account %d", c->who.account_id);
    int m = snprintf(tenant, sizeof tenant, "tenant %d", c->tenant_id);
    bool machine = c->who.account_id == 0;

    return passes(c, machine ? "key" : "account",
                  machine ? (const void *)c->hash : account,
                  machine ? sizeof c->hash : (size_t)n, d->rate) &&
           (c->tenant_id == PG_NO_TENANT ||
            passes(c, "tenant", tenant, (size_t)m, d->tenant_rate));
}
