/* Downlinks as network servers want them. */
#include "ingest/downlink.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct downlink sample(enum frame_source source, const char *topic)
{
    return (struct downlink){.source = source,
                             .topic = str_of(topic),
                             .dev_eui = 0x94193a00000069fe,
                             .port = 202,
                             .payload = {"\x01\x25\0\0\0\x05", 6},
                             .id = "an-id"};
}

static void assert_builds(enum frame_source source, const char *from,
                          const char *topic, const char *document)
{
    struct downlink d = sample(source, from);
    struct buf t = {0}, b = {0};

    assert_string_equal(err_name(downlink_build(&d, &t, &b)), "ok");
    buf_u8(&t, 0);
    buf_u8(&b, 0);
    assert_string_equal((char *)t.p, topic);
    assert_string_equal((char *)b.p, document);
    buf_done(&t);
    buf_done(&b);
}

static void the_topic_is_the_uplinks_with_another_end(void **state)
{
    (void)state;
    assert_builds(SOURCE_CHIRPSTACK,
                  "eu/application/a-b/device/94193a00000069fe/event/up",
                  "eu/application/a-b/device/94193a00000069fe/command/down",
                  "{\"devEui\":\"94193a00000069fe\",\"confirmed\":false,"
                  "\"fPort\":202,\"data\":\"ASUAAAAF\",\"id\":\"an-id\"}");
    assert_builds(SOURCE_TTS, "v3/app@tenant/devices/eui-94/up",
                  "v3/app@tenant/devices/eui-94/down/push",
                  "{\"downlinks\":[{\"f_port\":202,\"frm_payload\":"
                  "\"ASUAAAAF\",\"priority\":\"NORMAL\","
                  "\"correlation_ids\":[\"an-id\"]}]}");
}

static void it_is_confirmed_and_forgotten_in_time_where_that_is_said(
    void **state)
{
    struct downlink d =
        sample(SOURCE_CHIRPSTACK, "application/a/device/1/event/up");
    struct buf t = {0}, b = {0};

    (void)state;
    d.confirmed = true;
    d.not_after_us = 1768478400 * US_PER_S;
    assert_int_equal(downlink_build(&d, &t, &b), 0);
    buf_u8(&b, 0);
    assert_string_equal((char *)b.p,
                        "{\"devEui\":\"94193a00000069fe\",\"confirmed\":true,"
                        "\"fPort\":202,\"data\":\"ASUAAAAF\",\"id\":\"an-id\","
                        "\"expiresAt\":\"2026-01-15T12:00:00Z\"}");
    buf_clear(&b);
    d.source = SOURCE_TTS;
    assert_int_equal(downlink_build(&d, &t, &b), 0);
    buf_u8(&b, 0);
    assert_non_null(strstr((char *)b.p, "\"confirmed\":true,"));
    buf_done(&t);
    buf_done(&b);
}

static void what_has_no_way_down_is_refused(void **state)
{
    struct downlink d = sample(SOURCE_HEO, "");
    struct buf t = {0}, b = {0};

    (void)state;
    assert_int_equal(downlink_build(&d, &t, &b), ERR_UNSUPPORTED);
    d = sample(SOURCE_CHIRPSTACK, "no/uplink");
    assert_int_equal(downlink_build(&d, &t, &b), ERR_FORMAT);
    d = sample(SOURCE_TTS, "");
    assert_int_equal(downlink_build(&d, &t, &b), ERR_FORMAT);
    d.port = 224;
    assert_int_equal(downlink_build(&d, &t, &b), ERR_RANGE);
    d.port = 202;
    d.payload.n = 243;
    assert_int_equal(downlink_build(&d, &t, &b), ERR_RANGE);
    assert_int_equal(t.n + b.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_topic_is_the_uplinks_with_another_end),
        cmocka_unit_test(
            it_is_confirmed_and_forgotten_in_time_where_that_is_said),
        cmocka_unit_test(what_has_no_way_down_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
