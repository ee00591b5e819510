/* visit.c - see visit.h. */
#include "server/clocks/visit.h"
#include "server/base/mem.h"
#include <stdlib.h>

static uint64_t key_of(int32_t tenant, int32_t meter)
{
    return (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
}

struct visit *visits_find(const struct visits *v, int32_t tenant, int32_t meter)
{
    uint64_t key = key_of(tenant, meter);
    struct visit *one;

    HASH_FIND(hh, v->by_meter, &key, sizeof key, one);
    return one;
}

/* `s` at `at`, which it moves on. */
static struct str copy(char **at, struct str s)
{
    char *p = *at;

    if (s.n)
        memcpy(p, s.p, s.n);
    *at += s.n;
    return (struct str){p, s.n};
}

/* Longer ones are no address and no request. */
static struct str short_of(struct str s)
{
    return s.n <= VISIT_TEXT ? s : (struct str){0};
}

static void visit_free(struct visit *one)
{
    free(one->text);
    free(one->found);
    free(one);
}

void visits_note(struct visits *v, const struct clock_contact *c, bool asks)
{
    struct visit *one = visits_find(v, c->tenant_id, c->meter_id);
    struct str topic = short_of(c->topic);
    struct str payload = asks ? short_of(c->payload) : (struct str){0};
    size_t n = topic.n + payload.n;
    char *at;

    if (one && one->asks && !asks)
        return;
    if (!one) {
        one = mem_alloc(sizeof *one);
        one->key = key_of(c->tenant_id, c->meter_id);
        HASH_ADD(hh, v->by_meter, key, sizeof one->key, one);
    }
    free(one->text);
    at = one->text = n ? mem_alloc(n) : NULL;
    one->c = *c;
    one->c.topic = copy(&at, topic);
    one->c.payload = copy(&at, payload);
    one->asks = asks;
}

struct finding *visit_find(struct visit *v)
{
    if (!v->found)
        v->found = mem_alloc(sizeof *v->found);
    return v->found;
}

void visits_move(struct visits *from, struct visit *one, struct visits *to)
{
    struct visit *newer;

    HASH_DEL(from->by_meter, one);
    free(one->found);
    one->found = NULL;
    HASH_FIND(hh, to->by_meter, &one->key, sizeof one->key, newer);
    if (newer)
        visit_free(one);
    else
        HASH_ADD(hh, to->by_meter, key, sizeof one->key, one);
}

void visits_drop(struct visits *v, struct visit *one)
{
    HASH_DEL(v->by_meter, one);
    visit_free(one);
}

void visits_clear(struct visits *v)
{
    struct visit *one, *next;

    HASH_ITER (hh, v->by_meter, one, next) {
        visits_drop(v, one);
    }
}
