/* Claims of ingest/uplink.h, on documents shaped as the servers write them. */
#include "ingest/uplink.h"
#include "server/base/err.h"
#include "server/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define EUI "0102030405060708"
#define TOPIC_V4(event)                                                        \
    "application/52f14cd4-c6f1-4fbd-8f87-4025e1d49242/device/" EUI             \
    "/event/" event
#define TOPIC_TTS(event) "v3/app@acme/devices/meter-1/" event

/* As ChirpStack v4.19 writes it: integration.* in full, gw.* without zeros. */
static const char up_v4[] =
    "{\"deduplicationId\":\"3ac7e3c4-4401-4b8d-9386-a5c902f9202d\","
    "\"time\":\"2026-01-15T12:00:00.123456789+00:00\",\"deviceInfo\":{"
    "\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"devEui\":\"" EUI
    "\",\"tags\":{\"k\":\"v\"}},\"devAddr\":\"00189440\",\"adr\":true,\"dr\":1,"
    "\"fCnt\":42,\"fPort\":10,\"confirmed\":true,\"data\":\"AQIDBA==\","
    "\"object\":null,\"rxInfo\":[{\"gatewayId\":\"0016c001f153a14c\","
    "\"uplinkId\":4217106255,\"rssi\":-100,\"snr\":-13.5},"
    "{\"gatewayId\":\"0016c001f1500001\",\"rssi\":-36,\"snr\":10.5},"
    "{\"gatewayId\":\"0016c001f1500002\"}],\"txInfo\":{\"frequency\":867100000,"
    "\"modulation\":{\"lora\":{\"bandwidth\":125000,\"spreadingFactor\":11,"
    "\"codeRate\":\"CR_4_5\"}}},\"regionConfigId\":\"eu868\"}";

static const char join_v4[] =
    "{\"deduplicationId\":\"c9dbe358-2578-4fb7-b295-66b44edc45a6\","
    "\"time\":\"2026-01-15T12:00:00+00:00\",\"deviceInfo\":{\"devEui\":\"" EUI
    "\"},\"devAddr\":\"00189440\"}";

static const char up_v3[] =
    "{\"applicationID\":\"123\",\"applicationName\":\"t\",\"deviceName\":\"d\","
    "\"devEUI\":\"0202020202020202\",\"rxInfo\":[{\"gatewayID\":"
    "\"0303030303030303\",\"name\":\"g\",\"time\":\"2026-01-15T12:00:01Z\","
    "\"rssi\":-49,\"loRaSNR\":9.75}],\"txInfo\":{\"frequency\":868100000,"
    "\"dr\":5},\"adr\":false,\"fCnt\":7,\"fPort\":5,\"data\":\"qrs=\"}";

static const char up_v3_json[] =
    "{\"applicationID\":\"123\",\"devEUI\":\"AgICAgICAgI=\",\"devAddr\":"
    "\"AFE5Qg==\",\"rxInfo\":[{\"gatewayID\":\"AwMDAwMDAwM=\",\"rssi\":-48,"
    "\"loRaSNR\":-0.04}],\"txInfo\":{\"frequency\":868300000,\"modulation\":"
    "\"LORA\",\"loRaModulationInfo\":{\"bandwidth\":125,\"spreadingFactor\":12}"
    "},\"fCnt\":4,\"fPort\":2,\"data\":\"\",\"objectJSON\":\"{}\","
    "\"confirmedUplink\":true,\"publishedAt\":\"2026-01-15T12:00:02.5Z\"}";

static const char up_tts[] =
    "{\"end_device_ids\":{\"device_id\":\"meter-1\",\"application_ids\":{"
    "\"application_id\":\"app\"},\"dev_eui\":\"70B3D5499C3B1A2F\","
    "\"dev_addr\":\"260BEC2D\"},\"received_at\":\"2026-01-15T12:00:01Z\","
    "\"uplink_message\":{\"f_port\":85,\"f_cnt\":4294967295,\"frm_payload\":"
    "\"AQI\",\"rx_metadata\":[{\"gateway_ids\":{\"gateway_id\":\"gw\","
    "\"eui\":\"58A0CBFFFE800001\"},\"rssi\":-47,\"snr\":9.2499},{\"gateway_ids"
    "\":{\"gateway_id\":\"packetbroker\"},\"rssi\":-110.5,\"snr\":-7}],"
    "\"settings\":{\"data_rate\":{\"lora\":{\"bandwidth\":125000,"
    "\"spreading_factor\":7}},\"frequency\":\"868100000\"},"
    "\"received_at\":\"2026-01-15T12:00:00.5Z\"}}";

