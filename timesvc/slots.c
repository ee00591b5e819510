/*
 * slots.c - see slots.h. Loads are sums of weights. Sixteen candidates per
 * meter keep the busiest slot within a weight or two of the mean, and a meter's
 * slot depends only on those that came before it.
 */
#include "timesvc/slots.h"
#include "server/base/mem.h"
#include <stdlib.h>

enum { CANDIDATES = 16, DAY_MIN = 1440 };

struct slot_plan {
    uint32_t slots, gateways;
    uint64_t total;
    uint64_t load[SLOTS_MAX];
    uint32_t *by_gateway; /* [gateway * slots + slot] */
    uint64_t *gateway_total;
};

struct slot_plan *slot_plan_new(uint32_t slots, uint32_t gateways)
{
    if (slots == 0 || slots > SLOTS_MAX || gateways == 0 ||
        gateways > SLOT_GATEWAYS_MAX)
        return NULL;
    struct slot_plan *p = mem_alloc(sizeof *p);
    p->slots = slots;
    p->gateways = gateways;
    p->by_gateway = mem_alloc((size_t)slots * gateways * sizeof *p->by_gateway);
    p->gateway_total = mem_alloc(gateways * sizeof *p->gateway_total);
    return p;
}

void slot_plan_free(struct slot_plan *p)
{
    if (!p)
        return;
    free(p->by_gateway);
    free(p->gateway_total);
    free(p);
}

static uint64_t mix(uint64_t x) /* SplitMix64 */
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static uint32_t *at_gateway(const struct slot_plan *p, uint32_t gateway,
                            uint32_t slot)
{
    return &p->by_gateway[(size_t)(gateway % p->gateways) * p->slots + slot];
}

static void book(struct slot_plan *p, const struct slot_meter *m, int64_t sign)
{
    uint32_t slot = (uint32_t)m->slot;
    uint64_t weight = (uint64_t)(sign * (int64_t)m->weight);

    p->load[slot] += weight;
    p->total += weight;
    *at_gateway(p, m->gateway, slot) += (uint32_t)weight;
    p->gateway_total[m->gateway % p->gateways] += weight;
}

/* Not in the minute before an edge of its interval, nor in that behind it. */
static bool suits(const struct slot_meter *m, uint32_t slot)
{
    uint32_t in = m->interval_min > 2 ? slot % m->interval_min : 1;

    return in != 0 && (m->interval_min <= 2 || in != m->interval_min - 1);
}

bool slot_book(struct slot_plan *p, const struct slot_meter *m)
{
    if (m->slot < 0 || (uint32_t)m->slot >= p->slots ||
        !suits(m, (uint32_t)m->slot))
        return false;
    book(p, m, 1);
    return true;
}

void slot_release(struct slot_plan *p, struct slot_meter *m)
{
    if (m->slot != SLOT_NONE)
        book(p, m, -1);
    m->slot = SLOT_NONE;
}

/* Loads relative to their means, so that both count alike. */
static double cost(const struct slot_plan *p, uint32_t slot, uint32_t gateway)
{
    double mean = (double)p->total / p->slots;
    double own = (double)p->gateway_total[gateway % p->gateways] / p->slots;

    return (mean > 0 ? (double)p->load[slot] / mean : 0) +
           (own > 0 && p->gateways > 1
                ? 0.25 * (double)*at_gateway(p, gateway, slot) / own
                : 0);
}

static uint32_t candidate(const struct slot_plan *p, const struct slot_meter *m,
                          uint64_t *state)
{
    uint32_t slot;
    int tries = 0;

    do {
        *state = mix(*state);
        slot = (uint32_t)(*state % p->slots);
    } while (!suits(m, slot) && ++tries < CANDIDATES);
    return slot;
}

void slot_assign(struct slot_plan *p, struct slot_meter *m)
{
    uint64_t state = m->key;
    int32_t best = SLOT_NONE;
    double least = 0;

    slot_release(p, m);
    for (int i = 0; i < CANDIDATES; i++) {
        uint32_t slot = candidate(p, m, &state);
        double c = cost(p, slot, m->gateway);
        if (best == SLOT_NONE || c < least) {
            best = (int32_t)slot;
            least = c;
        }
    }
    m->slot = best;
    book(p, m, 1);
}

double slot_unevenness(const struct slot_plan *p)
{
    uint64_t busiest = 0;

    for (uint32_t i = 0; i < p->slots; i++)
        busiest = p->load[i] > busiest ? p->load[i] : busiest;
    return p->total ? (double)busiest * p->slots / (double)p->total : 1;
}

size_t slot_rebalance(struct slot_plan *p, struct slot_meter *meters, size_t n,
                      double most)
{
    double limit = most * (double)p->total / p->slots;
    size_t moved = 0;

    for (size_t i = 0; i < n; i++) {
        struct slot_meter *m = &meters[i];
        if (m->slot == SLOT_NONE || (double)p->load[m->slot] <= limit)
            continue;
        int32_t was = m->slot;
        slot_assign(p, m);
        moved += m->slot != was;
    }
    return moved;
}

uint32_t slot_second(uint64_t key)
{
    return 5 + (uint32_t)(mix(key ^ 0x5EC0) % 50);
}

void slot_forecast(const struct slot_meter *meters, size_t n, uint32_t period_s,
                   uint32_t out[1440])
{
    uint32_t period = period_s / 60;

    for (size_t i = 0; i < n; i++) {
        if (meters[i].slot == SLOT_NONE || period == 0)
            continue;
        for (uint32_t t = (uint32_t)meters[i].slot; t < DAY_MIN; t += period)
            out[t]++;
    }
}

/* Semtech SX1276 datasheet, clause 4.1.1.7: explicit header, CRC, preamble of 8
 * symbols; 13 bytes of LoRaWAN around the payload. In quarters of a symbol. */
uint32_t lora_air_ms(int spreading_factor, uint32_t payload_bytes)
{
    int sf = spreading_factor < 7    ? 7
             : spreading_factor > 12 ? 12
                                     : spreading_factor;
    int low_rate = sf >= 11;
    int bits = 8 * ((int)payload_bytes + 13) - 4 * sf + 28 + 16;
    int per = 4 * (sf - 2 * low_rate);
    int symbols = 8 + (bits > 0 ? (bits + per - 1) / per * 5 : 0);
    uint32_t quarters = 49 + 4 * (uint32_t)symbols; /* 12.25 of preamble */

    return (quarters * (1u << sf) + 250) / 500; /* 1/500 ms a quarter chip */
}
