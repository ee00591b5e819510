/* request.c - see request.h. */
#include "server/clocks/request.h"
#include "codecs/ts003.h"
#include "server/base/bytes.h"

enum { VEGA_PORT = 4, VEGA_TIME = 0xFF, RESYNC_TIMES = 3 };
/* Elvaco user's manuals CMi4130 (2020-06, table 14), CMi4140, CMi4160: 0, then
 * TLV: 13 "Set Time Relative", four bytes of seconds, low byte first. Their
 * examples for 60 s and back are 3C000000 and 3C000080: a sign, no complement.
 * A CMi4110 (2018, table 13) takes two bytes of minutes: not sent. */
enum { ELVACO_PORT = 2, ELVACO_SET_RELATIVE = 0x13 };
static const uint32_t elvaco_minus = 0x80000000;

const char *clock_way_name(enum clock_way w)
{
    static const char *const names[] = {"none", "ts003", "vega", "heo",
                                        "elvaco"};
    return (unsigned)w <= WAY_ELVACO ? names[w] : "?";
}

/* A later request in one frame is the newer one. */
static void take_ts003(struct clock_request *r, struct str payload)
{
    struct bytes in = bytes_of(payload.p, payload.n);
    struct ts003_message m;

    while (ts003_next(&in, TS003_UP, &m) == 1) {
        if (m.cid == TS003_VERSION && m.package == TS003_PACKAGE)
            r->package = m.version;
        else if (m.cid == TS003_PERIOD)
            r->period = m.not_supported ? -1 : 1;
        if (m.cid == TS003_TIME) {
            r->asks = true;
            r->must_answer = m.answer_required;
            r->token = m.token;
        }
        if (m.cid != TS003_VERSION)
            r->device_us = ts003_utc_us(m.device_time);
    }
}

static void take_vega(struct clock_request *r, struct str payload)
{
    struct bytes in = bytes_of(payload.p, payload.n);

    if (bytes_u8(&in) != VEGA_TIME)
        return;
    r->device_us = (int64_t)bytes_u32(&in) * US_PER_S;
    r->asks = !in.ran_out;
}

struct clock_request request_read(const struct clock_contact *c)
{
    struct clock_request r = {.device_us = TIME_NONE};

    if (c->source == SOURCE_HEO) {
        r.way = WAY_HEO;
        r.device_us = c->clock_us;
    } else if (c->port == TS003_PORT) {
        r.way = WAY_TS003;
        take_ts003(&r, c->payload);
    } else if (c->port == VEGA_PORT && c->codec &&
               (strcmp(c->codec->name, "vega-si11") == 0 ||
                strcmp(c->codec->name, "karat-928lw") == 0)) {
        r.way = WAY_VEGA;
        take_vega(&r, c->payload);
    }
    return r;
}

static void put(struct clock_answer *a, const struct ts003_message *m)
{
    uint8_t bytes[TS003_SIZE_MAX];
    int n = ts003_encode(m, TS003_DOWN, bytes);

    if (n <= 0 || a->n + n > ANSWER_MAX)
        return;
    memcpy(a->bytes + a->n, bytes, (size_t)n);
    a->n += n;
    a->port = TS003_PORT;
}

static void answer_elvaco(struct clock_answer *a, int32_t s)
{
    uint32_t v = s < 0 ? elvaco_minus | (uint32_t) - (int64_t)s : (uint32_t)s;

    a->port = ELVACO_PORT;
    a->n = 7;
    a->bytes[0] = 0;
    a->bytes[1] = ELVACO_SET_RELATIVE;
    a->bytes[2] = 4;
    for (int i = 0; i < 4; i++)
        a->bytes[3 + i] = (uint8_t)(v >> (8 * i));
}

void answer_time(struct clock_answer *a, const struct clock_request *r,
                 int64_t correction_s)
{
    int32_t s = correction_s > INT32_MAX   ? INT32_MAX
                : correction_s < INT32_MIN ? INT32_MIN
                                           : (int32_t)correction_s;

    if (r->way == WAY_TS003) {
        put(a, &(struct ts003_message){
                   .cid = TS003_TIME, .correction_s = s, .token = r->token});
        return;
    }
    if (r->way == WAY_ELVACO) {
        answer_elvaco(a, s);
        return;
    }
    a->port = VEGA_PORT;
    a->bytes[0] = VEGA_TIME;
    for (int i = 0; i < 8; i++)
        a->bytes[1 + i] = (uint8_t)((uint64_t)correction_s >> (8 * i));
    a->n = 9;
}

void answer_version(struct clock_answer *a)
{
    put(a, &(struct ts003_message){.cid = TS003_VERSION});
}

void answer_period(struct clock_answer *a, int period)
{
    put(a, &(struct ts003_message){.cid = TS003_PERIOD,
                                   .period = (uint8_t)period});
}

void answer_resync(struct clock_answer *a)
{
    put(a, &(struct ts003_message){.cid = TS003_RESYNC,
                                   .transmissions = RESYNC_TIMES});
}
