/* HEO-JSON: exact numbers, rows in their order, commands as the meter reads
 * them, and hostile documents within their limits. */
#include "codecs/registry.h"
#include "server/base/buf.h"
#include "server/base/err.h"
#include "server/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int decode(struct str text, struct decoded *d)
{
    struct codec_input in = {.payload = text};
    return codec_decode(codec_find(STR("heo-json")), &in, arena, d);
}

static void numbers_keep_their_decimals(void **state)
{
    struct decoded d;

    (void)state;
    assert_int_equal(
        decode(STR("{\"t\":\"data\",\"cols\":[\"ts\",\"v_work\",\"v_std\"],"
                   "\"rows\":[[\"2024-01-11T12:00:00Z\",4706.0000,"
                   "\"9412,0000\"]]}"),
               &d),
        0);
    assert_int_equal(d.n_measurements, 2);
    assert_true(d.measurements[0].value.mantissa == 47060000);
    assert_int_equal(d.measurements[0].value.exp10, -4);
    assert_true(d.measurements[1].value.mantissa == 94120000);
    assert_int_equal(d.measurements[1].value.exp10, -4);
    assert_int_equal(d.measurements[0].kind, KIND_CUMULATIVE);
}

static void each_archive_row_is_a_decoded_row(void **state)
{
    struct buf b = {0};
    struct decoded d;

    (void)state;
    buf_z(&b, "{\"t\":\"data\",\"rows\":[");
    for (int h = 0; h < 24; h++)
        buf_printf(&b, "%s[\"2024-01-11T%02d:00:00Z\",1,2,3,%d.5]",
                   h ? "," : "", h, h);
    buf_z(&b, "]}");
    assert_int_equal(decode(buf_view(&b), &d), 0);
    assert_int_equal(d.n_rows, 25);
    assert_int_equal(d.rows[0].time.form, METER_TIME_NONE);
    for (uint32_t i = 1; i < d.n_rows; i++)
        assert_true(d.rows[i].time.us ==
                    (1704931200 + (int64_t)(i - 1) * 3600) * US_PER_S);
    assert_int_equal(d.n_measurements, 24 * 4);
    buf_done(&b);
}

static void limits_hold_for_rows_and_members(void **state)
{
    struct buf b = {0};
    struct decoded d;

    (void)state;
    buf_z(&b, "{\"t\":\"data\",\"rows\":[");
    for (int i = 0; i < DECODED_ROWS + 1; i++)
        buf_printf(&b, "%s[\"2024-01-11T00:00:00Z\"]", i ? "," : "");
    buf_z(&b, "]}");
    assert_string_equal(err_name(decode(buf_view(&b), &d)), "ERR_FULL");

    buf_clear(&b);
    buf_z(&b, "{\"t\":\"alarm\",\"items\":[");
    for (int i = 0; i < DECODED_EVENTS + 1; i++)
        buf_printf(&b, "%s{\"ts\":\"2024-01-11T00:00:00Z\",\"code\":\"x\"}",
                   i ? "," : "");
    buf_z(&b, "]}");
    assert_string_equal(err_name(decode(buf_view(&b), &d)), "ERR_FULL");

    buf_clear(&b);
    buf_z(&b, "{\"t\":\"hello\",\"");
    for (int i = 0; i < 65; i++)
        buf_z(&b, "n");
    buf_z(&b, "\":1}");
    assert_string_equal(err_name(decode(buf_view(&b), &d)), "ERR_FORMAT");

    buf_clear(&b);
    buf_z(&b, "{\"t\":\"data\",\"rows\":[],\"cols\":[");
    for (int i = 0; i < 65; i++)
        buf_printf(&b, "%s\"c%d\"", i ? "," : "", i);
    buf_z(&b, "]}");
    assert_string_equal(err_name(decode(buf_view(&b), &d)), "ERR_FORMAT");
    buf_done(&b);
}

