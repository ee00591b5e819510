/*
 * clock.h - the time, where a test can replace it. Times are int64
 * microseconds since 1970-01-01T00:00:00Z (POSIX: leap seconds not counted).
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

#define US_PER_S  1000000LL
#define TIME_NONE INT64_MIN /* "no time given" */
enum { TIME_TEXT = 40 };

struct clock {
    int64_t (*utc_us)(void *arg);
    int64_t (*mono_us)(void *arg); /* for intervals; never steps */
    void *arg;
};

extern const struct clock clock_system;

static inline int64_t clock_utc(const struct clock *c)
{
    return c->utc_us(c->arg);
}
static inline int64_t clock_mono(const struct clock *c)
{
    return c->mono_us(c->arg);
}

/* A time as it was written. */
struct stamp {
    int64_t us;    /* UTC if has_zone, else the local civil time as if UTC */
    bool has_zone; /* "Z" or an offset was given */
    int offset_s;  /* that offset */
};

/* RFC 3339 with 0..9 fractional digits (digits past the sixth are cut), 'T'
 * or blank, zone optional; also "dd.mm.yyyy h:mm[:ss]". Years 1900..2200.
 * ERR_FORMAT. */
int stamp_parse(struct str s, struct stamp *ret);

/* Civil date to days since 1970-01-01 (proleptic Gregorian) and back. */
int64_t civil_days(int year, int month, int day);
void civil_from_days(int64_t days, int *year, int *month, int *day);
/* ERR_RANGE for a date or time that does not exist. */
int civil_us(int year, int month, int day, int hour, int min, int sec,
             int64_t *us);

/* "2026-01-15T12:00:00Z", with ".5" to ".123456" where not whole seconds. */
char *time_text(int64_t utc_us, char out[TIME_TEXT]);
/* The same instant at an offset east of Greenwich: "...T15:00:00+03:00". */
char *time_text_at(int64_t utc_us, int offset_s, char out[TIME_TEXT]);
