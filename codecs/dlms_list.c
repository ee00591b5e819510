/*
 * dlms_list.c - lists whose meaning is published by the version that they name,
 * not in the telegram: the Norwegian and Swedish HAN port. Kamstrup and the
 * Swedish Kaifa send names without scales, the Norwegian Kaifa values alone.
 *
 * Source: NEK and NVE, OBIS list information of Kaifa (KFM_001) and Kamstrup
 * (Kamstrup_V0001).
 */
#include "codecs/dlms.h"

enum { W = 27, VAR = 29, WH = 30, VARH = 32, A = 33, V = 35 };

struct dlms_list {
    const char *version; /* how it begins */
    int8_t power, current, voltage, energy;
};

static const struct dlms_list lists[] = {
    {"Kamstrup_V", 0, -2, 0, 1},
    {"KFM_", 0, -3, -1, 0},
};

/* Values of Kaifa's list 3, three phases; list 2 ends before the clock. */
static const struct obis kaifa[] = {
    {1, 1, 0, 2, 129, 255}, {0, 0, 96, 1, 0, 255}, {0, 0, 96, 1, 7, 255},
    {1, 0, 1, 7, 0, 255},   {1, 0, 2, 7, 0, 255},  {1, 0, 3, 7, 0, 255},
    {1, 0, 4, 7, 0, 255},   {1, 0, 31, 7, 0, 255}, {1, 0, 51, 7, 0, 255},
    {1, 0, 71, 7, 0, 255},  {1, 0, 32, 7, 0, 255}, {1, 0, 52, 7, 0, 255},
    {1, 0, 72, 7, 0, 255},  {0, 0, 1, 0, 0, 255},  {1, 0, 1, 8, 0, 255},
    {1, 0, 2, 8, 0, 255},   {1, 0, 3, 8, 0, 255},  {1, 0, 4, 8, 0, 255},
};
enum { KAIFA_POWER = 3, KAIFA_LIST1 = 1, KAIFA_PHASE_1 = 8 };

/* How many values a structure may hold, and which it leaves out. */
static const struct shape {
    uint32_t n;
    bool single_phase;
} shapes[] = {{9, true}, {13, false}, {14, true}, {18, false}};

const struct dlms_list *dlms_list_find(struct str version)
{
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        size_t n = strlen(lists[i].version);
        if (version.n >= n && memcmp(version.p, lists[i].version, n) == 0)
            return &lists[i];
    }
    return NULL;
}

/* Kaifa's list 1 is one number, the power; nothing else is known to be. */
const struct dlms_list *dlms_list_of(const struct axdr *root)
{
    const struct axdr *first = root + 1;

    if (root->type != AXDR_STRUCT || root->n == 0)
        return NULL;
    if (root->n == KAIFA_LIST1 && first->type == AXDR_U32)
        return &lists[1];
    if (first->type != AXDR_OCTETS && first->type != AXDR_TEXT)
        return NULL;
    /* the version, or its name 0.2.129 and then the version */
    if (root->n > 1 && first->n == sizeof(struct obis) && first->p[3] == 2 &&
        first->p[4] == 129 && first[1].type == AXDR_OCTETS)
        first++;
    return dlms_list_find((struct str){(const char *)first->p, first->n});
}

bool dlms_list_name(const struct dlms_list *l, uint32_t n, uint32_t i,
                    struct obis *ret)
{
    if (l != &lists[1])
        return false;
    if (n == KAIFA_LIST1) {
        *ret = kaifa[KAIFA_POWER];
        return true;
    }
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++) {
        if (shapes[s].n != n)
            continue;
        if (shapes[s].single_phase && i >= KAIFA_PHASE_1)
            i += i > KAIFA_PHASE_1 ? 4 : 2; /* no phases 2 and 3 */
        *ret = kaifa[i];
        return true;
    }
    return false;
}

void dlms_list_scale(const struct dlms_list *l, struct obis o, int8_t *scaler,
                     uint8_t *unit)
{
    bool power = o.d == 7 && o.c >= 1 && o.c <= 4;
    bool energy = o.d == 8 && o.c >= 1 && o.c <= 4;

    if (o.a != 1)
        return;
    if (power || energy) {
        *scaler = power ? l->power : l->energy;
        *unit = power ? (o.c < 3 ? W : VAR) : o.c < 3 ? WH : VARH;
    } else if (o.d == 7 && (o.c == 31 || o.c == 51 || o.c == 71)) {
        *scaler = l->current;
        *unit = A;
    } else if (o.d == 7 && (o.c == 32 || o.c == 52 || o.c == 72)) {
        *scaler = l->voltage;
        *unit = V;
    }
}
