/*
 * interval.c - see interval.h. Offsets of zones are whole minutes today and
 * change on edges of the shorter intervals; an hour's edges follow the offset
 * that holds at the time asked about.
 */
#include "timesvc/interval.h"
#include "server/base/err.h"
#include "timesvc/zone.h"

#define DAY_US (86400 * US_PER_S)

int interval_check(int64_t interval_us)
{
    bool ok = interval_us >= 60 * US_PER_S && interval_us <= DAY_US &&
              interval_us % (60 * US_PER_S) == 0 && DAY_US % interval_us == 0;
    return ok ? 0 : ERR_RANGE;
}

static int64_t floor_to(int64_t us, int64_t unit)
{
    int64_t rest = us % unit;
    return us - rest - (rest < 0 ? unit : 0);
}

static int64_t local_of(const struct zone *z, int64_t us)
{
    return us + (z ? zone_offset_s(z, us) * US_PER_S : 0);
}

/* The first instant of a civil day. */
static int64_t midnight(const struct zone *z, int64_t local_us)
{
    int64_t at[2] = {local_us, 0};

    if (z)
        zone_instants(z, local_us, at);
    return at[0];
}

int64_t interval_floor(const struct zone *z, int64_t us, int64_t interval_us)
{
    int64_t local = local_of(z, us);

    if (interval_us < DAY_US)
        return us - (local - floor_to(local, interval_us));
    int64_t day = midnight(z, floor_to(local, DAY_US));
    return day <= us ? day : midnight(z, floor_to(local, DAY_US) - DAY_US);
}

int64_t interval_next(const struct zone *z, int64_t us, int64_t interval_us)
{
    int64_t floor = interval_floor(z, us, interval_us);

    if (interval_us < DAY_US)
        return floor + interval_us;
    int64_t next =
        midnight(z, floor_to(local_of(z, floor), DAY_US) + interval_us);
    return next;
}

int64_t interval_nearest(const struct zone *z, int64_t us, int64_t interval_us)
{
    int64_t before = interval_floor(z, us, interval_us);
    int64_t after = interval_next(z, us, interval_us);

    return us - before < after - us ? before : after;
}

int interval_count(const struct zone *z, int64_t us, int64_t interval_us)
{
    int64_t first = interval_floor(z, us, DAY_US);
    int64_t last = interval_next(z, us, DAY_US);
    int n = 0;

    for (int64_t t = first; t < last; n++)
        t = interval_next(z, t, interval_us);
    return n;
}
