/* contact.c - see contact.h. */
#include "server/clocks/contact.h"
#include "server/base/clock.h"

/* M-Bus dates of type F have no seconds (EN 13757-3, annex A). */
static bool tells_minutes(const struct codec *c, int64_t clock_us)
{
    static const char *const codecs[] = {"elvaco-cmi41", "karat-928lw", "mbus",
                                         "mbus-records", "wmbus"};

    if (!c || clock_us == TIME_NONE || clock_us % (60 * US_PER_S) != 0)
        return false;
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (strcmp(c->name, codecs[i]) == 0)
            return true;
    return false;
}

/* Devices tell whole seconds, so that half of one is expected; a network hears
 * within a second or two, and we may be told some seconds later. */
struct contact_delay contact_delay(const struct codec *c, bool network_time,
                                   int64_t clock_us)
{
    struct contact_delay d = {network_time ? US_PER_S : US_PER_S / 2,
                              network_time ? US_PER_S : 5 * US_PER_S / 2};

    if (tells_minutes(c, clock_us)) {
        d.delay_us += 30 * US_PER_S;
        d.spread_us += 30 * US_PER_S;
    }
    return d;
}
