/*
 * dlms_event.c - numbers of event objects. Two worlds use the same names:
 * SPODES (GOST R 58940) and IDIS. Their tables meet in 0-0:96.11.0 alone, and
 * there the maker decides, who begins the logical device name or system title;
 * a number that only one of them knows is that one's.
 */
#include "codecs/dlms.h"
#include "schema/event_code.h"
#include "server/base/err.h"

enum { EVENT_C = 96, EVENT_D = 11, ALARM_C = 97, ALARM_D = 98 };

static bool is_idis_maker(const struct decoded *d)
{
    static const char makers[][4] = {"ELV", "KFM", "LGZ", "ISK",
                                     "SAG", "KAM", "ITR"};
    const struct str names[] = {d->manufacturer, d->serial};

    for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++) {
        for (int n = 0; n < 2; n++) {
            if (names[n].n >= 3 && memcmp(names[n].p, makers[i], 3) == 0)
                return true;
        }
    }
    return false;
}

static int add(struct decoded *d, struct event_mapped m, struct obis o,
               struct decimal value, struct meter_time time)
{
    char name[OBIS_TEXT];
    struct decoded_event e = {
        .code = arena_str(d->arena, m.code),
        .state = m.state,
        .time = time,
        .detail = arena_printf(d->arena, "%s=%lld", obis_text(o, name),
                               (long long)value.mantissa)};

    return e.code.p ? decoded_add_event(d, &e) : ERR_FULL;
}

static int add_bits(struct decoded *d, struct obis o, struct decimal value,
                    struct meter_time time)
{
    char unknown[EVENT_NAME];
    int r = 0;

    for (unsigned bit = 0; bit < 32 && r >= 0; bit++) {
        if (value.mantissa >> bit & 1)
            r = add(d, event_map(EVENT_SPODES_BIT, 0, bit, unknown), o, value,
                    time);
    }
    return r;
}

int dlms_add_event(struct decoded *d, struct obis o, struct decimal value,
                   struct meter_time time)
{
    char unknown[EVENT_NAME];
    bool idis = is_idis_maker(d);
    enum event_source first = idis ? EVENT_IDIS : EVENT_SPODES;
    enum event_source second = idis ? EVENT_SPODES : EVENT_IDIS;

    if (o.a != 0 || value.exp10 != 0 || value.mantissa <= 0)
        return 0;
    if (o.c == ALARM_C && o.d == ALARM_D && o.e == 0 && !idis)
        return add_bits(d, o, value, time);
    if (o.c != EVENT_C || o.d != EVENT_D || value.mantissa > UINT16_MAX)
        return 0;
    unsigned code = (unsigned)value.mantissa;
    struct event_mapped m = event_map(first, o.e, code, unknown);
    if (!m.known && o.e != 0) {
        m = event_map(second, o.e, code, unknown);
        if (!m.known)
            m = event_map(first, o.e, code, unknown);
    }
    return add(d, m, o, value, time);
}