static struct arena *arena;
static struct uplink up;
static struct uplink_error error;

static int arena_setup(void **state)
{
    (void)state;
    arena = arena_new(4 * 1024 * 1024);
    return 0;
}

static int arena_teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int parse_n(enum frame_source source, const char *topic, const char *p,
                   size_t n)
{
    struct frame f = {
        .source = source, .topic = str_of(topic), .payload = {p, n}};

    return uplink_parse(&f, arena, &up, &error);
}

static int parse(enum frame_source source, const char *topic, const char *doc)
{
    return parse_n(source, topic, doc, strlen(doc));
}

static void read_ok(enum frame_source source, const char *topic,
                    const char *doc)
{
    int r = parse(source, topic, doc);

    if (r < 0)
        fail_msg("%s: %.*s", error.reason, STR_ARGS(error.detail));
}

static void refused(enum frame_source source, const char *topic,
                    const char *doc, const char *reason)
{
    up.dev_eui = 4711;
    assert_string_equal(err_name(parse(source, topic, doc)), "ERR_FORMAT");
    assert_string_equal(error.reason, reason);
    assert_true(error.detail.n > 0);
    assert_int_equal(up.dev_eui, 4711); /* untouched */
}

static void refused_v4(const char *doc, const char *reason)
{
    refused(SOURCE_CHIRPSTACK, TOPIC_V4("up"), doc, reason);
}

static void expect_payload(const char *bytes, size_t n)
{
    assert_int_equal(up.payload.n, n);
    assert_memory_equal(up.payload.p, bytes, n);
}

static void expect_time(const char *want)
{
    char text[TIME_TEXT];

    assert_string_equal(time_text(up.network_us, text), want);
}

static void chirpstack_v4_up_is_read(void **state)
{
    (void)state;
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"), up_v4);
    assert_int_equal(up.kind, UPLINK_DATA);
    assert_true(up.dev_eui == 0x0102030405060708);
    assert_true(up.has_dev_addr);
    assert_int_equal(up.dev_addr, 0x00189440);
    assert_true(up.has_counter);
    assert_int_equal(up.counter, 42);
    assert_int_equal(up.port, 10);
    assert_true(up.confirmed);
    assert_false(up.encrypted);
    expect_payload("\1\2\3\4", 4);
    assert_true(str_is(up.dedup_id, "3ac7e3c4-4401-4b8d-9386-a5c902f9202d"));
    expect_time("2026-01-15T12:00:00.123456Z");
    assert_int_equal(up.receptions, 3);
    assert_true(up.gateway == 0x0016c001f1500001);
    assert_int_equal(up.rssi_dbm, -36);
    assert_int_equal(up.snr_tenths, 105);
    assert_int_equal(up.spreading_factor, 11);
}

static void chirpstack_v4_join_is_read(void **state)
{
    (void)state;
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("join"), join_v4);
    assert_int_equal(up.kind, UPLINK_JOIN);
    assert_true(up.dev_eui == 0x0102030405060708);
    assert_true(up.has_dev_addr);
    assert_false(up.has_counter);
    assert_int_equal(up.payload.n, 0);
    expect_time("2026-01-15T12:00:00Z");
}

static void proto_names_and_absent_defaults_are_read(void **state)
{
    (void)state;
    read_ok(
        SOURCE_CHIRPSTACK, TOPIC_V4("up"),
        "{\"deduplication_id\":\"x\",\"device_info\":{\"dev_eui\":\"" EUI
        "\"},\"dev_addr\":null,\"f_cnt\":null,\"rx_info\":[{\"gateway_id\":"
        "\"0016c001f153a14c\",\"ns_time\":\"2026-01-15T12:00:03+00:00\"}],"
        "\"tx_info\":{\"modulation\":{\"lora\":{\"spreading_factor\":9}}}}");
    assert_true(up.has_counter);
    assert_int_equal(up.counter, 0);
    assert_int_equal(up.port, 0);
    assert_false(up.has_dev_addr);
    assert_int_equal(up.receptions, 1);
    assert_true(up.gateway == 0x0016c001f153a14c);
    assert_int_equal(up.rssi_dbm, 0);
    assert_int_equal(up.spreading_factor, 9);
    assert_true(str_is(up.dedup_id, "x"));
    expect_time("2026-01-15T12:00:03Z");
}

