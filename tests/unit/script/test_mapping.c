/* Mapping files: what becomes a register, an event, a row, an extra. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codecs/script/mapping.h"
#include "server/base/err.h"

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(8 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* decoded_text() of a result under a mapping; NULL: no mapping. */
static const char *mapped(const char *mapping, const char *result)
{
    struct mapping *m = NULL;
    struct str why = {0};
    struct decoded d;

    if (mapping && mapping_read(arena, str_of(mapping), &m, &why) < 0)
        return arena_str(arena, why).p;
    assert_int_equal(decoded_init(&d, arena), 0);
    int err = mapping_apply(m, str_of(result), &d);
    return err < 0 ? d.error : arena_str(arena, decoded_text(&d)).p;
}

#define VOLUME                                                                 \
    "{\"medium\":\"water\",\"registers\":[{\"field\":\"v\",\"obis\":\"8-0:1."  \
    "0.0\",\"kind\":\"cumulative\",\"unit\":\"l\""

static void a_field_becomes_its_register_exactly(void **state)
{
    (void)state;
    assert_string_equal(mapped(VOLUME "}]}", "{\"v\":12345.6}"),
                        "water; unknown 8-0:1.0.0 12345.6 l");
    assert_string_equal(mapped(VOLUME ",\"factor\":\"0.25\"}]}", "{\"v\":3}"),
                        "water; unknown 8-0:1.0.0 0.75 l");
    assert_string_equal(mapped(VOLUME ",\"factor\":1e3}]}", "{\"v\":\"1.5\"}"),
                        "water; unknown 8-0:1.0.0 1500 l");
}

static void digits_behind_the_meters_own_are_rounded_off_when_asked(
    void **state)
{
    (void)state;
    assert_string_equal(mapped(VOLUME "}]}", "{\"v\":30.000000000000004}"),
                        "water; unknown 8-0:1.0.0 30.000000000000004 l");
    assert_string_equal(
        mapped(VOLUME ",\"decimals\":2}]}", "{\"v\":30.000000000000004}"),
        "water; unknown 8-0:1.0.0 30.00 l");
    assert_string_equal(mapped(VOLUME ",\"decimals\":1}]}", "{\"v\":-0.25}"),
                        "water; unknown 8-0:1.0.0 -0.3 l");
}

static void what_no_rule_names_is_kept(void **state)
{
    (void)state;
    assert_string_equal(
        mapped(VOLUME "}]}", "{\"a\":{\"b\":[1,true]},\"v\":1,\"n\":null}"),
        "water; text a.b.0=1; text a.b.1=true; unknown 8-0:1.0.0 1 l; "
        "text n=null");
    assert_string_equal(mapped(NULL, "{\"a\":1.50}"), "other; text a=1.50");
    assert_string_equal(mapped(NULL, "7"), "other; text =7");
}

static void a_register_without_a_number_says_none_or_stays_a_text(void **state)
{
    (void)state;
    assert_string_equal(mapped(VOLUME "}]}", "{\"v\":null}"),
                        "water; unknown 8-0:1.0.0 none l");
    assert_string_equal(mapped(VOLUME "}]}", "{\"v\":\"n/a\"}"),
                        "water; text v=n/a");
    assert_string_equal(mapped(VOLUME "}]}", "{\"v\":1e300}"),
                        "water; text v=1e300");
}

static void quantities_and_nested_paths(void **state)
{
    (void)state;
    assert_string_equal(
        mapped("{\"medium\":\"heat\",\"registers\":[{\"field\":\"t.0.in\","
               "\"quantity\":\"flow-temperature\",\"unit\":\"Cel\"}]}",
               "{\"t\":[{\"in\":70.5}]}"),
        "heat; flow-temperature 70.5 Cel");
}

