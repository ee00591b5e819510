/*
 * ts003.c - clock synchronization messages and their codec.
 *
 * Source: LoRa Alliance TS003-1.0.0 and TS003-2.0.0 (the bytes are the same).
 * Little-endian; several commands may follow each other in one frame:
 *   00 down PackageVersionReq            | up: u8 package (1), u8 version
 *   01 up   AppTimeReq: u32 device time, u8 bit 4 answer required, 3..0 token
 *      down AppTimeAns: i32 correction, u8 bits 3..0 token
 *   02 down DeviceAppTimePeriodicityReq: u8 bits 3..0 period
 *      up   ...Ans: u8 bit 0 not supported, u32 device time
 *   03 down ForceDeviceResync: u8 bits 2..0 transmissions
 *
 * The codec reads uplinks: the device's clock and what it asks for. It encodes
 * "set the clock" as ForceDeviceResync: the correction itself can only answer
 * an AppTimeReq, and is the time service's.
 */
#include "codecs/ts003.h"
#include "codecs/cosem.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include <stdio.h>

enum { GPS_EPOCH_S = 315964800, LEAP_S = 18, TOKEN_MAX = 15, RESYNC_MAX = 7 };
enum { FLAG_ANSWER = 0x10, RESYNC_TIMES = 3 };

int64_t ts003_utc_us(uint32_t gps_s)
{
    return ((int64_t)gps_s + GPS_EPOCH_S - LEAP_S) * US_PER_S;
}

int64_t ts003_gps_s(int64_t utc_us)
{
    int64_t s = utc_us / US_PER_S - (utc_us % US_PER_S < 0);
    return s - GPS_EPOCH_S + LEAP_S;
}

int32_t ts003_correction(int64_t heard_us, uint32_t device_time)
{
    int64_t now = ts003_gps_s(heard_us);
    int64_t diff = (int64_t)(uint32_t)now - (int64_t)device_time;

    return diff > INT32_MAX   ? INT32_MAX
           : diff < INT32_MIN ? INT32_MIN
                              : (int32_t)diff;
}

int ts003_next(struct bytes *in, enum ts003_direction dir,
               struct ts003_message *ret)
{
    struct ts003_message m = {0};

    if (bytes_left(in) == 0)
        return 0;
    uint8_t cid = bytes_u8(in);
    m.cid = cid;
    if (cid == TS003_VERSION && dir == TS003_UP) {
        m.package = bytes_u8(in);
        m.version = bytes_u8(in);
    } else if (cid == TS003_TIME) {
        uint32_t time = bytes_u32(in);
        uint8_t param = bytes_u8(in);
        m.token = param & TOKEN_MAX;
        if (dir == TS003_UP) {
            m.device_time = time;
            m.answer_required = param & FLAG_ANSWER;
        } else {
            m.correction_s = (int32_t)time;
        }
    } else if (cid == TS003_PERIOD && dir == TS003_UP) {
        m.not_supported = bytes_u8(in) & 1;
        m.device_time = bytes_u32(in);
    } else if (cid == TS003_PERIOD) {
        m.period = bytes_u8(in) & 15;
    } else if (cid == TS003_RESYNC && dir == TS003_DOWN) {
        m.transmissions = bytes_u8(in) & RESYNC_MAX;
    } else if (cid != TS003_VERSION) {
        return ERR_FORMAT;
    }
    if (in->ran_out)
        return ERR_SHORT;
    *ret = m;
    return 1;
}

static int put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (8 * i));
    return 4;
}

int ts003_encode(const struct ts003_message *m, enum ts003_direction dir,
                 uint8_t *out)
{
    bool up = dir == TS003_UP;
    int n = 0;

    if (m->token > TOKEN_MAX || m->period > 15 || m->transmissions > RESYNC_MAX)
        return ERR_RANGE;
    out[n++] = (uint8_t)m->cid;
    switch (m->cid) {
    case TS003_VERSION:
        if (up) {
            out[n++] = m->package;
            out[n++] = m->version;
        }
        return n;
    case TS003_TIME:
        n += put_u32(out + n, up ? m->device_time : (uint32_t)m->correction_s);
        out[n++] =
            (uint8_t)(m->token | (up && m->answer_required ? FLAG_ANSWER : 0));
        return n;
    case TS003_PERIOD:
        out[n++] = up ? m->not_supported : m->period;
        return up ? n + put_u32(out + n, m->device_time) : n;
    case TS003_RESYNC:
        out[n++] = m->transmissions;
        return up ? ERR_UNSUPPORTED : m->transmissions ? n : ERR_RANGE;
    }
    return ERR_UNSUPPORTED;
}