static void end_to_end_encryption_is_seen(void **state)
{
    (void)state;
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"),
            "{\"deviceInfo\":{\"devEui\":\"" EUI "\"},\"data\":\"AA==\","
            "\"joinServerContext\":{\"sessionKeyId\":\"01\",\"appSKey\":{"
            "\"kekLabel\":\"k\",\"aesKey\":\"AA==\"}}}");
    assert_true(up.encrypted);
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"),
            "{\"deviceInfo\":{\"devEui\":\"" EUI "\"},\"data\":\"AA==\","
            "\"joinServerContext\":null}");
    assert_false(up.encrypted);
    read_ok(SOURCE_TTS, TOPIC_TTS("up"),
            "{\"end_device_ids\":{\"dev_eui\":\"" EUI "\"},\"uplink_message\":"
            "{\"app_s_key\":{\"encrypted_key\":\"AA==\"}}}");
    assert_true(up.encrypted);
}

static void chirpstack_v3_is_read_in_both_spellings(void **state)
{
    (void)state;
    read_ok(SOURCE_CHIRPSTACK,
            "application/123/device/0202020202020202/event/up", up_v3);
    assert_true(up.dev_eui == 0x0202020202020202);
    assert_int_equal(up.counter, 7);
    expect_payload("\xaa\xbb", 2);
    assert_true(up.gateway == 0x0303030303030303);
    assert_int_equal(up.rssi_dbm, -49);
    assert_int_equal(up.snr_tenths, 98); /* 9.75 */
    expect_time("2026-01-15T12:00:01Z");
    assert_int_equal(up.dedup_id.n, 0);

    read_ok(SOURCE_CHIRPSTACK,
            "application/123/device/0202020202020202/event/up", up_v3_json);
    assert_true(up.dev_eui == 0x0202020202020202);
    assert_int_equal(up.dev_addr, 0x00513942);
    assert_true(up.confirmed);
    assert_int_equal(up.payload.n, 0);
    assert_true(up.gateway == 0x0303030303030303);
    assert_int_equal(up.snr_tenths, 0); /* -0.04 */
    assert_int_equal(up.spreading_factor, 12);
    expect_time("2026-01-15T12:00:02.5Z");
}

static void the_things_stack_is_read(void **state)
{
    (void)state;
    read_ok(SOURCE_TTS, TOPIC_TTS("up"), up_tts);
    assert_true(up.dev_eui == 0x70B3D5499C3B1A2F);
    assert_int_equal(up.dev_addr, 0x260BEC2D);
    assert_int_equal(up.counter, 4294967295);
    assert_int_equal(up.port, 85);
    expect_payload("\1\2", 2); /* without padding */
    assert_int_equal(up.receptions, 2);
    assert_true(up.gateway == 0x58A0CBFFFE800001);
    assert_int_equal(up.rssi_dbm, -47);
    assert_int_equal(up.snr_tenths, 92);
    assert_int_equal(up.spreading_factor, 7);
    expect_time("2026-01-15T12:00:00.5Z"); /* the network's, not the hop's */

    read_ok(SOURCE_TTS, TOPIC_TTS("join"),
            "{\"end_device_ids\":{\"device_id\":\"meter-1\",\"dev_eui\":"
            "\"70B3D5499C3B1A2F\",\"dev_addr\":\"260BEC2D\"},\"received_at\":"
            "\"2026-01-15T12:00:01Z\",\"join_accept\":{\"session_key_id\":"
            "\"AYrv\"}}");
    assert_int_equal(up.kind, UPLINK_JOIN);
    expect_time("2026-01-15T12:00:01Z");
}

static void events_without_meter_data_are_unsupported(void **state)
{
    static const char *const v4[] = {"status", "ack", "txack",      "location",
                                     "error",  "log", "integration"};

    (void)state;
    for (size_t i = 0; i < sizeof v4 / sizeof *v4; i++) {
        char topic[96];
        snprintf(topic, sizeof topic, "application/a/device/" EUI "/event/%s",
                 v4[i]);
        assert_string_equal(err_name(parse(SOURCE_CHIRPSTACK, topic, "{}")),
                            "ERR_UNSUPPORTED");
    }
    assert_string_equal(
        err_name(parse(SOURCE_TTS, TOPIC_TTS("down/queued"), "{}")),
        "ERR_UNSUPPORTED");
    assert_string_equal(
        err_name(parse(SOURCE_TTS, TOPIC_TTS("up/normalized"), "{}")),
        "ERR_UNSUPPORTED");
    assert_string_equal(err_name(parse(SOURCE_HEO, "", "{}")),
                        "ERR_UNSUPPORTED");
    refused(SOURCE_CHIRPSTACK, TOPIC_V4("upp"), up_v4, "unknown_event");
    refused(SOURCE_CHIRPSTACK, "", up_v4, "unknown_event");
}

