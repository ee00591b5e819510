/* What network servers tell of downlinks. */
#include "ingest/receipt.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define ACK "application/a/device/0102030405060708/event/ack"
#define TX  "application/a/device/0102030405060708/event/txack"

static const struct downlink_ref nine = {false, 9, 2};

static const char *id_of(int32_t tenant, const struct downlink_ref *ref)
{
    static char id[DOWNLINK_ID];

    return downlink_id(tenant, ref, id);
}

/* Reads a document in which @ is the id of command 9, attempt 2. */
static const char *take(enum frame_source source, const char *topic,
                        const char *form, struct receipt *ret)
{
    const char *at = strchr(form, '@');
    char text[400];

    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - form), form,
             id_of(1, &nine), at + 1);
    *ret = (struct receipt){.event = ""};
    return err_name(receipt_read(source, 1, str_of(topic), str_of(text), ret));
}

static void an_id_says_what_it_was_made_of_to_its_tenant_alone(void **state)
{
    const struct downlink_ref refs[] = {
        nine, {true, 1, 0xffffffff}, {false, (1LL << 56) - 1, 0}};
    struct downlink_ref got;
    char id[DOWNLINK_ID];

    (void)state;
    for (int i = 0; i < 3; i++) {
        downlink_id(7, &refs[i], id);
        assert_int_equal(strlen(id), 36);
        assert_int_equal(id[14], '8'); /* RFC 9562: version, variant */
        assert_non_null(strchr("89ab", id[19]));
        assert_int_equal(downlink_ref(7, str_of(id), &got), 0);
        assert_int_equal(got.id, refs[i].id);
        assert_int_equal(got.attempt, refs[i].attempt);
        assert_int_equal(got.correction, refs[i].correction);
        assert_int_equal(downlink_ref(8, str_of(id), &got), ERR_UNKNOWN);
        id[35] = id[35] == '0' ? '1' : '0';
        assert_int_equal(downlink_ref(7, str_of(id), &got), ERR_UNKNOWN);
    }
    assert_int_equal(
        downlink_ref(7, STR("d8b1a2f0-1c3d-8e4f-9a6b-7c8d9e0f1a2b"), &got),
        ERR_UNKNOWN);
    assert_int_equal(downlink_ref(7, STR(""), &got), ERR_UNKNOWN);
}

static void chirpstack_tells_what_was_sent_and_confirmed(void **state)
{
    struct receipt r;

    (void)state;
    assert_string_equal(take(SOURCE_CHIRPSTACK, TX,
                             "{\"queueItemId\":\"@\",\"gatewayId\":\"01ff\"}",
                             &r),
                        "ok");
    assert_string_equal(r.event, "radiated");
    assert_string_equal(r.detail, "sent by gateway 01ff");
    assert_int_equal(r.ref.id, 9);
    assert_int_equal(r.ref.attempt, 2);
    take(SOURCE_CHIRPSTACK, ACK,
         "{\"queueItemId\":\"@\",\"acknowledged\":true}", &r);
    assert_string_equal(r.event, "done");
    take(SOURCE_CHIRPSTACK, ACK, "{\"queueItemId\":\"@\"}", &r);
    assert_string_equal(r.event, "lost");
}

static void the_things_stack_tells_it_too(void **state)
{
    struct receipt r;

    (void)state;
    assert_string_equal(take(SOURCE_TTS, "v3/a@t/devices/d/down/sent",
                             "{\"correlation_ids\":[\"as:1\",\"@\"]}", &r),
                        "ok");
    assert_string_equal(r.event, "radiated");
    take(SOURCE_TTS, "v3/a@t/devices/d/down/ack",
         "{\"downlink_ack\":{\"correlation_ids\":[\"@\"]}}", &r);
    assert_string_equal(r.event, "done");
    take(SOURCE_TTS, "v3/a@t/devices/d/down/nack",
         "{\"downlink_nack\":{\"correlation_ids\":[\"@\"]}}", &r);
    assert_string_equal(r.event, "note");
    take(SOURCE_TTS, "v3/a@t/devices/d/down/failed",
         "{\"downlink_failed\":{\"downlink\":{\"correlation_ids\":[\"@\"]},"
         "\"error\":{\"message_format\":\"no gateway\"}}}",
         &r);
    assert_string_equal(r.event, "lost");
    assert_string_equal(r.detail, "the network server failed: no gateway");
}

static void what_is_none_of_ours_is_left(void **state)
{
    struct receipt r;

    (void)state;
    assert_false(receipt_topic(SOURCE_CHIRPSTACK,
                               STR("application/a/device/1/event/up")));
    assert_false(receipt_topic(SOURCE_TTS, STR(TX)));
    assert_true(receipt_topic(SOURCE_CHIRPSTACK, STR(TX)));
    assert_string_equal(
        take(SOURCE_CHIRPSTACK, TX, "{\"queueItemId\":\"x@\"}", &r),
        "ERR_UNKNOWN");
    assert_string_equal(take(SOURCE_CHIRPSTACK, TX, "{\"x\":\"@\"}", &r),
                        "ERR_UNKNOWN");
    assert_string_equal(take(SOURCE_CHIRPSTACK, TX, "[\"@\"]", &r),
                        "ERR_FORMAT");
    assert_string_equal(take(SOURCE_CHIRPSTACK, TX, "{\"@\"", &r), "ERR_SHORT");
    assert_string_equal(r.event, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_says_what_it_was_made_of_to_its_tenant_alone),
        cmocka_unit_test(chirpstack_tells_what_was_sent_and_confirmed),
        cmocka_unit_test(the_things_stack_tells_it_too),
        cmocka_unit_test(what_is_none_of_ours_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
