/*
 * chance.h - chance from a seed, the same everywhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t draw(struct rng *r) /* SplitMix64 */
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline double uniform(struct rng *r, double low, double high)
{
    return low + (high - low) * ((double)(draw(r) >> 11) * 0x1p-53);
}

static inline bool chance(struct rng *r, double p)
{
    return uniform(r, 0, 1) < p;
}