static void the_event_must_fit_the_document(void **state)
{
    (void)state;
    refused_v4(join_v4, "wrong_event");
    refused(SOURCE_CHIRPSTACK, TOPIC_V4("join"), up_v4, "wrong_event");
    refused(SOURCE_TTS, TOPIC_TTS("join"), up_tts, "wrong_event");
    refused(SOURCE_TTS, TOPIC_TTS("up"), "{\"join_accept\":{}}", "wrong_event");
}

static void the_topic_checks_the_device(void **state)
{
    (void)state;
    refused(SOURCE_CHIRPSTACK, "application/a/device/0102030405060709/event/up",
            up_v4, "eui_mismatch");
    refused(SOURCE_CHIRPSTACK, "application/a/device/x/event/up", up_v4,
            "eui_mismatch");
    refused(SOURCE_TTS, "v3/a@t/devices/meter-2/up", up_tts, "device_mismatch");
    read_ok(SOURCE_CHIRPSTACK, "pre/fix/" TOPIC_V4("up"), up_v4);
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"),
            "{\"deviceInfo\":{},\"fCnt\":1}");
    assert_true(up.dev_eui == 0x0102030405060708); /* from the topic */
}

static void broken_documents_are_refused_with_a_reason(void **state)
{
    (void)state;
    refused_v4("", "not_json");
    refused_v4("hello", "not_json");
    refused_v4("{\"fCnt\":1", "not_json");
    refused_v4("{\"fCnt\":1}}", "not_json");
    refused_v4("{\"a\":\"\xff\"}", "invalid_utf8");
    refused_v4("[]", "not_object");
    refused_v4("{}", "no_device");
    refused_v4("{\"fCnt\":1}", "no_device");
    refused_v4("{\"deviceInfo\":{\"devEui\":\"01\"},\"fCnt\":1}",
               "bad_dev_eui");
    refused_v4("{\"deviceInfo\":{\"devEui\":\"0000000000000000\"},\"fCnt\":1}",
               "bad_dev_eui");
    refused_v4("{\"deviceInfo\":{\"devEui\":\"01020304050607zz\"},\"fCnt\":1}",
               "bad_dev_eui");
    refused_v4("{\"deviceInfo\":{},\"devAddr\":\"12\",\"fCnt\":1}",
               "bad_dev_addr");
    refused_v4("{\"deviceInfo\":{},\"data\":\"*\"}", "bad_base64");
    refused_v4("{\"deviceInfo\":{},\"data\":7}", "bad_base64");
    refused_v4("{\"deviceInfo\":{},\"fCnt\":-1}", "bad_counter");
    refused_v4("{\"deviceInfo\":{},\"fCnt\":4294967296}", "bad_counter");
    refused_v4("{\"deviceInfo\":{},\"fCnt\":1.5}", "bad_counter");
    refused_v4("{\"deviceInfo\":{},\"fCnt\":\"1\"}", "bad_counter");
    refused_v4("{\"deviceInfo\":{},\"fPort\":256}", "bad_port");
    refused(SOURCE_CHIRPSTACK, "x/event/up", "{\"deviceInfo\":{},\"fCnt\":1}",
            "no_dev_eui");
    refused(SOURCE_TTS, TOPIC_TTS("up"), "{\"uplink_message\":{}}",
            "no_device");
    refused(SOURCE_TTS, TOPIC_TTS("up"),
            "{\"end_device_ids\":{},\"uplink_message\":{}}", "no_dev_eui");
}

static void the_detail_says_where(void **state)
{
    (void)state;
    refused_v4("{\"fCnt\":x}", "not_json");
    assert_memory_equal(error.detail.p, "byte 8: ", 8);
}

static void depth_and_nodes_are_bounded(void **state)
{
    static char deep[100], wide[2 * 20001 + 3];

    (void)state;
    memset(deep, '[', 33);
    refused_v4(deep, "too_deep");
    for (size_t i = 0; i < 20001; i++)
        memcpy(wide + 1 + 2 * i, "1,", 2);
    wide[0] = '[';
    wide[2 * 20001] = ']';
    refused_v4(wide, "too_complex");
}

