/*
 * recognise.c - which codec a payload is for, by what only its kind looks like.
 * Checks with a checksum or a length come before those that a chance could
 * pass; the radio frame, which little betrays, comes last.
 */
#include "codecs/crc16.h"
#include "codecs/registry.h"
#include <string.h>

enum { PORT_TS003 = 202, PORT_ELVACO = 2, PULSAR_LEAST = 10 };

static uint8_t at(struct str s, size_t i)
{
    return i < s.n ? (uint8_t)s.p[i] : 0;
}

static bool begins(struct str s, const char *bytes, size_t n)
{
    return s.n >= n && memcmp(s.p, bytes, n) == 0;
}

/* To the last byte, without an error, and to some purpose. */
static bool decodes(const char *name, struct str s, int port)
{
    struct codec_input in = {.payload = s, .port = port};
    struct arena *a = arena_new(4 << 20);
    struct decoded d;
    bool fits =
        codec_decode(codec_find(str_of(name)), &in, a, &d) == 0 &&
        (d.n_measurements + d.n_events > 0 || d.clock.form != METER_TIME_NONE);

    arena_free(a);
    return fits;
}

static bool is_json(struct str s, int port)
{
    uint8_t second = at(s, 1);

    (void)port;
    return at(s, 0) == '{' &&
           (second == '"' || second == '}' || second == ' ' || second == '\r' ||
            second == '\n' || second == '\t');
}

/* "/XXXZident", or data lines between STX and ETX; bit 7 may be parity. */
static bool is_iec(struct str s, int port)
{
    uint8_t first = at(s, 0) & 0x7F;

    (void)port;
    for (size_t i = 1; i < s.n && i < 32; i++) {
        uint8_t c = at(s, i) & 0x7F;
        if ((c < ' ' && c != '\r' && c != '\n' && c != 2) || c == 0x7F)
            return false;
    }
    return first == '/' || (first == 2 && memchr(s.p, '(', s.n) != NULL);
}

/* CSV whose header names its columns, or whose fifth one is hex of a frame. */
static bool is_report(struct str s, int port)
{
    (void)port;
    return memmem(s.p, s.n, "mbus-raw-value", 14) != NULL ||
           (at(s, 0) >= '0' && at(s, 0) <= '9' && memchr(s.p, ';', s.n) &&
            decodes("elvaco-cme", s, 0));
}

static bool is_sml(struct str s, int port)
{
    (void)port;
    return memmem(s.p, s.n, "\x1B\x1B\x1B\x1B\1\1\1\1", 8) != NULL ||
           (begins(s, "\x76", 1) && decodes("sml", s, 0));
}

static bool is_long_frame(struct str s)
{
    return at(s, 0) == 0x68 && at(s, 3) == 0x68 && at(s, 1) == at(s, 2);
}

/* HDLC; the TCP wrapper; an M-Bus frame with a CI of segments; bare APDUs. */
static bool is_dlms(struct str s, int port)
{
    (void)port;
    return (at(s, 0) == 0x7E && at(s, 1) >> 4 == 0xA) ||
           (begins(s, "\0\1", 2) && s.n > 8 &&
            (size_t)(at(s, 6) << 8 | at(s, 7)) <= s.n) ||
           (is_long_frame(s) && s.n > 6 && at(s, 6) <= 0x1F) ||
           begins(s, "\xDB\x08", 2) || begins(s, "\xDC\x08", 2) ||
           ((at(s, 0) == 0x0F || at(s, 0) == 0xC2) &&
            decodes("dlms-push", s, 0));
}

static bool is_pulsar(struct str s)
{
    size_t n = at(s, 5);

    return n >= PULSAR_LEAST && n <= s.n &&
           crc16_modbus(s.p, n - 2) == (at(s, n - 2) | at(s, n - 1) << 8);
}

/* A conversation whose values have four bytes, of channels that are its own. */
static bool is_pulsar_heat(struct str s, int port)
{
    size_t request = at(s, 5), answer = at(s, request + 5);
    uint32_t mask = at(s, 6) | (uint32_t)at(s, 7) << 8 |
                    (uint32_t)at(s, 8) << 16 | (uint32_t)at(s, 9) << 24;
    size_t channels = (size_t)__builtin_popcount(mask);

    (void)port;
    return is_pulsar(s) && at(s, 4) == 1 && (mask & ~0x1FFCu) == 0 &&
           answer == PULSAR_LEAST + 4 * channels;
}

static bool is_pulsar_m(struct str s, int port)
{
    (void)port;
    return is_pulsar(s);
}

/* Long and short frames, the acknowledgement, and a frame without its frame. */
static bool is_mbus(struct str s, int port)
{
    (void)port;
    return is_long_frame(s) || (at(s, 0) == 0x10 && s.n == 5) ||
           (at(s, 0) == 0xE5 && s.n == 1) ||
           (at(s, 0) == 0x08 && at(s, 2) >= 0x70 && at(s, 2) <= 0x7B &&
            at(s, 0) + 1u != s.n);
}

static bool is_ts003(struct str s, int port)
{
    return port == PORT_TS003 && decodes("ts003", s, port);
}

static bool is_vega(struct str s, int port)
{
    return port != PORT_TS003 && s.n > 1 &&
           ((at(s, 0) == 1 && s.n >= 24 && s.n <= 26) ||
            (at(s, 0) == 2 && s.n == 24) || (at(s, 0) == 0xFF && s.n == 5) ||
            (at(s, 0) == 0 && port == 3)) &&
           decodes("vega-si11", s, port);
}

/* L counts what follows; formats with CRCs inside are longer than L says. */
static bool is_wmbus(struct str s, int port)
{
    uint8_t c = at(s, 1);
    bool sync = begins(s, "\x54\xCD", 2) || begins(s, "\x54\x3D", 2);

    return sync ||
           (port == 0 && s.n > 10 && at(s, 0) >= 9 && s.n > at(s, 0) &&
            (c == 0x44 || c == 0x46 || c == 0x08 || c == 0x18 || c == 0x28 ||
             c == 0x38 || c == 0x53 || c == 0x73 || c == 0x47 || c == 0x48));
}

static bool is_elvaco(struct str s, int port)
{
    return (port == 0 || port == PORT_ELVACO) &&
           decodes("elvaco-cmi41", s, port);
}

static bool is_records(struct str s, int port)
{
    return port == 0 && decodes("mbus-records", s, 0);
}

static const struct kind {
    const char *codec;
    bool (*fits)(struct str payload, int port);
} kinds[] = {
    {"heo-json", is_json},       {"iec62056-21", is_iec},
    {"elvaco-cme", is_report},   {"sml", is_sml},
    {"dlms-push", is_dlms},      {"pulsar-heat", is_pulsar_heat},
    {"pulsar-m", is_pulsar_m},   {"mbus", is_mbus},
    {"ts003", is_ts003},         {"vega-si11", is_vega},
    {"wmbus", is_wmbus},         {"mbus-records", is_records},
    {"elvaco-cmi41", is_elvaco},
};

const struct codec *codec_recognise(struct str payload, int port)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (kinds[i].fits(payload, port))
            return codec_find(str_of(kinds[i].codec));
    }
    return codec_find(port ? STR("elvaco-cmi41") : STR("wmbus"));
}
