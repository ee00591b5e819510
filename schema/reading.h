/*
 * reading.h - captures and profiles. A profile is an ordered list of capture
 * objects; a capture is one meter's values for one profile at one time.
 */
#pragma once

#include "schema/obis.h"
#include "schema/quality.h"
#include "schema/quantity.h"
#include "schema/unit.h"
#include "server/base/arena.h"
#include "server/base/hash.h"

#define VALUE_NONE INT64_MIN /* absent value inside a capture; NULL in SQL */

struct capture_object {
    struct obis obis;
    enum unit unit; /* canonical, or as sent when not exact */
    enum value_kind kind;
    int exp10; /* value = mantissa * 10^exp10 */
};

struct profile {
    int64_t id; /* 63 bits of the list's hash: the same id on any node */
    uint32_t n;
    struct capture_object *objects; /* ordered by OBIS, unit */
};

struct capture {
    const struct profile *profile;
    int64_t time_us;       /* reconciled, UTC */
    int64_t meter_time_us; /* the meter's own time as UTC; TIME_NONE */
    uint32_t uncertainty_ms;
    uint32_t quality;        /* enum quality bits of the row */
    int64_t *values;         /* profile->n mantissas, VALUE_NONE where absent */
    uint32_t *value_quality; /* NULL when every value has the row's quality */
};

/* 63 bits of BLAKE2b over the list, so nobody can make two lists collide. */
int64_t profile_id(const struct capture_object *objects, uint32_t n);
