/*
 * sntp.h - is our own clock right? NTP packets (RFC 5905, clause 7.3; RFC 4330)
 * read and written, a filter per source, and a verdict over several sources.
 * Pure; sockets are elsewhere.
 */
#pragma once

#include "server/base/clock.h"
#include "server/base/str.h"
#include <stdbool.h>

enum { SNTP_SIZE = 48, SNTP_PORT = 123, SNTP_FILTER = 8, SNTP_SOURCES = 8 };

/* 64 bit, seconds since 1900 modulo 2^32 and a fraction. The era is the one in
 * which the result lies nearest to `near_us` (rollover in 2036). */
uint64_t ntp_time(int64_t utc_us);
int64_t ntp_utc_us(uint64_t ntp, int64_t near_us);

/* A client's request, sent at `now_us`. */
void sntp_request(uint8_t out[SNTP_SIZE], int64_t now_us);

struct sntp_sample {
    int64_t at_us;     /* when it came, our clock */
    int64_t offset_us; /* the source's time less ours */
    int64_t
        error_us; /* give or take: half the round trip, and the source's own */
};
/* A server's reply to the request sent at `sent_us`, come at `come_us` (both
 * our clock, `sent_us` as in the request). ERR_SHORT; ERR_FORMAT: no reply to
 * it; ERR_RANGE: the source is not synchronised; ERR_FULL: it wants to be asked
 * less (kiss of death). */
int sntp_reply(struct str packet, int64_t sent_us, int64_t come_us,
               struct sntp_sample *ret);
/* As a server: the answer to `packet` come at `come_us` and left at `now_us`.
 * `error_us`: how good our time is; `stratum` 1..15, 0: we do not know it.
 * ERR_SHORT, ERR_FORMAT for what is no request. */
int sntp_answer(struct str packet, int64_t come_us, int64_t now_us,
                int64_t error_us, int stratum, uint8_t out[SNTP_SIZE]);

struct sntp_source { /* {0} is a source never heard */
    struct sntp_sample samples[SNTP_FILTER];
    uint32_t n, next;
};
void sntp_take(struct sntp_source *s, const struct sntp_sample *sample);
/* The best sample not older than `max_age_us`; false when there is none. */
bool sntp_best(const struct sntp_source *s, int64_t now_us, int64_t max_age_us,
               struct sntp_sample *ret);

enum own_clock {
    OWN_UNWATCHED, /* no sources are configured */
    OWN_OK,
    OWN_ALARM,  /* off by more than 100 ms */
    OWN_UNSURE, /* by more than 1 s, or no majority of sources says: no meter
                   is corrected, readings are marked */
};
const char *own_clock_name(enum own_clock c); /* "unwatched", "ok", ... */

struct own_verdict {
    enum own_clock state;
    int64_t offset_us; /* true time less ours */
    int64_t error_us;
    uint32_t heard, agree; /* sources */
};
/* A majority of the `n` configured sources must agree (their offsets, give or
 * take their errors, have a common point). */
struct own_verdict sntp_verdict(const struct sntp_source *sources, uint32_t n,
                                int64_t now_us, int64_t max_age_us);
