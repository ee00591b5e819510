/*
 * slots.c - see slots.h. Loads are sums of weights. Sixteen candidates per
 * meter keep the busiest slot within a weight or two of the mean, and a meter's
 * slot depends only on those that came before it.
 */
#include "timesvc/slots.h"
#include "server/base/clock.h"
#include "server/base/mem.h"
#include <stdlib.h>

enum { CANDIDATES = 16, DAY_MIN = 1440, SWEEPS = 3, FEW = 9 };
#define HOUR_US (3600 * US_PER_S)
const double slot_most = 1.06;

struct slot_plan {
    uint32_t slots, gateways;
    uint64_t total, heaviest;             /* heaviest: one report */
    uint64_t load[SLOT_LOOKS][SLOTS_MAX]; /* by the minute they are heard in */
    uint32_t *by_gateway; /* [gateway * slots + slot], at the first look */
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

uint32_t slot_second(uint64_t key)
{
    return 5 + (uint32_t)(mix(key ^ 0x5EC0) % 50);
}

/* ---- when it will be heard ---- */

/* The clock drifts on; it is set right some contacts before it is off by what
 * is accepted, and drifts anew from there. */
static double offset_at(const struct slot_clock *c, int64_t at_us)
{
    double drift = c->drift_ppm * 1e-6, due = (double)c->accepted_us;
    double now = (double)c->offset_us + drift * (double)(at_us - c->at_us);

    if (c->accepted_us <= 0 || (now < due && now > -due) ||
        c->offset_us > c->beyond_us || c->offset_us < -c->beyond_us)
        return now;
    if (now * drift <= 0)
        return 0;
    double since = (now > 0 ? now - due : now + due) / drift; /* it was due */
    double turn = due / (drift > 0 ? drift : -drift);
    while (since > turn)
        since -= turn;
    return drift * since;
}

void slot_look(struct slot_meter *m, const struct slot_clock *c, int64_t now_us)
{
    static const int64_t day_s = 86400;

    for (int i = 0; i < SLOT_LOOKS; i++) {
        double us = c->at_us == TIME_NONE
                        ? 0
                        : offset_at(c, now_us + (3 + 6 * i) * HOUR_US);
        m->early_s[i] = (int32_t)((int64_t)(us / (double)US_PER_S) % day_s);
    }
}

/* The minute of `cycle_min` in which a report at `minute` is heard. */
static uint32_t heard_in(const struct slot_meter *m, uint32_t minute, int look,
                         uint32_t cycle_min)
{
    int32_t cycle_s = (int32_t)cycle_min * 60;
    int32_t at =
        (int32_t)minute * 60 + (int32_t)slot_second(m->key) - m->early_s[look];

    return (uint32_t)((at % cycle_s + cycle_s) % cycle_s) / 60;
}

/* ---- loads ---- */

static uint32_t *at_gateway(const struct slot_plan *p, uint32_t gateway,
                            uint32_t slot)
{
    return &p->by_gateway[(size_t)(gateway % p->gateways) * p->slots + slot];
}

static void book_at(struct slot_plan *p, const struct slot_meter *m,
                    uint32_t slot, int64_t weight)
{
    for (int look = 0; look < SLOT_LOOKS; look++) {
        uint32_t heard = heard_in(m, slot, look, p->slots);
        p->load[look][heard] += (uint64_t)weight;
        if (look == 0)
            *at_gateway(p, m->gateway, heard) += (uint32_t)weight;
    }
    p->total += (uint64_t)weight;
    if (weight > 0 && (uint64_t)weight > p->heaviest)
        p->heaviest = (uint64_t)weight;
    p->gateway_total[m->gateway % p->gateways] += (uint64_t)weight;
}

/* One that reports more or less often than once in the window counts so. */
static void book(struct slot_plan *p, const struct slot_meter *m, int64_t sign)
{
    uint32_t slot = (uint32_t)m->slot, period = m->period_min;
    int64_t weight = m->weight;

    if (period == 0 || period == p->slots) {
        book_at(p, m, slot, sign * weight);
    } else if (period > p->slots) {
        weight = weight * p->slots / period;
        book_at(p, m, slot % p->slots, sign * (weight ? weight : 1));
    } else {
        for (; slot < p->slots; slot += period)
            book_at(p, m, slot, sign * weight);
    }
}

/* Not in the minute before an edge of its interval, nor in that behind it. */
static bool suits(const struct slot_meter *m, uint32_t slot)
{
    uint32_t in = m->interval_min > 2 ? slot % m->interval_min : 1;

    return in != 0 && (m->interval_min <= 2 || in != m->interval_min - 1);
}

bool slot_book(struct slot_plan *p, const struct slot_meter *m)
{
    if (m->slot < 0 || (!m->fixed && ((uint32_t)m->slot >= p->slots ||
                                      !suits(m, (uint32_t)m->slot))))
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

/* ---- choosing ---- */

/* Loads relative to their means, so that both count alike. */
static double cost(const struct slot_plan *p, const struct slot_meter *m,
                   uint32_t slot)
{
    double mean = (double)p->total / p->slots, sum = 0;
    double own = (double)p->gateway_total[m->gateway % p->gateways] / p->slots;

    for (int look = 0; look < SLOT_LOOKS; look++)
        sum += (double)p->load[look][heard_in(m, slot, look, p->slots)];
    if (mean > 0)
        sum /= mean * SLOT_LOOKS;
    if (own > 0 && p->gateways > 1)
        sum +=
            0.25 *
            (double)*at_gateway(p, m->gateway, heard_in(m, slot, 0, p->slots)) /
            own;
    return sum;
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
        double c = cost(p, m, slot);
        if (best == SLOT_NONE || c < least) {
            best = (int32_t)slot;
            least = c;
        }
    }
    m->slot = best;
    book(p, m, 1);
}

static uint64_t busiest(const struct slot_plan *p)
{
    uint64_t most = 0;

    for (int look = 0; look < SLOT_LOOKS; look++)
        for (uint32_t i = 0; i < p->slots; i++)
            most = p->load[look][i] > most ? p->load[look][i] : most;
    return most;
}

double slot_unevenness(const struct slot_plan *p)
{
    return p->total ? (double)busiest(p) * p->slots / (double)p->total : 1;
}

/* It is heard in a minute that is too busy. */
static bool crowded(const struct slot_plan *p, const struct slot_meter *m,
                    double limit)
{
    for (int look = 0; look < SLOT_LOOKS; look++)
        if ((double)
                p->load[look][heard_in(m, (uint32_t)m->slot, look, p->slots)] >
            limit)
            return true;
    return false;
}

size_t slot_rebalance(struct slot_plan *p, struct slot_meter *meters, size_t n,
                      double most, uint64_t turn)
{
    double limit = most * (double)p->total / p->slots + (double)p->heaviest;
    double few = FEW * (double)p->heaviest;
    size_t moved = 0, first = n ? (size_t)(mix(turn) % n) : 0;

    limit = limit > few ? limit : few;
    for (int sweep = 0; sweep < SWEEPS && (double)busiest(p) > limit; sweep++) {
        for (size_t i = 0; i < n; i++) {
            struct slot_meter *m = &meters[(first + i) % n];
            if (m->fixed || m->slot == SLOT_NONE || !crowded(p, m, limit))
                continue;
            int32_t was = m->slot;
            slot_assign(p, m);
            moved += m->slot != was;
        }
    }
    return moved;
}

void slot_forecast(const struct slot_meter *meters, size_t n,
                   uint32_t window_min, uint32_t begin_min, uint32_t out[1440])
{
    for (size_t i = 0; i < n; i++) {
        const struct slot_meter *m = &meters[i];
        uint32_t period = m->period_min ? m->period_min : window_min;
        if (m->slot == SLOT_NONE || period == 0)
            continue;
        for (uint32_t t = (uint32_t)m->slot; t < DAY_MIN; t += period) {
            uint32_t ahead = (t + DAY_MIN - begin_min % DAY_MIN) % DAY_MIN;
            int look = (int)(ahead * SLOT_LOOKS / DAY_MIN);
            out[heard_in(m, t, look, DAY_MIN)]++;
        }
    }
}

/* The middle gap counts, as a stray report makes two short ones. */
uint32_t slot_period_min(const uint32_t *minutes, uint32_t n)
{
    static const uint32_t usual[] = {5,   10,  15,  20,  30,  60,
                                     120, 180, 240, 360, 720, DAY_MIN};
    uint32_t gaps[8], period = DAY_MIN;

    for (uint32_t i = 1; i < n && i < 8; i++) {
        uint32_t gap = minutes[i] - minutes[i - 1], k = i - 1;
        for (; k > 0 && gaps[k - 1] > gap; k--)
            gaps[k] = gaps[k - 1];
        gaps[k] = gap;
    }
    if (n < 2)
        return period;
    uint32_t gap = gaps[(n - 1) / 2];
    for (size_t i = sizeof usual / sizeof *usual; i-- > 0;)
        if (4 * usual[i] >= 3 * gap) /* a report may be late */
            period = usual[i];
    return period;
}

/* ---- handing over ---- */

static const int64_t near_us = 90 * US_PER_S; /* of its slot: sending takes
                                                 its time */

static bool in_slot(const struct slot_hand *h, const struct clock_error *e,
                    int64_t heard_us)
{
    int64_t window_us = h->window_min * 60 * US_PER_S;
    int64_t shown = heard_us + e->offset_us - h->at_s * US_PER_S;
    int64_t off = (shown % window_us + window_us) % window_us;
    int64_t may = near_us + e->uncertainty_us;

    return off <= may || window_us - off <= may;
}

enum slot_word slot_follow(const struct slot_hand *h,
                           const struct clock_error *e, int64_t heard_us)
{
    static const int64_t day_us = 24 * HOUR_US;
    int64_t patience_us = 3 * h->window_min * 60 * US_PER_S;
    bool kept = h->kept_us != TIME_NONE;

    if (h->window_min == 0)
        return SLOT_LEAVE;
    if (h->told_us == TIME_NONE)
        return SLOT_TELL;
    if (!e->known || !e->trusted)
        return SLOT_LEAVE; /* nobody knows when it thinks it is */
    if (in_slot(h, e, heard_us))
        return !kept || heard_us - h->kept_us > day_us ? SLOT_KEPT : SLOT_LEAVE;
    for (uint32_t i = 1; i < h->told && patience_us < 7 * day_us; i++)
        patience_us *= 2;
    if (patience_us > 7 * day_us)
        patience_us = 7 * day_us;
    if (heard_us - h->told_us <= patience_us ||
        (kept && heard_us - h->kept_us <= day_us + patience_us))
        return SLOT_LEAVE;
    return SLOT_TELL;
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
