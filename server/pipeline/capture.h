/*
 * capture.h - from what a codec decoded to captures: time, register, profile.
 * Pure.
 */
#pragma once

#include "codecs/codec.h"
#include "schema/reading.h"
#include "timesvc/reconcile.h"
#include "timesvc/zone.h"

/* What cannot become a reading is kept as an extra of the frame. */
struct captured {
    struct capture *captures;
    uint32_t n;
    int64_t clock_us;  /* the meter's clock as UTC; TIME_NONE */
    struct str extras; /* JSON array text, or empty */
};

/* Everything in *ret lives in `keep`. `quality` is added to every capture.
 * ERR_FULL when the arena's limit is reached. */
int capture_build(const struct decoded *d, enum medium medium,
                  struct time_evidence evidence, const struct zone *zone,
                  uint32_t quality, struct arena *keep, struct captured *ret);

/* A time the meter claims (an event's, its clock's) as reconciled. */
struct reconciled capture_time(struct meter_time t,
                               struct time_evidence evidence,
                               const struct zone *zone);
