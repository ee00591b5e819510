/*
 * zone.c - IANA time zones over GLib's GTimeZone.
 *
 * Here stands the one lock of the house: zones are looked up by name from pool
 * threads too, and the list of those already loaded grows under that lock. A
 * loaded zone never changes and is used without it. Only names that exist are
 * kept, so the list is bounded by the system's tzdata.
 */
#include "timesvc/zone.h"
#include <glib.h>

enum { NAME_LONGEST = 64, DAY_S = 86400 };

struct zone {
    struct zone *next;
    GTimeZone *tz;
    char name[NAME_LONGEST + 1];
};

static GMutex lock;
static struct zone *zones;

static int64_t floor_s(int64_t us)
{
    return us / US_PER_S - (us % US_PER_S < 0);
}

/* GLib would also read offsets, paths and POSIX rules ("XYZ5"); ours are names
 * of the database only, and there digits stand behind an area ("Etc/GMT+5"). */
static bool name_ok(struct str name)
{
    bool area = name.n > 0 && memchr(name.p, '/', name.n);

    if (name.n == 0 || name.n > NAME_LONGEST ||
        !g_ascii_isalpha((gchar)name.p[0]))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        gchar c = (gchar)name.p[i];
        if (!g_ascii_isalpha(c) && !(area && g_ascii_isdigit(c)) &&
            (c == 0 || !strchr("/_+-", c)))
            return false;
    }
    return true;
}

static struct zone *zone_load(struct str name)
{
    struct zone z = {0}, *ret;

    memcpy(z.name, name.p, name.n);
    z.tz = g_time_zone_new_identifier(z.name);
    if (!z.tz)
        return NULL;
    z.next = zones;
    ret = g_new(struct zone, 1);
    *ret = z;
    return ret;
}

const struct zone *zone_find(struct str name)
{
    struct zone *z;

    if (!name_ok(name))
        return NULL;
    g_mutex_lock(&lock);
    for (z = zones; z && !str_is(name, z->name); z = z->next)
        ;
    if (!z && (z = zone_load(name)))
        zones = z;
    g_mutex_unlock(&lock);
    return z;
}

static int interval_at(const struct zone *z, int64_t utc_s)
{
    return g_time_zone_find_interval(z->tz, G_TIME_TYPE_UNIVERSAL, utc_s);
}

static int offset_at(const struct zone *z, int64_t utc_s)
{
    return g_time_zone_get_offset(z->tz, interval_at(z, utc_s));
}

static bool dst_at(const struct zone *z, int64_t utc_s)
{
    return g_time_zone_is_dst(z->tz, interval_at(z, utc_s));
}

int zone_offset_s(const struct zone *z, int64_t utc_us)
{
    return offset_at(z, floor_s(utc_us));
}

/* The offsets of the day before and of the day after are the two candidates:
 * both fit in an hour that happens twice, none in one that is skipped. */
int64_t zone_to_utc(const struct zone *z, int64_t local_us, int dst,
                    bool *ambiguous)
{
    int64_t local = floor_s(local_us);
    int64_t early = local - offset_at(z, local - DAY_S);
    int64_t late = local - offset_at(z, local + DAY_S);
    bool early_fits = offset_at(z, early) == local - early;
    bool late_fits = offset_at(z, late) == local - late;
    bool told =
        dst >= 0 && dst_at(z, local - DAY_S) != dst_at(z, local + DAY_S);
    int64_t utc;

    *ambiguous = false;
    if (early_fits && (!late_fits || early == late)) {
        utc = early;
    } else if (late_fits && !early_fits) {
        utc = late;
    } else {
        bool skipped = !early_fits;
        *ambiguous = skipped || !told;
        if (told)
            utc = dst_at(z, local - DAY_S) == (dst > 0) ? early : late;
        else
            utc = skipped || early < late ? early : late;
    }
    return utc * US_PER_S + (local_us - local * US_PER_S);
}

/* The first second in (low, high] with the offset of `high`. */
static int64_t changed_at(const struct zone *z, int64_t low, int64_t high)
{
    int last = offset_at(z, high);

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (offset_at(z, middle) == last)
            high = middle;
        else
            low = middle;
    }
    return high;
}

int zone_instants(const struct zone *z, int64_t local_us, int64_t out[2])
{
    int64_t local = floor_s(local_us), part = local_us - local * US_PER_S;
    int64_t first = local - offset_at(z, local - DAY_S);
    int64_t second = local - offset_at(z, local + DAY_S);
    bool first_fits = offset_at(z, first) == local - first;
    bool second_fits = offset_at(z, second) == local - second;

    if (!first_fits && !second_fits) {
        out[0] = changed_at(z, second, first) * US_PER_S;
        return 0;
    }
    out[0] = (first_fits ? first : second) * US_PER_S + part;
    if (!first_fits || !second_fits || first == second)
        return 1;
    out[1] = second * US_PER_S + part;
    return 2;
}

int zone_change(const struct zone *z, int64_t utc_us, int64_t within_us)
{
    return zone_offset_s(z, utc_us) - zone_offset_s(z, utc_us - within_us);
}
