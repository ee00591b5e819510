/*
 * unit.c - the unit table of unit.h, and exact conversion to canonical units.
 */
#include "schema/unit.h"
#include "server/base/err.h"

static const struct unit_row {
    const char *name;
    enum unit canonical;
    int64_t mul;
    int exp10;
} units[UNIT_COUNT] = {
#define X(id, name, canonical, mul, exp10) [id] = {name, canonical, mul, exp10},
    UNIT_LIST(X)
#undef X
};

static bool is_unit(enum unit u)
{
    return (unsigned)u < UNIT_COUNT;
}

const char *unit_name(enum unit u)
{
    return is_unit(u) ? units[u].name : "?";
}

int unit_parse(struct str s, enum unit *ret)
{
    for (int i = 0; i < UNIT_COUNT; i++) {
        if (str_is(s, units[i].name)) {
            *ret = (enum unit)i;
            return 0;
        }
    }
    return ERR_UNKNOWN;
}

enum unit unit_canonical(enum unit u)
{
    return is_unit(u) ? units[u].canonical : UNIT_NONE;
}

int unit_convert(struct decimal value, enum unit from, struct decimal *ret)
{
    if (!is_unit(from))
        return ERR_RANGE;
    return decimal_scale(value, units[from].mul, units[from].exp10, ret);
}
