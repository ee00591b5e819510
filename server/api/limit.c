/*
 * limit.c - how often one key or session may ask: a bucket of ten seconds'
 * requests, kept as the time when it is full again. Two callers that fall on
 * one place share it: the later one begins with a full bucket.
 */
#include "server/api/call.h"
#include "server/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { PLACES = 4096, BURST_S = 10 };

struct limit {
    struct place {
        uint8_t hash[TOKEN_HASH];
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

static struct place *place_of(struct call *c)
{
    size_t i = (size_t)c->hash[2] << 8 | c->hash[3];
    struct place *p = &c->api->limit->places[i % PLACES];

    if (memcmp(p->hash, c->hash, TOKEN_HASH) != 0) {
        memcpy(p->hash, c->hash, TOKEN_HASH);
        p->full_us = 0;
    }
    return p;
}

bool limit_pass(struct call *c)
{
    int64_t rate = c->api->deps.rate, now = clock_mono(c->api->deps.clock);
    struct place *p = place_of(c);
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
                 "This key or session asks too often: %lld requests a second, "
                 "%d seconds' worth at once.",
                 (long long)rate, BURST_S);
    return false;
}
