/*
 * dlms_list.c - lists whose meaning is published, not in the telegram. On the
 * Norwegian and Swedish HAN port they name their version: Kamstrup and the
 * Swedish Kaifa send names without scales, the Norwegian Kaifa values alone. On
 * the Austrian customer interface they are told by their shape.
 *
 * Source: NEK and NVE, OBIS list information of Kaifa (KFM_001) and Kamstrup
 * (Kamstrup_V0001); Wiener Netze, customer interface (Iskraemeco AM550, Landis+
 * Gyr E450); the list of Siemens IM350 and AM550 behind push setup 0-6:25.9.0,
 * from telegrams.
 */
#include "codecs/dlms.h"

enum { W = 27, VAR = 29, WH = 30, VARH = 32, A = 33, V = 35 };

struct dlms_list {
    const char *version; /* how it begins */
    int8_t power, current, voltage, energy;
};

enum { KAMSTRUP, KAIFA, VIENNA, CUSTOMER };
static const struct dlms_list lists[] = {
    [KAMSTRUP] = {"Kamstrup_V", 0, -2, 0, 1},
    [KAIFA] = {"KFM_", 0, -3, -1, 0},
    [VIENNA] = {NULL, 0, 0, 0, 0},
    [CUSTOMER] = {NULL, 0, 0, 0, 0},
};

/* Clock, four energies, four powers. */
static const struct obis vienna[] = {
    {0, 0, 1, 0, 0, 255}, {1, 0, 1, 8, 0, 255}, {1, 0, 2, 8, 0, 255},
    {1, 0, 3, 8, 0, 255}, {1, 0, 4, 8, 0, 255}, {1, 0, 1, 7, 0, 255},
    {1, 0, 2, 7, 0, 255}, {1, 0, 3, 7, 0, 255}, {1, 0, 4, 7, 0, 255},
};
/* Push setup, number, time of day, date, four energies, two powers, two texts.
 */
static const struct obis customer[] = {
    {0, 6, 25, 9, 0, 255}, {0, 0, 96, 1, 0, 255},  {0, 0, 1, 1, 0, 255},
    {0, 0, 1, 2, 0, 255},  {1, 0, 1, 8, 0, 255},   {1, 0, 2, 8, 0, 255},
    {1, 0, 3, 8, 0, 255},  {1, 0, 4, 8, 0, 255},   {1, 0, 1, 7, 0, 255},
    {1, 0, 2, 7, 0, 255},  {0, 0, 96, 13, 0, 255}, {0, 0, 96, 13, 1, 255},
};
enum { VIENNA_N = 9, CUSTOMER_N = 12, CUSTOMER_FIRST = 4, CUSTOMER_END = 10 };

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
        size_t n = lists[i].version ? strlen(lists[i].version) : 0;
        if (n && version.n >= n && memcmp(version.p, lists[i].version, n) == 0)
            return &lists[i];
    }
    return NULL;
}

static bool are_u32(const struct axdr *v, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (v[i].type != AXDR_U32)
            return false;
    }
    return true;
}

static bool is_vienna(const struct axdr *root)
{
    return root->n == VIENNA_N && root[1].type == AXDR_OCTETS &&
           root[1].n == COSEM_TIME && are_u32(root + 1, 1, VIENNA_N);
}

static bool is_customer(const struct axdr *root)
{
    for (uint32_t i = 1; i <= CUSTOMER_FIRST; i++) {
        if (root->n != CUSTOMER_N || root[i].type != AXDR_OCTETS)
            return false;
    }
    return root[1].n == sizeof(struct obis) && root[1].p[2] == 25 &&
           root[1].p[3] == 9 && root[3].n == 4 && root[4].n == 5 &&
           are_u32(root + 1, CUSTOMER_FIRST, CUSTOMER_END);
}

/* Kaifa's list 1 is one number, the power; nothing else is known to be. */
const struct dlms_list *dlms_list_of(const struct axdr *root)
{
    const struct axdr *first = root + 1;

    if (root->type != AXDR_STRUCT || root->n == 0)
        return NULL;
    if (root->n == KAIFA_LIST1 && first->type == AXDR_U32)
        return &lists[KAIFA];
    if (is_vienna(root))
        return &lists[VIENNA];
    if (is_customer(root))
        return &lists[CUSTOMER];
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
    if (l == &lists[VIENNA] || l == &lists[CUSTOMER]) {
        *ret = l == &lists[VIENNA] ? vienna[i] : customer[i];
        return true;
    }
    if (l != &lists[KAIFA])
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
