/*
 * sntp.c - see sntp.h. The choice among sources is Marzullo's: the point that
 * most of the intervals offset +- error share.
 */
#include "timesvc/sntp.h"
#include "server/base/bytes.h"
#include "server/base/err.h"

#define ALARM_US  (100 * 1000LL)
#define UNSURE_US (1000 * 1000LL)

static const int64_t unix_in_ntp_s = 2208988800; /* 1900 to 1970 */
static const int64_t era_s = 1LL << 32;

enum { MODE_CLIENT = 3, MODE_SERVER = 4, VERSION = 4, LEAP_UNKNOWN = 3 };
enum { AT_ROOT_DELAY = 4, AT_REFERENCE = 16, AT_ORIGIN = 24, AT_RECEIVE = 32 };
enum { AT_TRANSMIT = 40, STRATUM_MOST = 15 };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

uint64_t ntp_time(int64_t utc_us)
{
    int64_t s = floor_div(utc_us, US_PER_S);
    uint64_t us = (uint64_t)(utc_us - s * US_PER_S);
    uint64_t fraction = ((us << 32) + US_PER_S / 2) / US_PER_S;

    return ((uint64_t)(s + unix_in_ntp_s) << 32) + fraction;
}

int64_t ntp_utc_us(uint64_t ntp, int64_t near_us)
{
    int64_t s = (int64_t)(ntp >> 32) - unix_in_ntp_s;
    uint64_t us = ((ntp & 0xFFFFFFFF) * US_PER_S + (1u << 31)) >> 32;
    int64_t eras =
        floor_div(floor_div(near_us, US_PER_S) - s + era_s / 2, era_s);

    return (s + eras * era_s) * US_PER_S + (int64_t)us;
}

static void put(uint8_t *out, size_t n, uint64_t v)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static uint64_t get(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

void sntp_request(uint8_t out[SNTP_SIZE], int64_t now_us)
{
    memset(out, 0, SNTP_SIZE);
    out[0] = VERSION << 3 | MODE_CLIENT;
    put(out + AT_TRANSMIT, 8, ntp_time(now_us));
}

/* 16.16 fixed-point seconds of root delay and dispersion. */
static int64_t short_us(const uint8_t *p)
{
    return (int64_t)(get(p, 4) * US_PER_S >> 16);
}

int sntp_reply(struct str packet, int64_t sent_us, int64_t come_us,
               struct sntp_sample *ret)
{
    const uint8_t *p = (const uint8_t *)packet.p;

    if (packet.n < SNTP_SIZE)
        return ERR_SHORT;
    if ((p[0] & 7) != MODE_SERVER ||
        get(p + AT_ORIGIN, 8) != ntp_time(sent_us) ||
        get(p + AT_TRANSMIT, 8) == 0)
        return ERR_FORMAT;
    if (p[1] == 0)
        return ERR_FULL;
    if (p[0] >> 6 == LEAP_UNKNOWN || p[1] > STRATUM_MOST)
        return ERR_RANGE;
    int64_t received = ntp_utc_us(get(p + AT_RECEIVE, 8), come_us);
    int64_t left = ntp_utc_us(get(p + AT_TRANSMIT, 8), come_us);
    int64_t round = (come_us - sent_us) - (left - received);
    if (round < 0 || come_us < sent_us)
        round = 0;
    *ret = (struct sntp_sample){
        .at_us = come_us,
        .offset_us = ((received - sent_us) + (left - come_us)) / 2,
        .error_us = round / 2 + short_us(p + AT_ROOT_DELAY) / 2 +
                    short_us(p + AT_ROOT_DELAY + 4)};
    return 0;
}

int sntp_answer(struct str packet, int64_t come_us, int64_t now_us,
                int64_t error_us, int stratum, uint8_t out[SNTP_SIZE])
{
    const uint8_t *p = (const uint8_t *)packet.p;

    if (packet.n < SNTP_SIZE)
        return ERR_SHORT;
    if ((p[0] & 7) != MODE_CLIENT || (p[0] >> 3 & 7) == 0)
        return ERR_FORMAT;
    memset(out, 0, SNTP_SIZE);
    out[0] = (uint8_t)((stratum ? 0 : LEAP_UNKNOWN << 6) | (p[0] & 0x38) |
                       MODE_SERVER);
    out[1] = (uint8_t)(stratum ? stratum : STRATUM_MOST + 1);
    out[2] = p[2];
    out[3] = (uint8_t)-20; /* a microsecond */
    put(out + AT_ROOT_DELAY + 4, 4,
        (uint64_t)(error_us > 0 ? error_us : 0) * 65536 / US_PER_S);
    put(out + AT_REFERENCE, 8, ntp_time(come_us));
    memcpy(out + AT_ORIGIN, p + AT_TRANSMIT, 8);
    put(out + AT_RECEIVE, 8, ntp_time(come_us));
    put(out + AT_TRANSMIT, 8, ntp_time(now_us));
    return 0;
}

void sntp_take(struct sntp_source *s, const struct sntp_sample *sample)
{
    s->samples[s->next] = *sample;
    s->next = (s->next + 1) % SNTP_FILTER;
    s->n += s->n < SNTP_FILTER;
}

bool sntp_best(const struct sntp_source *s, int64_t now_us, int64_t max_age_us,
               struct sntp_sample *ret)
{
    const struct sntp_sample *best = NULL;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct sntp_sample *c = &s->samples[i];
        if (now_us - c->at_us <= max_age_us && now_us >= c->at_us &&
            (!best || c->error_us < best->error_us))
            best = c;
    }
    if (best)
        *ret = *best;
    return best;
}

