/* Kinds of commands, from what is kept to a meter's bytes. */
#include "codecs/registry.h"
#include "server/base/err.h"
#include "server/downlink/kinds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;
static struct encoded out;
static bool confirmed;

static int encode(const char *codec, const char *kind, const char *arguments)
{
    arena_reset(arena);
    out = (struct encoded){.arena = arena};
    return kind_encode(str_of(kind), str_of(arguments), "c-9",
                       codec_find(str_of(codec)), &out, &confirmed);
}

static void assert_says(const char *codec, const char *kind,
                        const char *arguments, const char *bytes)
{
    assert_string_equal(err_name(encode(codec, kind, arguments)), "ok");
    assert_int_equal(out.payload.n, strlen(bytes));
    assert_memory_equal(out.payload.p, bytes, out.payload.n);
}

static void assert_fails(const char *codec, const char *kind,
                         const char *arguments, const char *err)
{
    assert_string_equal(err_name(encode(codec, kind, arguments)), err);
}

static void a_gas_meter_is_told_each_kind(void **state)
{
    (void)state;
    assert_says("heo-json", "valve_open", "{}",
                "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"valve\",\"pos\":"
                "\"open\"}");
    assert_says("heo-json", "valve_close", "{}",
                "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"valve\",\"pos\":"
                "\"close\"}");
    assert_says("heo-json", "read_archive",
                "{\"archive\":\"day\",\"from\":\"2026-01-15T00:00:00Z\","
                "\"to\":\"2026-01-16T00:00:00Z\"}",
                "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"read_archive\","
                "\"kind\":\"day\",\"from\":\"2026-01-15T00:00:00Z\",\"to\":"
                "\"2026-01-16T00:00:00Z\"}");
    assert_says("heo-json", "set_schedule", "{\"period_h\":24}",
                "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"set_schedule\","
                "\"period_h\":24}");
    assert_says("heo-json", "set_substitution",
                "{\"pressure_kpa\":\"101.325\",\"z\":\"1\",\"w\":\"0.95\"}",
                "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"set_subst\",\"p_kpa\":"
                "101.325,\"z\":1,\"w\":0.95}");
    assert_says("heo-json", "reboot", "{}",
                "{\"t\":\"cmd\",\"id\":\"c-9\",\"op\":\"reboot\"}");
}

static void a_pulse_counter_is_told_its_schedule_alone(void **state)
{
    (void)state;
    assert_int_equal(encode("vega-si11", "set_schedule", "{\"period_h\":6}"),
                     0);
    assert_int_equal(out.payload.n, 5);
    assert_memory_equal(out.payload.p, "\x00\x10\x00\x01\x02", 5);
    assert_int_equal(out.port, 3);
    assert_true(confirmed);
    assert_fails("vega-si11", "set_schedule", "{\"period_h\":5}", "ERR_RANGE");
    assert_fails("vega-si11", "valve_close", "{}", "ERR_UNSUPPORTED");
    assert_fails("elvaco-cmi41", "set_schedule", "{\"period_h\":6}",
                 "ERR_UNSUPPORTED");
}

static void bytes_need_no_codec(void **state)
{
    (void)state;
    assert_says("none", "raw",
                "{\"port\":9,\"payload\":\"0aff\",\"confirmed\":false}",
                "\x0a\xff");
    assert_int_equal(out.port, 9);
    assert_false(confirmed);
    assert_fails("none", "raw", "{\"port\":224,\"payload\":\"00\"}",
                 "ERR_RANGE");
    assert_fails("none", "raw", "{\"port\":9,\"payload\":\"0\"}", "ERR_FORMAT");
    assert_fails("none", "raw", "{\"port\":9,\"payload\":\"\"}", "ERR_FORMAT");
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    assert_fails("heo-json", "sing", "{}", "ERR_UNKNOWN");
    assert_fails("heo-json", "reboot", "{", "ERR_SHORT");
    assert_fails("heo-json", "set_schedule", "{}", "ERR_FORMAT");
    assert_fails("heo-json", "set_schedule", "{\"period_h\":745}",
                 "ERR_FORMAT");
    assert_fails("heo-json", "read_archive",
                 "{\"archive\":\"day\",\"from\":\"yesterday\",\"to\":\"now\"}",
                 "ERR_FORMAT");
    assert_fails("heo-json", "set_substitution", "{\"z\":\"1\"}", "ERR_FORMAT");
}

static void codecs_tell_what_they_can_say(void **state)
{
    struct buf names = {0}, rows = {0};
    const char *all;

    (void)state;
    kinds_put(&names, &rows);
    all = (char *)rows.p;
    assert_non_null(strstr((char *)names.p, ",heo-json,"));
    assert_non_null(strstr(all, "[\"heo-json\",\"valve_close\",[]]"));
    assert_non_null(strstr(all, "[\"heo-json\",\"read_archive\",[\"hour\","
                                "\"day\",\"month\",\"event\"]]"));
    assert_non_null(strstr(all, "[\"vega-si11\",\"set_schedule\",[\"1\",\"6\","
                                "\"12\",\"24\"]]"));
    assert_null(strstr(all, "[\"vega-si11\",\"valve_open\""));
    assert_null(strstr(all, "elvaco"));
    buf_done(&names);
    buf_done(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gas_meter_is_told_each_kind),
        cmocka_unit_test(a_pulse_counter_is_told_its_schedule_alone),
        cmocka_unit_test(bytes_need_no_codec),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(codecs_tell_what_they_can_say),
    };
    arena = arena_new(0);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(arena);
    return r;
}
