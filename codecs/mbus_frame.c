/*
 * mbus_frame.c - codec "mbus": one frame of the wired link (EN 13757-2).
 *
 *   E5                           acknowledgement
 *   10 C A CS 16                 short frame
 *   68 L L 68 C A CI ... CS 16   long and control frame: L bytes from C on, CS
 *                                is their sum
 *   C A CI ...                   the same without its envelope, as gateways
 *                                (Elvaco CMe) send it
 */
#include "codecs/mbus_telegram.h"
#include "server/base/err.h"

enum { ACK = 0xE5, SHORT_START = 0x10, START = 0x68, STOP = 0x16 };
enum { C_RESPONSE = 0x08, C_FLAGS = 0x30, SHORT_SIZE = 5, ENVELOPE = 6 };

static uint8_t checksum(const uint8_t *p, size_t n)
{
    uint8_t sum = 0;

    while (n-- > 0)
        sum = (uint8_t)(sum + *p++);
    return sum;
}

static int short_frame(const uint8_t *p, size_t n, struct decoded *d)
{
    if (n < SHORT_SIZE)
        return decoded_fail(d, ERR_SHORT, "EN 13757-2: short frame cut off", n);
    if (n > SHORT_SIZE || p[4] != STOP)
        return decoded_fail(d, ERR_FORMAT, "EN 13757-2: short frame unended",
                            4);
    if (checksum(p + 1, 2) != p[3])
        return decoded_fail(d, ERR_DAMAGED, "EN 13757-2: checksum", 3);
    return decoded_fail(d, ERR_UNSUPPORTED,
                        "EN 13757-2: a request to a meter, not its answer", 1);
}

/* Finds C to the last byte before CS. */
static int long_frame(const uint8_t *p, size_t n, struct decoded *d,
                      size_t *first, size_t *last)
{
    if (n < 4)
        return decoded_fail(d, ERR_SHORT, "EN 13757-2: start cut off", n);
    if (p[1] != p[2] || p[3] != START || p[1] < 3)
        return decoded_fail(d, ERR_FORMAT, "EN 13757-2: start of long frame",
                            1);
    size_t size = p[1];
    if (n < size + ENVELOPE)
        return decoded_fail(d, ERR_SHORT, "EN 13757-2: shorter than L", n);
    if (n > size + ENVELOPE)
        return decoded_fail(d, ERR_FORMAT, "EN 13757-2: longer than L",
                            size + ENVELOPE);
    if (p[n - 1] != STOP)
        return decoded_fail(d, ERR_FORMAT, "EN 13757-2: no stop byte", n - 1);
    if (checksum(p + 4, size) != p[n - 2])
        return decoded_fail(d, ERR_DAMAGED, "EN 13757-2: checksum", n - 2);
    *first = 4;
    *last = n - 2;
    return 0;
}

/* All of the envelope but its first byte: that one was damaged. */
static bool lost_start(const uint8_t *p, size_t n)
{
    return n >= ENVELOPE && p[1] == p[2] && p[3] == START &&
           n == (size_t)p[1] + ENVELOPE && p[n - 1] == STOP;
}

static int decode(const struct codec_input *in, struct decoded *d)
{
    const uint8_t *p = (const uint8_t *)in->payload.p;
    size_t first = 0, last = in->payload.n;
    int r = 0;

    if (p[0] == ACK && last == 1)
        return 0;
    if (p[0] == SHORT_START)
        return short_frame(p, last, d);
    if (lost_start(p, last) && p[0] != START)
        return decoded_fail(d, ERR_DAMAGED, "EN 13757-2: start byte", 0);
    if (p[0] == START)
        r = long_frame(p, last, d, &first, &last);
    if (r < 0)
        return r;
    if ((p[first] & ~C_FLAGS) != C_RESPONSE)
        return decoded_fail(d, first ? ERR_UNSUPPORTED : ERR_FORMAT,
                            first ? "EN 13757-2 C: a request to a meter, not "
                                    "its answer"
                                  : "EN 13757-2: no start byte",
                            first);
    struct mbus_telegram t = {
        .in = in, .d = d, .p = arena_alloc(d->arena, last), .n = last};
    if (!t.p)
        return decoded_fail(d, ERR_FULL, "frame too long", 0);
    memcpy(t.p, p, last);
    return mbus_telegram(&t, first + 2);
}

#define KEY       "000102030405060708090a0b0c0d0e0f"
#define WRONG_KEY "ff0102030405060708090a0b0c0d0e0f"