static void a_small_arena_is_an_error_not_a_crash(void **state)
{
    static const char text[] =
        "{\"t\":\"data\",\"x\":{\"a\":[1,2,3]},\"rows\":[[\"2024-01-11T00:00:"
        "00Z\",1,2,3,4,5,6,7]],\"y\":\"z\"}";

    (void)state;
    for (size_t limit = 16; limit < 16384; limit += 48) {
        struct arena *a = arena_new(limit);
        struct codec_input in = {.payload = str_of(text)};
        struct decoded d;
        int r = codec_decode(codec_find(STR("heo-json")), &in, a, &d);

        assert_true(r == 0 || r == ERR_FULL);
        if (r == 0)
            decoded_text(&d);
        arena_free(a);
    }
}

static void commands_become_objects(void **state)
{
    static const struct {
        struct command c;
        const char *expect;
    } rows[] = {
        {{.id = "c-9",
          .op = OP_READ_ARCHIVE,
          .from_us = 1704931200000000,
          .to_us = 1705017600000000,
          .archive = "hour"},
         "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"read_archive\","
         "\"kind\":\"hour\",\"from\":\"2024-01-11T00:00:00Z\","
         "\"to\":\"2024-01-12T00:00:00Z\"}"},
        {{.id = "1", .op = OP_SET_CLOCK, .from_us = 1704931200500000},
         "{\"t\":\"cmd\",\"id\":\"1\",\"op\":\"set_clock\","
         "\"now\":\"2024-01-11T00:00:00.5Z\"}"},
        {{.id = "1",
          .op = OP_SET_SUBSTITUTION,
          .pressure_kpa = {101325, -3},
          .z = {10, -1},
          .w = {95, -2}},
         "{\"t\":\"cmd\",\"id\":\"1\",\"op\":\"set_subst\","
         "\"p_kpa\":101.325,\"z\":1.0,\"w\":0.95}"},
        {{.id = "1", .op = OP_VALVE, .open = true},
         "{\"t\":\"cmd\",\"id\":\"1\",\"op\":\"valve\",\"pos\":\"open\"}"},
        {{.id = "1", .op = OP_VALVE},
         "{\"t\":\"cmd\",\"id\":\"1\",\"op\":\"valve\",\"pos\":\"close\"}"},
        {{.id = "1", .op = OP_SET_SCHEDULE, .period_h = 24},
         "{\"t\":\"cmd\",\"id\":\"1\",\"op\":\"set_schedule\","
         "\"period_h\":24}"},
        {{.id = "1", .op = OP_REBOOT},
         "{\"t\":\"cmd\",\"id\":\"1\",\"op\":\"reboot\"}"},
    };
    const struct codec *codec = codec_find(STR("heo-json"));

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct encoded out = {.arena = arena};
        struct json_error why;
        struct json *doc;

        assert_string_equal(err_name(codec->encode(&rows[i].c, &out)), "ok");
        assert_true(str_is(out.payload, rows[i].expect));
        assert_int_equal(
            json_parse(arena, out.payload, (struct json_limits){0}, &doc, &why),
            0);
    }
}

static void commands_out_of_bounds_are_refused(void **state)
{
    static const struct {
        struct command c;
        const char *expect;
    } rows[] = {
        {{.id = "a\"b", .op = OP_REBOOT}, "ERR_FORMAT"},
        {{.id = "", .op = OP_REBOOT}, "ERR_FORMAT"},
        {{.id = NULL, .op = OP_REBOOT}, "ERR_FORMAT"},
        {{.id = "1", .op = (enum command_op)99}, "ERR_UNSUPPORTED"},
        {{.id = "1",
          .op = OP_READ_ARCHIVE,
          .from_us = 2,
          .to_us = 1,
          .archive = "hour"},
         "ERR_RANGE"},
        {{.id = "1", .op = OP_READ_ARCHIVE, .archive = "year"}, "ERR_FORMAT"},
        {{.id = "1", .op = OP_SET_CLOCK, .from_us = TIME_NONE}, "ERR_RANGE"},
        {{.id = "1", .op = OP_SET_SCHEDULE, .period_h = 0}, "ERR_RANGE"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct encoded out = {.arena = arena};
        assert_string_equal(
            err_name(codec_find(STR("heo-json"))->encode(&rows[i].c, &out)),
            rows[i].expect);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(numbers_keep_their_decimals),
        T(each_archive_row_is_a_decoded_row),
        T(limits_hold_for_rows_and_members),
        T(a_small_arena_is_an_error_not_a_crash),
        T(commands_become_objects),
        T(commands_out_of_bounds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
