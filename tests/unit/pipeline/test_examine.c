/*
 * What a person is shown of a quarantined frame: as far as its codec gets.
 */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/pipeline/examine.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static struct arena *a;
static struct buf record;
static struct examined seen;

static int begin(void **state)
{
    (void)state;
    a = arena_new(0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(a);
    buf_done(&record);
    return 0;
}

static void look(const struct frame *f, const char *codec)
{
    buf_clear(&record);
    frame_encode(f, &record);
    assert_string_equal(
        err_name(examine(buf_view(&record), str_of(codec), a, &seen)), "ok");
}

static struct frame uplink(const char *payload_hex)
{
    uint8_t bytes[64];
    int n = hex_decode(str_of(payload_hex), bytes, sizeof bytes);
    struct str data = base64_encode(a, (struct str){(char *)bytes, (size_t)n});

    return (struct frame){
        .source = SOURCE_CHIRPSTACK,
        .tenant_id = 1,
        .count = 1,
        .topic = STR("application/a/device/0102030405060708/event/up"),
        .payload =
            arena_printf(a,
                         "{\"deviceInfo\":{\"devEui\":\"0102030405060708\"},"
                         "\"devAddr\":\"01ab23cd\",\"fCnt\":7,\"fPort\":2,"
                         "\"data\":\"%.*s\"}",
                         STR_ARGS(data))};
}

static void a_cut_telegram_shows_what_came_before_the_cut(void **state)
{
    struct frame f = uplink("1e04068fa10100041384b7");

    (void)state;
    look(&f, "elvaco-cmi41");
    assert_string_equal(err_name(seen.err), "ERR_SHORT");
    assert_non_null(strstr(seen.decoded.p, "106895"));
    assert_in_range(seen.offset, 7, 11);
    assert_non_null(seen.error);
    assert_int_equal(seen.payload.n, 11);
    assert_true(str_is(seen.device, "0102030405060708"));
}

static void a_good_telegram_is_said_to_decode(void **state)
{
    struct frame f = uplink("1e04068fa10100");

    (void)state;
    look(&f, "elvaco-cmi41");
    assert_string_equal(err_name(seen.err), "ok");
    assert_null(seen.error);
}

static void a_strangers_uplink_has_no_codec(void **state)
{
    struct frame f = uplink("1e04068fa10100");

    (void)state;
    look(&f, "");
    assert_null(seen.codec);
    assert_int_equal(seen.decoded.n, 0);
    assert_int_equal(seen.payload.n, 7);
}

static void a_document_that_is_none_is_shown_whole(void **state)
{
    struct frame f = {.source = SOURCE_TTS,
                      .count = 1,
                      .payload = STR("{\"end_device_ids\":")};

    (void)state;
    look(&f, "elvaco-cmi41");
    assert_null(seen.codec);
    assert_true(str_eq(seen.payload, f.payload));
}

static void a_gas_meters_object_needs_no_registered_meter(void **state)
{
    struct frame f = {.source = SOURCE_HEO,
                      .count = 1,
                      .identity = STR("24000123"),
                      .payload = STR("{\"t\":\"data\",\"seq\":1,\"rows\":7}")};

    (void)state;
    look(&f, "");
    assert_string_equal(seen.codec->name, "heo-json");
    assert_true(seen.err < 0);
    assert_non_null(seen.error);
    assert_true(str_is(seen.device, "24000123"));
}

static void bytes_that_are_no_record_are_an_error(void **state)
{
    (void)state;
    assert_string_equal(err_name(examine(STR("\xde\xad"), STR(""), a, &seen)),
                        "ERR_FORMAT");
    assert_string_equal(err_name(examine(STR("\x01"), STR(""), a, &seen)),
                        "ERR_SHORT");
}

#define examine_test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        examine_test(a_cut_telegram_shows_what_came_before_the_cut),
        examine_test(a_good_telegram_is_said_to_decode),
        examine_test(a_strangers_uplink_has_no_codec),
        examine_test(a_document_that_is_none_is_shown_whole),
        examine_test(a_gas_meters_object_needs_no_registered_meter),
        examine_test(bytes_that_are_no_record_are_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
