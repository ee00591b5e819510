/* TS003 messages against the worked examples: 2026-01-15T12:00:00Z is GPS
 * second 1452513618. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/registry.h"
#include "codecs/ts003.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/hex.h"

static const int64_t noon_us = 1768478400 * US_PER_S;

struct example {
    enum ts003_direction dir;
    const char *hex;
    struct ts003_message m;
};

static const struct example examples[] = {
    {TS003_UP,
     "012d99935615",
     {.cid = TS003_TIME,
      .device_time = 1452513581,
      .answer_required = true,
      .token = 5}},
    {TS003_DOWN,
     "012500000005",
     {.cid = TS003_TIME, .correction_s = 37, .token = 5}},
    {TS003_UP, "01cf99935600", {.cid = TS003_TIME, .device_time = 1452513743}},
    {TS003_DOWN, "0183ffffff00", {.cid = TS003_TIME, .correction_s = -125}},
    {TS003_UP,
     "010000000011",
     {.cid = TS003_TIME, .answer_required = true, .token = 1}},
    {TS003_DOWN,
     "015299935601",
     {.cid = TS003_TIME, .correction_s = 1452513618, .token = 1}},
    {TS003_UP,
     "01000400001f",
     {.cid = TS003_TIME,
      .device_time = 1024,
      .answer_required = true,
      .token = 15}},
    {TS003_DOWN,
     "01000400000f",
     {.cid = TS003_TIME, .correction_s = 1024, .token = 15}},
    {TS003_DOWN, "020a", {.cid = TS003_PERIOD, .period = 10}},
    {TS003_UP,
     "020052999356",
     {.cid = TS003_PERIOD, .device_time = 1452513618}},
    {TS003_UP,
     "020152999356",
     {.cid = TS003_PERIOD, .device_time = 1452513618, .not_supported = true}},
    {TS003_DOWN, "0303", {.cid = TS003_RESYNC, .transmissions = 3}},
    {TS003_DOWN, "00", {.cid = TS003_VERSION}},
    {TS003_UP, "000102", {.cid = TS003_VERSION, .package = 1, .version = 2}},
};

static void the_worked_examples_encode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        uint8_t out[TS003_SIZE_MAX];
        char hex[2 * TS003_SIZE_MAX + 1];
        int n = ts003_encode(&examples[i].m, examples[i].dir, out);

        assert_true(n > 0);
        hex_encode(out, (size_t)n, hex);
        assert_string_equal(hex, examples[i].hex);
    }
}

static void the_worked_examples_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct ts003_message *want = &examples[i].m;
        struct ts003_message m;
        uint8_t in[TS003_SIZE_MAX];
        int n = hex_decode(str_of(examples[i].hex), in, sizeof(in));
        struct bytes b = bytes_of(in, (size_t)n);

        assert_int_equal(ts003_next(&b, examples[i].dir, &m), 1);
        assert_int_equal(m.cid, want->cid);
        assert_int_equal(m.package, want->package);
        assert_int_equal(m.version, want->version);
        assert_int_equal(m.device_time, want->device_time);
        assert_int_equal(m.answer_required, want->answer_required);
        assert_int_equal(m.token, want->token);
        assert_int_equal(m.correction_s, want->correction_s);
        assert_int_equal(m.period, want->period);
        assert_int_equal(m.not_supported, want->not_supported);
        assert_int_equal(m.transmissions, want->transmissions);
        assert_int_equal(ts003_next(&b, examples[i].dir, &m), 0);
    }
}

static void commands_follow_each_other_in_one_frame(void **state)
{
    static const uint8_t down[] = {0x00, 0x02, 0x09};
    struct bytes b = bytes_of(down, sizeof(down));
    struct ts003_message m;

    (void)state;
    assert_int_equal(ts003_next(&b, TS003_DOWN, &m), 1);
    assert_int_equal(m.cid, TS003_VERSION);
    assert_int_equal(ts003_next(&b, TS003_DOWN, &m), 1);
    assert_int_equal(m.cid, TS003_PERIOD);
    assert_int_equal(m.period, 9);
    assert_int_equal(ts003_next(&b, TS003_DOWN, &m), 0);
}

static void the_correction_brings_the_device_to_the_time_it_was_heard(
    void **state)
{
    static const int64_t year_2050_us = 2524608000 * US_PER_S;

    (void)state;
    assert_int_equal(ts003_correction(noon_us, 1452513581), 37);
    assert_int_equal(ts003_correction(noon_us, 1452513743), -125);
    assert_int_equal(ts003_correction(noon_us, 0), 1452513618);
    assert_int_equal(ts003_correction(noon_us + 999999, 1452513618), 0);
    assert_int_equal(ts003_correction(year_2050_us, 0), INT32_MAX);
    assert_int_equal(ts003_correction(noon_us, UINT32_MAX), INT32_MIN);
    assert_true(ts003_utc_us(1452513618) == noon_us);
    assert_true(ts003_gps_s(year_2050_us) == 2208643218);
}

static void members_out_of_bounds_are_refused(void **state)
{
    static const struct ts003_message bad[] = {
        {.cid = TS003_TIME, .token = 16},
        {.cid = TS003_PERIOD, .period = 16},
        {.cid = TS003_RESYNC, .transmissions = 8},
        {.cid = TS003_RESYNC, .transmissions = 0},
    };
    uint8_t out[TS003_SIZE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_string_equal(err_name(ts003_encode(&bad[i], TS003_DOWN, out)),
                            "ERR_RANGE");
}

static void setting_the_clock_makes_the_device_ask_for_the_time(void **state)
{
    struct arena *a = arena_new(1 << 16);
    struct encoded out = {.arena = a};
    struct command c = {.op = OP_SET_CLOCK, .from_us = noon_us};
    const struct codec *codec = codec_find(STR("ts003"));

    (void)state;
    assert_int_equal(codec->encode(&c, &out), 0);
    assert_int_equal(out.port, TS003_PORT);
    assert_true(str_is(out.payload, "\x03\x03"));
    c.op = OP_VALVE;
    assert_string_equal(err_name(codec->encode(&c, &out)), "ERR_UNSUPPORTED");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_examples_encode),
        cmocka_unit_test(the_worked_examples_decode),
        cmocka_unit_test(commands_follow_each_other_in_one_frame),
        cmocka_unit_test(
            the_correction_brings_the_device_to_the_time_it_was_heard),
        cmocka_unit_test(members_out_of_bounds_are_refused),
        cmocka_unit_test(setting_the_clock_makes_the_device_ask_for_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
