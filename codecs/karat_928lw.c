/*
 * karat_928lw.c - KARAT-928LW modules on KARAT-Kompakt heat meters, LoRaWAN.
 *
 * Source: our own profile. The maker publishes no payload; the meter is an
 * M-Bus one, so the payload is what such modules commonly send. Little-endian.
 * FPort 2: 0 u8 message, 1 M-Bus data records (EN 13757-3)
 *   01 readings of now
 *   02 an archive: its date (046D or 446D) and records
 *   03 alarm: records, of which 01FD17 .. 04FD17 tells the error flags
 * FPort 4: 0 u8 FF, 1 u32 UTC of the module: it asks for the time; the answer
 *   is FF and an i64 correction in seconds (as Vega devices do)
 * FPort 5, down: 0 u8 01, 1 u32 seconds, 5 u32 window in seconds: report so
 *   many seconds after each whole window of UTC; nothing is answered
 */
#include "codecs/karat.h"
#include "codecs/mbus.h"
#include "codecs/vega.h"
#include "server/base/err.h"

enum { PORT_DATA = 2, READINGS = 1, ARCHIVE = 2, ALARM = 3 };

void karat_slot(uint32_t at_s, uint32_t window_s, uint8_t out[KARAT_SLOT])
{
    out[0] = KARAT_REPORT_AT;
    for (int i = 0; i < 4; i++) {
        out[1 + i] = (uint8_t)(at_s >> (8 * i));
        out[5 + i] = (uint8_t)(window_s >> (8 * i));
    }
}

static int add_alarm(struct decoded *d)
{
    struct decoded_event e = {
        .code = STR("device.alarm"), .state = EVENT_START, .time = d->clock};

    for (uint32_t i = 0; i < d->n_measurements; i++) {
        const struct measurement *m = &d->measurements[i];
        if (m->quantity == Q_ERROR_FLAGS)
            e.detail = arena_printf(d->arena, "error flags %llX",
                                    (long long)m->value.mantissa);
    }
    return decoded_add_event(d, &e);
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    struct bytes b = bytes_of(in->payload.p, in->payload.n);
    uint8_t message = bytes_u8(&b);
    bool time =
        in->port == VEGA_PORT_TIME || (!in->port && message == VEGA_TIME);

    if (time && message == VEGA_TIME)
        return vega_time_request(d, &b);
    if ((in->port && in->port != PORT_DATA) || message < READINGS ||
        message > ALARM)
        return decoded_fail(d, ERR_UNSUPPORTED,
                            "KARAT-928LW: no such message on this FPort", 0);
    if (in->payload.n == 1)
        return decoded_fail(d, ERR_SHORT,
                            "KARAT-928LW: nothing behind the message", 1);
    int r = mbus_decode(in->payload, 1, d);
    return r < 0 || message != ALARM ? r : add_alarm(d);
}

static const struct codec_vector vectors[] = {
    {.name = "readings",
     .hex = "0104068FA10100041384B71E00022BCF0F025A1003025E98010C78420175"
            "17",
     .port = 2,
     .expect = "heat; serial 17750142; energy 106895 kWh; volume 2013.060 m3"
               "; power 4.047 kW; flow-temperature 78.4 Cel; return-temperat"
               "ure 40.8 Cel; serial 17750142"},
    {.name = "archive of a day",
     .hex = "02446D00000F3144068FA10100441384B71E000C7842017517",
     .port = 2,
     .expect = "heat; serial 17750142; @2024-01-15T00:00:00; energy [storage"
               " 1] 106895 kWh; volume [storage 1] 2013.060 m3; @now; serial"
               " 17750142"},
    {.name = "alarm",
     .hex = "03046D1E0C0F3102FD1704000C7842017517",
     .port = 2,
     .expect = "heat; serial 17750142; clock 2024-01-15T12:30:00; error-flag"
               "s 4; serial 17750142; event device.alarm start @2024-01-15T1"
               "2:30:00 error flags 4"},
    {.name = "the module asks for the time",
     .hex = "FF40D66869",
     .port = 4,
     .expect = "heat; clock 2026-01-15T11:57:52Z"},
    {.name = "record cut off",
     .hex = "0104068FA101",
     .port = 2,
     .err = ERR_SHORT},
    {.name = "message alone", .hex = "01", .port = 2, .err = ERR_SHORT},
    {.name = "another message",
     .hex = "0904068FA10100",
     .port = 2,
     .err = ERR_UNSUPPORTED},
    {.name = "readings on the port of the time",
     .hex = "0104068FA10100",
     .port = 4,
     .err = ERR_UNSUPPORTED},
    {.name = "time cut off", .hex = "FF40D6", .port = 4, .err = ERR_SHORT},
    {0},
};

const struct codec codec_karat_928lw = {
    .abi = CODEC_ABI,
    .name = "karat-928lw",
    .version = 1,
    .title = "KARAT-928LW heat meter module, LoRaWAN (profile of ours)",
    .source = "our own; EN 13757-3",
    .medium = MEDIUM_HEAT,
    .decode = decode,
    .vectors = vectors,
};