static void events_by_truth_word_number_and_bit(void **state)
{
    static const char rules[] =
        "{\"events\":[{\"field\":\"leak\",\"event\":\"leak\"},"
        "{\"field\":\"valve\",\"when\":\"stuck\",\"event\":\"valve.fault\","
        "\"state\":\"start\"},"
        "{\"field\":\"code\",\"when\":4,\"event\":\"four\"},"
        "{\"field\":\"status\",\"bit\":3,\"event\":\"battery.low\"},"
        "{\"field\":\"alarms\",\"when\":\"burst\",\"event\":\"burst\"}]}";

    (void)state;
    assert_string_equal(mapped(rules, "{\"leak\":true,\"valve\":\"stuck\","
                                      "\"code\":4.0,\"status\":8}"),
                        "other; text status=8; event leak pulse; event "
                        "valve.fault start stuck; event four pulse 4.0; event "
                        "battery.low pulse 8");
    assert_string_equal(mapped(rules, "{\"leak\":false,\"valve\":\"open\","
                                      "\"code\":5,\"status\":7}"),
                        "other; text valve=open; text code=5; text status=7");
    assert_string_equal(mapped(rules, "{\"alarms\":[\"burst\",\"cold\"]}"),
                        "other; text alarms=cold; event burst pulse burst");
}

static void records_have_times_of_their_own(void **state)
{
    static const char rules[] =
        "{\"medium\":\"water\",\"serial\":\"id\",\"rows\":[{\"field\":\"log\","
        "\"time\":\"at\",\"registers\":[{\"field\":\"v\",\"obis\":\"8-0:1.0."
        "0\","
        "\"kind\":\"cumulative\",\"unit\":\"m3\"}]}]}";

    (void)state;
    assert_string_equal(
        mapped(rules,
               "{\"id\":\"47\",\"log\":[{\"at\":1768478400,\"v\":1.5},{\"v\":2,"
               "\"at\":\"2026-01-15T13:00:00+01:00\"},"
               "{\"at\":\"2026-01-15T14:00:00\",\"v\":3,\"x\":1}]}"),
        "water; serial 47; text id=47; @2026-01-15T12:00:00Z; unknown "
        "8-0:1.0.0 "
        "1.5 m3; @2026-01-15T12:00:00Z; unknown 8-0:1.0.0 2 m3; "
        "@2026-01-15T14:00:00; unknown 8-0:1.0.0 3 m3; text log.2.x=1");
}

static void a_slip_in_a_mapping_is_refused_by_name(void **state)
{
    static const char *const wrong[][2] = {
        {"{\"register\":[]}", "unknown member \"register\""},
        {"{\"registers\":[{\"obis\":\"8-0:1.0.0\"}]}",
         "an entry without \"field\""},
        {"{\"registers\":[{\"field\":\"v\"}]}",
         "a register needs \"obis or quantity\""},
        {VOLUME ",\"factor\":\"x\"}]}",
         "a decimal number is expected for \"factor\""},
        {"{\"registers\":[{\"field\":\"v\",\"obis\":\"8-0:1.0.0\"}]}",
         "kind is cumulative, interval or instant, not \"\""},
        {"{\"registers\":[{\"field\":\"v\",\"quantity\":\"volume\",\"unit\":"
         "\"litre\"}]}",
         "unknown unit \"litre\""},
        {"{\"medium\":\"wine\"}", "unknown medium \"wine\""},
        {"{\"events\":[{\"field\":\"a\"}]}",
         "an event code is missing for \"a\""},
        {"[]", "an object is expected, not \"\""},
        {"{", "ends in the middle, at byte 1"},
    };

    (void)state;
    for (size_t i = 0; i + 1 < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(mapped(wrong[i][0], "{}"), wrong[i][1]);
    assert_non_null(strstr(mapped("{", "{}"), "at byte"));
}

/* JSON.stringify writes both; PostgreSQL takes neither. */
static void nul_and_lone_surrogates_are_mended(void **state)
{
    (void)state;
    assert_string_equal(
        mapped(NULL, "{\"a\":\"x\\u0000y\\ud800z\\udc00\\ud83d\\ude00\","
                     "\"b\":\"\\\\u0000\"}"),
        "other; text a=x\xef\xbf\xbdy\xef\xbf\xbdz\xef\xbf\xbd\xf0\x9f\x98\x80;"
        " text b=\\u0000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_becomes_its_register_exactly),
        cmocka_unit_test(
            digits_behind_the_meters_own_are_rounded_off_when_asked),
        cmocka_unit_test(what_no_rule_names_is_kept),
        cmocka_unit_test(a_register_without_a_number_says_none_or_stays_a_text),
        cmocka_unit_test(quantities_and_nested_paths),
        cmocka_unit_test(events_by_truth_word_number_and_bit),
        cmocka_unit_test(records_have_times_of_their_own),
        cmocka_unit_test(a_slip_in_a_mapping_is_refused_by_name),
        cmocka_unit_test(nul_and_lone_surrogates_are_mended),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
