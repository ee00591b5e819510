/*
 * cron.c - see cron.h. Parsing fills bit sets; the next time is looked for day
 * by day in civil time, so that a year without a match costs 366 tests.
 */
#include "timesvc/cron.h"
#include "server/base/err.h"
#include "server/base/hash.h"
#include "timesvc/zone.h"

#define MINUTE_US (60 * US_PER_S)
#define HOUR_US   (3600 * US_PER_S)
#define DAY_US    (86400 * US_PER_S)

enum { YEARS_AHEAD = 40, FIELDS = 5, EVERY_HOUR = 0xFFFFFF, AROUND_H = 3 };

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may",
                                          "jun", "jul", "aug", "sep", "oct",
                                          "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed",
                                        "thu", "fri", "sat", NULL};

static const struct field {
    int least, most;
    const char *const *names; /* of `least` and on */
    const char *range;
} fields[FIELDS] = {
    {0, 59, NULL, "minutes are 0 to 59"},
    {0, 23, NULL, "hours are 0 to 23"},
    {1, 31, NULL, "days of the month are 1 to 31"},
    {1, 12, month_names, "months are 1 to 12 or jan to dec"},
    {0, 7, day_names, "days of the week are 0 to 7 or sun to sat"},
};

struct reader {
    struct str text;
    size_t at;
    uint64_t seed;
    const char *error;
};

static void fail(struct reader *r, const char *error)
{
    if (!r->error)
        r->error = error;
}

static char peek(const struct reader *r)
{
    return r->at < r->text.n ? r->text.p[r->at] : 0;
}

