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

static struct str copy(char out[VISIT_TEXT], struct str s)
{
    size_t n = s.n <= VISIT_TEXT ? s.n : 0; /* longer: no address, no request */

    if (n)
        memcpy(out, s.p, n);
    return (struct str){out, n};
}

void visits_note(struct visits *v, const struct clock_contact *c, bool asks)
{
    struct visit *one = visits_find(v, c->tenant_id, c->meter_id);

    if (one && one->asks && !asks)
        return;
    if (!one) {
        one = mem_alloc(sizeof *one);
        one->key = key_of(c->tenant_id, c->meter_id);
        HASH_ADD(hh, v->by_meter, key, sizeof one->key, one);
    }
    one->c = *c;
    one->c.topic = copy(one->topic, c->topic);
    one->c.payload = copy(one->payload, c->payload);
    one->asks = asks;
}

void visits_move(struct visits *from, struct visit *one, struct visits *to)
{
    struct visit *newer;

    HASH_DEL(from->by_meter, one);
    HASH_FIND(hh, to->by_meter, &one->key, sizeof one->key, newer);
    if (newer)
        free(one);
    else
        HASH_ADD(hh, to->by_meter, key, sizeof one->key, one);
}

void visits_drop(struct visits *v, struct visit *one)
{
    HASH_DEL(v->by_meter, one);
    free(one);
}

void visits_clear(struct visits *v)
{
    struct visit *one, *next;

    HASH_ITER (hh, v->by_meter, one, next) {
        visits_drop(v, one);
    }
}
