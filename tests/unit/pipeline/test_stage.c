/*
 * The stages without PostgreSQL: what a frame becomes, and why.
 */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/pipeline/stage.h"
#include <stdio.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static struct arena *keep, *scratch;
static struct directory *directory;
static struct store_batch *batch;
static struct stage_item item;
static int16_t codec_ids[STAGE_CODECS] = {1, 2, 3};

static int begin(void **state)
{
    (void)state;
    keep = arena_new(0);
    scratch = arena_new(0);
    directory = directory_new();
    batch = store_batch_new();
    directory_put_meter(directory,
                        &(struct meter_entry){.tenant_id = 1,
                                              .meter_id = 7,
                                              .dev_eui = 0x0102030405060708,
                                              .serial = STR("69322582"),
                                              .codec = "elvaco-cmi41",
                                              .zone = "Europe/Berlin"});
    return 0;
}

static int end(void **state)
{
    (void)state;
    store_batch_free(batch);
    directory_free(directory);
    arena_free(scratch);
    arena_free(keep);
    return 0;
}

static struct frame uplink(const char *eui, const char *payload_hex)
{
    uint8_t bytes[256];
    int n = hex_decode(str_of(payload_hex), bytes, sizeof bytes);
    struct str data =
        base64_encode(keep, (struct str){(const char *)bytes, (size_t)n});
    struct frame f = {.source = SOURCE_CHIRPSTACK,
                      .tenant_id = 1,
                      .integration_id = 3,
                      .received_us = 1768478400LL * US_PER_S,
                      .count = 1};
    f.topic = arena_printf(keep, "application/a/device/%s/event/up", eui);
    f.payload = arena_printf(
        keep,
        "{\"deviceInfo\":{\"devEui\":\"%s\"},\"devAddr\":\"01ab23cd\","
        "\"fCnt\":7,\"fPort\":2,\"data\":\"%.*s\"}",
        eui, STR_ARGS(data));
    f.size = (uint32_t)f.payload.n;
    return f;
}

/* The frame as the journal gives it back, through all three stages. */
static void run(const struct frame *f)
{
    struct buf record = {0};
    frame_encode(f, &record);
    stage_parse(&item, keep, arena_str(keep, buf_view(&record)), false,
                frame_id(1, 64), 0);
    stage_resolve(&item, keep, directory, NULL, codec_ids);
    stage_decode(&item, keep, scratch, batch);
    buf_done(&record);
}

static void expect_fate(enum fate fate, const char *reason)
{
    assert_string_equal(item.fate ? fate_name(item.fate) : "stored",
                        fate_name(fate));
    assert_string_equal(item.reason ? item.reason : "", reason);
    assert_int_equal(store_batch_frames(batch), 1); /* one fate, one row */
}

static void a_known_meter_with_a_whole_telegram_is_stored(void **state)
{
    (void)state;
    struct frame f = uplink("0102030405060708", "1e04068fa10100041384b71e00");
    run(&f);
    expect_fate(FATE_STORED, "");
    assert_int_equal(item.meter.meter_id, 7);
    assert_int_equal(item.frame.id, frame_id(1, 64));
}

static void an_unknown_meter_is_quarantined_by_name(void **state)
{
    (void)state;
    struct frame f = uplink("01020304050607ff", "1e04068fa10100");
    run(&f);
    expect_fate(FATE_QUARANTINED, "unknown_meter");
    assert_string_equal(item.detail.p, "DevEUI 01020304050607ff");
}

static void another_tenants_meter_is_unknown(void **state)
{
    (void)state;
    struct frame f = uplink("0102030405060708", "1e04068fa10100");
    f.tenant_id = 2;
    run(&f);
    expect_fate(FATE_QUARANTINED, "unknown_meter");
}

static void truncated_records_are_quarantined_with_clause_and_byte(void **state)
{
    (void)state;
    struct frame f = uplink("0102030405060708", "1e04068fa101");
    run(&f);
    expect_fate(FATE_QUARANTINED, "decode_failed");
    assert_non_null(strstr(item.detail.p, "codec elvaco-cmi41 v2: "));
    assert_non_null(strstr(item.detail.p, "at byte "));
    assert_non_null(strstr(item.detail.p, "ERR_SHORT"));
}

static void what_is_no_document_is_rejected(void **state)
{
    (void)state;
    struct frame f = uplink("0102030405060708", "1e");
    f.payload = STR("\x01\x02 not JSON");
    run(&f);
    expect_fate(FATE_REJECTED, "not_json");
}

static void a_document_without_a_device_is_kept_whole(void **state)
{
    (void)state;
    struct frame f = uplink("0102030405060708", "1e");
    f.topic = STR("application/a/device/x/event/up");
    f.payload = STR("{\"deviceInfo\":{},\"fCnt\":1}");
    run(&f);
    assert_string_equal(fate_name(item.fate), "quarantined");
}

static void a_damaged_stretch_belongs_to_the_platform(void **state)
{
    (void)state;
    stage_parse(&item, keep, STR("\xff\xff\xff"), true, frame_id(1, 64), 5);
    stage_resolve(&item, keep, directory, NULL, codec_ids);
    stage_decode(&item, keep, scratch, batch);
    expect_fate(FATE_QUARANTINED, "journal_damaged");
    assert_int_equal(item.frame.tenant_id, TENANT_PLATFORM);
    assert_string_equal(item.detail.p, "journal position 64");
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CLAIM(a_known_meter_with_a_whole_telegram_is_stored),
        CLAIM(an_unknown_meter_is_quarantined_by_name),
        CLAIM(another_tenants_meter_is_unknown),
        CLAIM(truncated_records_are_quarantined_with_clause_and_byte),
        CLAIM(what_is_no_document_is_rejected),
        CLAIM(a_document_without_a_device_is_kept_whole),
        CLAIM(a_damaged_stretch_belongs_to_the_platform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