static bool take(struct reader *r, char c)
{
    if (peek(r) != c || r->error)
        return false;
    r->at++;
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct reader *r)
{
    while (!r->error && r->at < r->text.n && blank(peek(r)))
        r->at++;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static int word(struct reader *r, const struct field *f)
{
    for (int i = 0; f->names && f->names[i]; i++) {
        const char *name = f->names[i];
        if (r->text.n - r->at >= 3 && lower(r->text.p[r->at]) == name[0] &&
            lower(r->text.p[r->at + 1]) == name[1] &&
            lower(r->text.p[r->at + 2]) == name[2]) {
            r->at += 3;
            return f->least + i;
        }
    }
    fail(r, f->range);
    return f->least;
}

/* A number or a name; anything else, or one out of bounds, fails. */
static int number(struct reader *r, const struct field *f)
{
    int v = 0, digits = 0;

    if (!digit(peek(r)))
        return word(r, f);
    for (; digit(peek(r)); r->at++, digits++)
        v = v < 1000 ? 10 * v + (peek(r) - '0') : v;
    if (v < f->least || v > f->most || digits > 2) {
        r->at -= (size_t)digits;
        fail(r, f->range);
        return f->least;
    }
    return v;
}

static int draw(struct reader *r, int low, int high)
{
    struct {
        uint64_t seed, at;
    } key = {r->seed, r->at};
    struct hash128 h = hash128(&key, sizeof key);
    uint64_t n;

    memcpy(&n, &h, sizeof n);
    return low + (int)(n % (uint64_t)(high - low + 1));
}

static int step(struct reader *r)
{
    static const struct field of_step = {1, 59, NULL, "a step is 1 to 59"};

    return take(r, '/') ? number(r, &of_step) : 0;
}

static uint64_t item(struct reader *r, const struct field *f)
{
    bool random = take(r, '?');
    bool all = !random && take(r, '*');
    int low = all ? f->least : number(r, f), high = low;
    bool range = !all && take(r, '-');
    uint64_t bits = 0;

    if (all)
        high = f->most;
    else if (range)
        high = number(r, f);
    if (high < low)
        fail(r, "a range runs from the smaller to the larger number");
    if (random && !range)
        fail(r, "a random number is written ?a-b");
    if (random && !r->error)
        low = high = draw(r, low, high);
    int by = random ? 0 : step(r);
    if (by && !all && !range)
        high = f->most; /* "5/10": from 5 on */
    for (int v = low; v <= high; v += by ? by : 1)
        bits |= 1ULL << v;
    return bits;
}

static uint64_t field(struct reader *r, const struct field *f)
{
    uint64_t bits = 0;

    skip_blanks(r);
    if (peek(r) == 0 || peek(r) == '|')
        fail(r, "five fields: minute hour day month weekday");
    do {
        bits |= item(r, f);
    } while (take(r, ','));
    if (!r->error && peek(r) != 0 && peek(r) != '|' && !blank(peek(r)))
        fail(r, "not part of a field");
    return bits;
}

static struct cron_part part(struct reader *r)
{
    uint64_t v[FIELDS];

    for (int i = 0; i < FIELDS; i++)
        v[i] = r->error ? 0 : field(r, &fields[i]);
    skip_blanks(r);
    if (peek(r) != 0 && peek(r) != '|')
        fail(r, "more than five fields; join schedules with |");
    return (struct cron_part){v[0], (uint32_t)v[1], (uint32_t)v[2],
                              (uint16_t)v[3],
                              (uint8_t)((v[4] | v[4] >> 7) & 0x7F)};
}

int cron_parse(struct str text, uint64_t seed, struct cron *ret,
               struct cron_error *error)
{
    struct reader r = {.text = text, .seed = seed};
    struct cron c = {0};
    int err = 0;

    if (text.n > CRON_TEXT) {
        err = ERR_FULL;
        r.error = "an expression has at most 1024 characters";
    }
    while (!r.error) {
        if (c.n == CRON_PARTS) {
            err = ERR_FULL;
            fail(&r, "at most 16 schedules joined with |");
            break;
        }
        c.parts[c.n++] = part(&r);
        if (!take(&r, '|'))
            break;
    }
    if (r.error) {
        if (error)
            *error = (struct cron_error){r.error, r.at};
        return err ? err : ERR_FORMAT;
    }
    *ret = c;
    return 0;
}

uint64_t cron_seed(int32_t tenant, int64_t id)
{
    return (uint64_t)(uint32_t)tenant << 40 ^ (uint64_t)id;
}

/* ---- the next time ---- */

static int64_t floor_to(int64_t us, int64_t unit)
{
    int64_t rest = us % unit;
    return us - rest - (rest < 0 ? unit : 0);
}

static bool day_matches(const struct cron_part *p, int64_t day_us)
{
    int64_t days = floor_to(day_us, DAY_US) / DAY_US;
    int year, month, day;

    civil_from_days(days, &year, &month, &day);
    return p->months >> month & 1 && p->days >> day & 1 &&
           p->weekdays >> ((days % 7 + 11) % 7) & 1; /* day 0: Thursday */
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == TIME_NONE || (b != TIME_NONE && b < a) ? b : a;
}

/* The instants of one civil minute that come after `after_us`. */
static int64_t minute_next(const struct cron_part *p, const struct zone *z,
                           int64_t local_us, int64_t after_us)
{
    bool elapsed = p->hours == EVERY_HOUR;
    int64_t at[2];
    int n = 1;

    if (z)
        n = zone_instants(z, local_us, at);
    else
        at[0] = local_us;
    if (n == 0 && elapsed)
        return TIME_NONE;
    if (at[0] > after_us)
        return at[0];
    return n == 2 && elapsed && at[1] > after_us ? at[1] : TIME_NONE;
}

static int64_t hour_next(const struct cron_part *p, const struct zone *z,
                         int64_t hour_us, int64_t after_us)
{
    int64_t best = TIME_NONE;

    for (int m = 0; m < 60; m++) {
        if (p->minutes >> m & 1)
            best = earlier(
                best, minute_next(p, z, hour_us + m * MINUTE_US, after_us));
    }
    return best;
}

/* Around a change of the offset a later civil time can be an earlier instant,
 * by a few hours at most: so far around `near_us` and the time found is looked.
 */
static int64_t day_next(const struct cron_part *p, const struct zone *z,
                        int64_t day_us, int64_t near_us, int64_t after_us)
{
    int64_t best = TIME_NONE;
    int past = 0;

    for (int h = 0; h < 24 && past <= AROUND_H; h++) {
        int64_t hour = day_us + h * HOUR_US;
        past += best != TIME_NONE;
        if (p->hours >> h & 1 && hour >= near_us - (AROUND_H + 1) * HOUR_US)
            best = earlier(best, hour_next(p, z, hour, after_us));
    }
    return best;
}

static int64_t part_next(const struct cron_part *p, const struct zone *z,
                         int64_t after_us)
{
    int64_t local = after_us + (z ? zone_offset_s(z, after_us) * US_PER_S : 0);
    int64_t first = floor_to(local, DAY_US) - DAY_US;
    int64_t found = TIME_NONE;

    for (int64_t d = 0; d < YEARS_AHEAD * 366LL; d++) {
        int64_t day = first + d * DAY_US;
        bool last = found != TIME_NONE;
        if (day_matches(p, day))
            found = earlier(found, day_next(p, z, day, local, after_us));
        if (last)
            break;
    }
    return found;
}

int64_t cron_next(const struct cron *c, const struct zone *z, int64_t after_us)
{
    int64_t best = TIME_NONE;

    for (uint32_t i = 0; i < c->n; i++)
        best = earlier(best, part_next(&c->parts[i], z, after_us));
    return best;
}