static void set_clock(struct decoded *d, uint32_t device_time)
{
    d->clock = (struct meter_time){METER_TIME_UTC, ts003_utc_us(device_time),
                                   false, -1};
    d->rows[0].time = d->clock;
}

static int add_message(struct decoded *d, const struct ts003_message *m,
                       size_t at)
{
    struct str text;

    if (m->cid == TS003_VERSION)
        return cosem_add_text(
            d, 0, at, "package-version",
            arena_printf(d->arena, "%u.%u", m->package, m->version));
    set_clock(d, m->device_time);
    if (m->cid == TS003_PERIOD)
        return cosem_add_text(d, 0, at, "time-period",
                              m->not_supported ? STR("not supported")
                                               : STR("accepted"));
    text = arena_printf(d->arena, "token %u%s", m->token,
                        m->answer_required ? ", answer required" : "");
    return cosem_add_text(d, 0, at, "time-request", text);
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct bytes b = bytes_of(in->payload.p, in->payload.n);
    struct ts003_message m;
    size_t at = 0;
    int r;

    while ((r = ts003_next(&b, TS003_UP, &m)) == 1) {
        if ((r = add_message(d, &m, at)) < 0)
            return r;
        at = bytes_offset(&b);
    }
    if (r == ERR_SHORT)
        return decoded_fail(d, r, "TS003: message cut off", bytes_offset(&b));
    if (r < 0)
        return decoded_fail(d, r, "TS003: unknown command", at);
    return 0;
}

static int encode(const struct command *c, struct encoded *out)
{
    struct ts003_message m = {.cid = TS003_RESYNC,
                              .transmissions = RESYNC_TIMES};
    uint8_t bytes[TS003_SIZE_MAX];

    if (c->op != OP_SET_CLOCK)
        return ERR_UNSUPPORTED;
    int n = ts003_encode(&m, TS003_DOWN, bytes);
    if (n < 0)
        return n;
    struct str payload =
        arena_str(out->arena, (struct str){(const char *)bytes, (size_t)n});
    if (!payload.p)
        return ERR_FULL;
    out->payload = payload;
    out->port = TS003_PORT;
    return 0;
}

static const struct codec_vector vectors[] = {
    {.name = "AppTimeReq, 37 s slow, answer required, token 5",
     .hex = "01 2D999356 15",
     .port = TS003_PORT,
     .expect = "other; clock 2026-01-15T11:59:23Z; text time-request=token 5, "
               "answer required"},
    {.name = "AppTimeReq, 125 s fast, no answer required",
     .hex = "01 CF999356 00",
     .port = TS003_PORT,
     .expect = "other; clock 2026-01-15T12:02:05Z; text time-request=token 0"},
    {.name = "AppTimeReq of a cold start",
     .hex = "01 00000000 11",
     .port = TS003_PORT,
     .expect = "other; clock 1980-01-05T23:59:42Z; text time-request=token 1, "
               "answer required"},
    {.name = "PackageVersionAns and DeviceAppTimePeriodicityAns",
     .hex = "00 01 02 02 00 52999356",
     .port = TS003_PORT,
     .expect = "other; clock 2026-01-15T12:00:00Z; text package-version=1.2; "
               "text time-period=accepted"},
    {.name = "periodicity not supported",
     .hex = "02 01 52999356",
     .port = TS003_PORT,
     .expect = "other; clock 2026-01-15T12:00:00Z; text time-period=not "
               "supported"},
    {.name = "time cut off",
     .hex = "01 2D9993",
     .port = TS003_PORT,
     .err = ERR_SHORT},
    {.name = "unknown command",
     .hex = "00 01 02 7F",
     .port = TS003_PORT,
     .err = ERR_FORMAT},
    {.name = "a command that only goes down",
     .hex = "03 03",
     .port = TS003_PORT,
     .err = ERR_FORMAT},
    {0},
};

const struct codec codec_ts003 = {
    .abi = CODEC_ABI,
    .name = "ts003",
    .version = 1,
    .title = "TS003 clock synchronization, LoRaWAN",
    .source = "LoRa Alliance TS003-1.0.0, TS003-2.0.0",
    .medium = MEDIUM_OTHER,
    .decode = decode,
    .encode = encode,
    .vectors = vectors,
};