static void odd_radio_figures_are_unknown_not_fatal(void **state)
{
    (void)state;
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"),
            "{\"deviceInfo\":{},\"fCnt\":1,\"time\":\"0001-01-01T00:00:00Z\","
            "\"rxInfo\":[{\"gatewayId\":\"zz\",\"rssi\":1e300,\"snr\":\"x\"},"
            "{\"gatewayId\":\"\",\"rssi\":-999999999999,\"snr\":1e17},{},7,"
            "null,{\"rssi\":-90,\"snr\":-13.800000190734863281250}]}");
    assert_int_equal(up.receptions, 6);
    assert_int_equal(up.gateway, 0);
    assert_int_equal(up.rssi_dbm, -90);
    assert_int_equal(up.snr_tenths, -138);
    assert_true(up.network_us == TIME_NONE);
}

static void snr_is_rounded_as_decimal_text(void **state)
{
    static const struct {
        const char *text;
        int tenths;
    } cases[] = {
        {"0", 0},         {"-7", -70},   {"10.05", 101},
        {"-10.05", -101}, {"9.95", 100}, {"-0.04", 0},
        {"1e1", 100},     {"75e-1", 75}, {"7449e-3", 74},
        {"999.9", 9999},  {"1000", 0},   {"999.9999999999999999999999", 0},
        {"1e-18", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char doc[160];
        snprintf(doc, sizeof doc,
                 "{\"deviceInfo\":{},\"rxInfo\":[{\"rssi\":-9,\"snr\":%s}]}",
                 cases[i].text);
        read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"), doc);
        assert_int_equal(up.snr_tenths, cases[i].tenths);
    }
}

static void a_small_arena_is_an_answer(void **state)
{
    struct arena *small = arena_new(64);
    struct frame f = {.source = SOURCE_CHIRPSTACK,
                      .topic = STR(TOPIC_V4("up")),
                      .payload = STR(up_v4)};
    struct uplink none;

    (void)state;
    assert_string_equal(err_name(uplink_parse(&f, small, &none, &error)),
                        "ERR_FORMAT");
    assert_string_equal(error.reason, "too_complex");
    arena_free(small);
}

static struct hash128 key_of(const struct uplink *u)
{
    struct hash128 h;

    uplink_key(u, &h);
    return h;
}

static bool same(struct uplink a, struct uplink b)
{
    struct hash128 x = key_of(&a), y = key_of(&b);

    return memcmp(&x, &y, sizeof x) == 0;
}

static void the_key_is_device_session_counter_port_payload(void **state)
{
    struct uplink a, b;

    (void)state;
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("up"), up_v4);
    a = b = up;
    b.dedup_id = STR("another gateway, 48 s later");
    b.network_us += 48 * US_PER_S;
    b.receptions = 1;
    assert_true(same(a, b));
    b = a, b.counter++;
    assert_false(same(a, b));
    b = a, b.dev_addr++;
    assert_false(same(a, b));
    b = a, b.port++;
    assert_false(same(a, b));
    b = a, b.dev_eui++;
    assert_false(same(a, b));
    b = a, b.payload.n--;
    assert_false(same(a, b));
}

static void without_counters_the_dedup_id_counts(void **state)
{
    struct uplink a, b;

    (void)state;
    read_ok(SOURCE_CHIRPSTACK, TOPIC_V4("join"), join_v4);
    a = b = up;
    b.network_us++;
    assert_true(same(a, b));
    b.dedup_id = STR("other");
    assert_false(same(a, b));
    a.dedup_id = b.dedup_id = (struct str){0};
    assert_false(same(a, b)); /* another time: another join */
    b.network_us = a.network_us;
    assert_true(same(a, b));
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, arena_setup, arena_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(chirpstack_v4_up_is_read),
        T(chirpstack_v4_join_is_read),
        T(proto_names_and_absent_defaults_are_read),
        T(end_to_end_encryption_is_seen),
        T(chirpstack_v3_is_read_in_both_spellings),
        T(the_things_stack_is_read),
        T(events_without_meter_data_are_unsupported),
        T(the_event_must_fit_the_document),
        T(the_topic_checks_the_device),
        T(broken_documents_are_refused_with_a_reason),
        T(the_detail_says_where),
        T(depth_and_nodes_are_bounded),
        T(odd_radio_figures_are_unknown_not_fatal),
        T(snr_is_rounded_as_decimal_text),
        T(a_small_arena_is_an_answer),
        T(the_key_is_device_session_counter_port_payload),
        T(without_counters_the_dedup_id_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