static const struct codec_vector vectors[] = {
    {.name = "long frame, long header",
     .hex = "68191968080572785634122D2C1B07550000000413181E0000025B15002216",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "status byte",
     .hex = "68191968080572785634122D2C1B07559E00000413181E0000025B1500C016",
     .expect =
         "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
         "flow-temperature 21 Cel; event device.app_error start status 0x9e; "
         "event battery.low start status 0x9e; event device.permanent_error "
         "start status 0x9e; event device.temporary_error start status 0x9e; "
         "event mfr.bit7 start status 0x9e"},
    {.name = "short header",
     .hex = "6811116808057A550000000413181E0000025B15009B16",
     .expect = "other; volume 7.704 m3; flow-temperature 21 Cel"},
    {.name = "no header",
     .hex = "680D0D680805780413181E0000025B15004416",
     .expect = "other; volume 7.704 m3; flow-temperature 21 Cel"},
    {.name = "without envelope, as Elvaco CMe gateways send it",
     .hex = "080572785634122D2C1B07550000000413181E0000025B1500",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "most significant byte first, CI 76",
     .hex = "68191968080576123456782C2D1B0755000000041300001E18025B00152616",
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "fixed structure, BCD, counter 2 historic",
     .hex = "68131368080573785634120A00E97E31000000120000004816",
     .expect = "water; serial 12345678; volume 0.031 m3; volume [storage 1] "
               "0.012 m3"},
    {.name = "fixed structure, binary, two inputs",
     .hex = "68131368080573785634120A15054539300000FFFFFFFF6216",
     .expect = "heat; serial 12345678; energy 12345 kWh; energy [subunit 1] "
               "4294967295 kWh; event battery.low start status 0x14; event "
               "device.temporary_error start status 0x14"},
    {.name = "fixed structure, most significant byte first, CI 77",
     .hex = "68131368080577123456780A007EE900000031000000124C16",
     .expect = "water; serial 12345678; volume 0.031 m3; volume [storage 1] "
               "0.012 m3"},
    {.name = "application error",
     .hex = "68040468080570088516",
     .expect = "other; event device.app_error pulse 8 busy"},
    {.name = "application error without a code",
     .hex = "680303680805707D16",
     .expect = "other; event device.app_error pulse 0 unspecified"},
    {.name = "alarm",
     .hex = "68040468080571048216",
     .expect = "other; event device.alarm pulse alarm 0x04"},
    {.name = "acknowledgement", .hex = "E5", .expect = "other"},
    {.name = "security mode 5",
     .hex = "681F1F68080572785634122D2C1B0755001005C212E8A9215BCC2C5503CA657107"
            "7CBA8616",
     .key = KEY,
     .expect = "water; serial 12345678; manufacturer KAM; volume 7.704 m3; "
               "flow-temperature 21 Cel"},
    {.name = "security mode 5 without key",
     .hex = "681F1F68080572785634122D2C1B0755001005C212E8A9215BCC2C5503CA657107"
            "7CBA8616",
     .err = ERR_UNKNOWN},
    {.name = "security mode 5, wrong key",
     .hex = "681F1F68080572785634122D2C1B0755001005C212E8A9215BCC2C5503CA657107"
            "7CBA8616",
     .key = WRONG_KEY,
     .err = ERR_DAMAGED},
    {.name = "checksum",
     .hex = "68191968080572785634122D2C1B07550000000413181E0000025B15012216",
     .err = ERR_DAMAGED},
    {.name = "start byte changed to what could be a C field",
     .hex = "28191968080572785634122D2C1B07550000000413181E0000025B15002216",
     .err = ERR_DAMAGED},
    {.name = "segment of a DLMS message",
     .hex = "6806066808FF000167DB4A16",
     .err = ERR_UNSUPPORTED},
    {.name = "no stop byte",
     .hex = "68191968080572785634122D2C1B07550000000413181E0000025B15002217",
     .err = ERR_FORMAT},
    {.name = "lengths differ",
     .hex = "68191868080572785634122D2C1B07550000000413181E0000025B15002216",
     .err = ERR_FORMAT},
    {.name = "cut off",
     .hex = "68191968080572785634122D2C1B07550000000413181E0000025B1500",
     .err = ERR_SHORT},
    {.name = "bytes behind the frame",
     .hex = "68191968080572785634122D2C1B07550000000413181E0000025B1500221600",
     .err = ERR_FORMAT},
    {.name = "header cut off",
     .hex = "68070768080572785634129316",
     .err = ERR_SHORT},
    {.name = "fixed structure cut off",
     .hex = "6808086808057378563412009416",
     .err = ERR_SHORT},
    {.name = "request to a meter", .hex = "105B056016", .err = ERR_UNSUPPORTED},
    {.name = "short frame with a wrong checksum",
     .hex = "105B056116",
     .err = ERR_DAMAGED},
    {.name = "data for a meter",
     .hex = "68060668530551017A082C16",
     .err = ERR_UNSUPPORTED},
    {.name = "no start byte", .hex = "0D0404", .err = ERR_FORMAT},
    {0},
};

const struct codec codec_mbus = {
    .abi = CODEC_ABI,
    .name = "mbus",
    .version = 2,
    .title = "M-Bus, frames of the wired link",
    .source = "EN 13757-2, EN 13757-3, EN 13757-7; EN 1434-3",
    .medium = MEDIUM_OTHER,
    .decode = decode,
    .vectors = vectors,
};
