/*
 * clock.c - the system's clocks, and times as text. Calendar arithmetic is
 * Howard Hinnant's "chrono-compatible low-level date algorithms": exact over
 * the whole proleptic Gregorian calendar, without tables or loops.
 */
#include "server/base/clock.h"
#include "server/base/err.h"

#include <stdio.h>
#include <time.h>

enum { DAY_S = 86400, YEAR_FIRST = 1900, YEAR_LAST = 2200 };

static int64_t read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

static int64_t system_utc(void *arg)
{
    (void)arg;
    return read_clock(CLOCK_REALTIME);
}

static int64_t system_mono(void *arg)
{
    (void)arg;
    return read_clock(CLOCK_MONOTONIC);
}

const struct clock clock_system = {system_utc, system_mono, NULL};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Years begin in March here, so that the leap day comes last. */
int64_t civil_days(int year, int month, int day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = floor_div(y, 400), yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468, era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

static int month_days(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

static bool within(int v, int low, int high)
{
    return v >= low && v <= high;
}

int civil_us(int year, int month, int day, int hour, int min, int sec,
             int64_t *us)
{
    if (!within(year, 1, 9999) || !within(month, 1, 12) ||
        !within(day, 1, month_days(year, month)) || !within(hour, 0, 23) ||
        !within(min, 0, 59) || !within(sec, 0, 59))
        return ERR_RANGE;
    *us =
        (civil_days(year, month, day) * DAY_S + hour * 3600 + min * 60 + sec) *
        US_PER_S;
    return 0;
}

/* A reader of fixed-width fields that remembers that one did not fit. */
struct fields {
    struct str s;
    bool bad;
};

static bool take(struct fields *f, const char *any_of)
{
    if (f->s.n == 0 || f->s.p[0] == 0 || !strchr(any_of, f->s.p[0]))
        return false;
    f->s.p++;
    f->s.n--;
    return true;
}

static void expect(struct fields *f, const char *any_of)
{
    if (!take(f, any_of))
        f->bad = true;
}

static int number(struct fields *f, int least, int most)
{
    int v = 0, n = 0;

    for (; n < most && f->s.n && f->s.p[0] >= '0' && f->s.p[0] <= '9'; n++) {
        v = v * 10 + (f->s.p[0] - '0');
        f->s.p++;
        f->s.n--;
    }
    if (n < least)
        f->bad = true;
    return v;
}

/* Microseconds from up to nine digits behind the point. */
static int fraction(struct fields *f)
{
    size_t before = f->s.n;
    int v = number(f, 1, 9);

    for (size_t n = before - f->s.n; n < 9; n++)
        v *= 10;
    return v / 1000;
}

static void zone(struct fields *f, struct stamp *st)
{
    bool west = f->s.n && f->s.p[0] == '-';
    int hours, minutes;

    st->has_zone = f->s.n > 0;
    if (f->s.n == 0 || take(f, "Zz"))
        return;
    expect(f, "+-");
    hours = number(f, 2, 2);
    take(f, ":"); /* ISO 8601 basic form leaves it out */
    minutes = number(f, 2, 2);
    if (!within(hours, 0, 23) || !within(minutes, 0, 59))
        f->bad = true;
    st->offset_s = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
}

int stamp_parse(struct str s, struct stamp *ret)
{
    bool dotted = s.n > 2 && s.p[2] == '.';
    struct fields f = {s, false};
    struct stamp st = {0};
    int year, month, day, hour, min, sec = 0, us = 0;

    if (dotted) {
        day = number(&f, 2, 2), expect(&f, ".");
        month = number(&f, 2, 2), expect(&f, ".");
        year = number(&f, 4, 4), expect(&f, " ");
        hour = number(&f, 1, 2), expect(&f, ":");
        min = number(&f, 2, 2);
        if (take(&f, ":"))
            sec = number(&f, 2, 2);
    } else {
        year = number(&f, 4, 4), expect(&f, "-");
        month = number(&f, 2, 2), expect(&f, "-");
        day = number(&f, 2, 2), expect(&f, "Tt ");
        hour = number(&f, 2, 2), expect(&f, ":");
        min = number(&f, 2, 2), expect(&f, ":");
        sec = number(&f, 2, 2);
        if (take(&f, "."))
            us = fraction(&f);
        zone(&f, &st);
    }
    if (f.bad || f.s.n != 0 || !within(year, YEAR_FIRST, YEAR_LAST) ||
        civil_us(year, month, day, hour, min, sec, &st.us) < 0)
        return ERR_FORMAT;
    st.us += us - st.offset_s * US_PER_S;
    *ret = st;
    return 0;
}

/* `us` as civil time; returns how much of out it took. */
static int civil_text(int64_t us, char out[TIME_TEXT])
{
    int64_t days = floor_div(us, DAY_S * US_PER_S);
    int64_t past = us % (DAY_S * US_PER_S);
    int64_t rest = past < 0 ? past + DAY_S * US_PER_S : past;
    int s = (int)(rest / US_PER_S), part = (int)(rest % US_PER_S);
    int year, month, day, n;

    civil_from_days(days, &year, &month, &day);
    n = snprintf(out, TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", year, month,
                 day, s / 3600, s / 60 % 60, s % 60);
    if (part == 0)
        return n;
    n += snprintf(out + n, TIME_TEXT - (size_t)n, ".%06d", part);
    while (out[n - 1] == '0')
        n--;
    return n;
}

char *time_text(int64_t utc_us, char out[TIME_TEXT])
{
    int n = civil_text(utc_us, out);

    snprintf(out + n, TIME_TEXT - (size_t)n, "Z");
    return out;
}

char *time_text_at(int64_t utc_us, int offset_s, char out[TIME_TEXT])
{
    int minutes = offset_s / 60; /* text has no seconds; keep the instant */
    int shown = minutes < 0 ? -minutes : minutes;
    int64_t us;
    int n;

    if (__builtin_add_overflow(utc_us, minutes * 60 * US_PER_S, &us))
        return time_text(utc_us, out);
    n = civil_text(us, out);
    snprintf(out + n, TIME_TEXT - (size_t)n, "%c%02d:%02d",
             minutes < 0 ? '-' : '+', shown / 60, shown % 60);
    return out;
}