const char *own_clock_name(enum own_clock c)
{
    static const char *const names[] = {"unwatched", "ok", "alarm", "unsure"};
    return (unsigned)c <= OWN_UNSURE ? names[c] : "?";
}

/* How many of the samples hold `us` true. */
static uint32_t agreeing(const struct sntp_sample *v, uint32_t n, int64_t us)
{
    uint32_t agree = 0;
    for (uint32_t i = 0; i < n; i++)
        agree += us >= v[i].offset_us - v[i].error_us &&
                 us <= v[i].offset_us + v[i].error_us;
    return agree;
}

/* The most shared stretch begins where some interval begins, and ends where
 * the first of those that share it does. */
static void shared(const struct sntp_sample *v, uint32_t n,
                   struct own_verdict *r)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t low = v[i].offset_us - v[i].error_us, high = INT64_MAX;
        uint32_t agree = agreeing(v, n, low);

        for (uint32_t k = 0; k < n; k++) {
            int64_t begin = v[k].offset_us - v[k].error_us;
            int64_t end = v[k].offset_us + v[k].error_us;
            if (begin <= low && low <= end && end < high)
                high = end;
        }
        if (agree > r->agree) {
            r->agree = agree;
            r->offset_us = low + (high - low) / 2;
            r->error_us = (high - low + 1) / 2;
        }
    }
}

struct own_verdict sntp_verdict(const struct sntp_source *sources, uint32_t n,
                                int64_t now_us, int64_t max_age_us)
{
    struct sntp_sample v[SNTP_SOURCES];
    struct own_verdict r = {.state = n ? OWN_UNSURE : OWN_UNWATCHED};

    for (uint32_t i = 0; i < n && i < SNTP_SOURCES; i++)
        r.heard +=
            sntp_best(&sources[i], now_us, max_age_us, &v[r.heard]) ? 1 : 0;
    shared(v, r.heard, &r);
    if (n == 0 || 2 * r.agree <= n)
        return r;
    int64_t off = r.offset_us < 0 ? -r.offset_us : r.offset_us;
    r.state = off > UNSURE_US  ? OWN_UNSURE
              : off > ALARM_US ? OWN_ALARM
                               : OWN_OK;
    return r;
}
