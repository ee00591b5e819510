/*
 * test_admit.c - the door: every frame is journaled before its callback, and
 * every rejection is counted once, however many there are.
 */
#include "ingest/admit.h"
#include "journal_fixture.h"

static int64_t utc_now = 1768478400 * US_PER_S, mono_now;

static int64_t fake_utc(void *arg)
{
    (void)arg;
    return utc_now;
}

static int64_t fake_mono(void *arg)
{
    (void)arg;
    return mono_now;
}

static const struct clock fake_clock = {fake_utc, fake_mono, NULL};
static struct door *door;

static int setup_door(void **state)
{
    if (setup(state) < 0)
        return -1;
    options.clock = &fake_clock;
    open_journal();
    door = door_new(&loop, journal, &fake_clock);
    return 0;
}

static int teardown_door(void **state)
{
    door_free(door);
    door = NULL;
    return teardown(state);
}

static struct frame rejected(int32_t tenant)
{
    return (struct frame){
        .source = SOURCE_TCP,
        .tenant_id = tenant,
        .integration_id = 3,
        .rejected = "not_json",
        .peer = STR("192.0.2.7:40112"),
        .payload = STR("GET / HTTP/1.1"),
    };
}

/* What the journal holds: frames, and what they stand for, by tenant. */
static struct {
    uint32_t frames, count[4];
    struct frame last;
    struct buf copy;
} there;

static void count_up(void)
{
    struct journal_chunk chunk = {0};

    buf_done(&there.copy);
    memset(&there, 0, sizeof(there));
    while (chunk.next < journal_end(journal)) {
        assert_ok(journal_read(journal, chunk.next, journal_end(journal), MIB,
                               UINT32_MAX, &chunk));
        for (uint32_t i = 0; i < chunk.n; i++) {
            buf_clear(&there.copy);
            buf_str(&there.copy, chunk.records[i].bytes);
            assert_ok(frame_decode(buf_view(&there.copy), &there.last));
            there.frames++;
            there.count[there.last.tenant_id] += there.last.count;
        }
    }
    journal_chunk_done(&chunk);
}

static int reported, reported_bad;

static void on_reported(void *arg, int err)
{
    (void)arg;
    reported++;
    reported_bad += err < 0;
}

static void a_frame_is_stamped_and_kept_whole(void **state)
{
    int outcome = 1;
    struct frame f = {
        .source = SOURCE_CHIRPSTACK,
        .tenant_id = 2,
        .integration_id = 9,
        .peer = STR("mqtt://127.0.0.1:1883"),
        .topic = STR("application/1/device/2/event/up"),
        .payload = STR("{\"data\":\"AQ==\"}"),
    };

    (void)state;
    assert_ok(admit_frame(journal, &f, on_done, &outcome));
    assert_int_equal(outcome, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_ok(outcome);
    count_up();
    assert_int_equal(there.frames, 1);
    assert_int_equal(there.last.received_us, utc_now);
    assert_int_equal(there.last.count, 1);
    assert_int_equal(there.last.size, f.payload.n);
    assert_true(str_eq(there.last.payload, f.payload));
    assert_true(str_eq(there.last.topic, f.topic));
    assert_null(there.last.rejected);

    f.received_us = 5;
    assert_ok(admit_frame(journal, &f, on_done, &outcome));
    uv_run(&loop, UV_RUN_DEFAULT);
    count_up();
    assert_int_equal(there.last.received_us, 5);
    buf_done(&there.copy);
}

static void a_payload_over_the_limit_is_not_admitted(void **state)
{
    static char bytes[FRAME_PAYLOAD_MAX + 1];
    int outcome = 1;
    struct frame f = {.source = SOURCE_HEO, .payload = {bytes, sizeof(bytes)}};

    (void)state;
    assert_err(admit_frame(journal, &f, on_done, &outcome), "ERR_RANGE");
    f.payload.n--;
    assert_ok(admit_frame(journal, &f, on_done, &outcome));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_ok(outcome);
}

static void a_rejection_is_kept_as_a_sample_with_its_reason(void **state)
{
    static char bytes[100000];
    struct frame f = rejected(1);

    (void)state;
    f.payload = (struct str){bytes, sizeof(bytes)};
    reported = reported_bad = 0;
    admit_reject(door, &f, on_reported, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    while (reported == 0)
        uv_run(&loop, UV_RUN_ONCE);
    count_up();
    assert_int_equal(there.frames, 1);
    assert_int_equal(there.last.payload.n, FRAME_SAMPLE_MAX);
    assert_int_equal(there.last.size, sizeof(bytes));
    assert_string_equal(there.last.rejected, "not_json");
    assert_int_equal(reported_bad, 0);
    buf_done(&there.copy);
}

/* 1 000 of each of two tenants within a second: ten samples of each, the rest
 * in the count of one more that the flush sends. */
static void a_flood_is_sampled_and_counted_by_tenant(void **state)
{
    (void)state;
    reported = reported_bad = 0;
    for (int i = 0; i < 1000; i++)
        for (int32_t tenant = 1; tenant <= 2; tenant++) {
            struct frame f = rejected(tenant);
            admit_reject(door, &f, on_reported, NULL);
        }
    while (reported < 20)
        uv_run(&loop, UV_RUN_ONCE);
    count_up();
    assert_int_equal(there.frames, 20);
    assert_int_equal(there.count[1], 10);
    assert_int_equal(reported, 20); /* the others wait for their count */

    while (reported < 2000)
        uv_run(&loop, UV_RUN_ONCE);
    count_up();
    assert_int_equal(there.frames, 22);
    assert_int_equal(there.count[1], 1000);
    assert_int_equal(there.count[2], 1000);
    assert_int_equal(reported_bad, 0);
    buf_done(&there.copy);
}

static void the_next_second_takes_over_what_was_held(void **state)
{
    struct frame f = rejected(1);

    (void)state;
    reported = reported_bad = 0;
    for (int i = 0; i < 50; i++)
        admit_reject(door, &f, on_reported, NULL);
    mono_now += US_PER_S;
    admit_reject(door, &f, on_reported, NULL);
    while (reported < 51)
        uv_run(&loop, UV_RUN_ONCE);
    count_up();
    assert_int_equal(there.frames, 11);
    assert_int_equal(there.last.count, 41);
    assert_int_equal(there.count[1], 51);
    buf_done(&there.copy);
}

static void a_count_survives_a_disk_that_fails(void **state)
{
    struct frame f = rejected(1);

    (void)state;
    reported = reported_bad = 0;
    atomic_store(&disk_write_error, ENOSPC);
    for (int i = 0; i < 100; i++)
        admit_reject(door, &f, on_reported, NULL);
    struct journal_stats stats = {0};
    while (stats.errors == 0) {
        uv_run(&loop, UV_RUN_ONCE);
        journal_stats(journal, &stats);
    }
    assert_int_equal(reported, 0);
    atomic_store(&disk_write_error, 0);
    while (reported < 100)
        uv_run(&loop, UV_RUN_ONCE);
    count_up();
    assert_int_equal(there.count[1], 100);
    assert_int_equal(reported_bad, 0);
    buf_done(&there.copy);
}

static void ending_the_door_counts_what_was_held(void **state)
{
    struct frame f = rejected(1);

    (void)state;
    reported = reported_bad = 0;
    for (int i = 0; i < 100; i++)
        admit_reject(door, &f, on_reported, NULL);
    door_free(door);
    door = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(reported, 100);
    assert_int_equal(reported_bad, 0);
    count_up();
    assert_int_equal(there.frames, 11);
    assert_int_equal(there.count[1], 100);
    buf_done(&there.copy);
}

static void an_ended_door_tells_who_waits_when_the_disk_fails(void **state)
{
    struct frame f = rejected(1);

    (void)state;
    reported = reported_bad = 0;
    atomic_store(&disk_write_error, EIO);
    for (int i = 0; i < 100; i++)
        admit_reject(door, &f, on_reported, NULL);
    door_free(door);
    door = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(reported, 100);
    assert_int_equal(reported_bad, 100);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup_door, teardown_door)

static void what_is_durable_is_booked_and_nothing_else(void **state)
{
    struct ledger *l = ledger_new();
    struct frame good = {
        .source = SOURCE_HEO, .tenant_id = 2, .payload = STR("{}")};
    struct frame bad = rejected(1);
    int outcome = 1;

    (void)state;
    ledger_counted(l);
    admit_keep_books(l);
    atomic_store(&disk_write_error, ENOSPC);
    assert_ok(admit_frame(journal, &good, on_done, &outcome));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_err(outcome, "ENOSPC");
    assert_int_equal(ledger_pending(l), 0);
    disk_heal();
    outcome = 1;
    assert_ok(admit_frame(journal, &good, on_done, &outcome));
    assert_int_equal(ledger_pending(l), 0); /* not yet durable */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_ok(outcome);
    assert_int_equal(ledger_pending_of(l, 2), 1);
    reported = 0;
    for (int i = 0; i < 100; i++)
        admit_reject(door, &bad, on_reported, NULL);
    while (reported < 100)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(ledger_pending_of(l, 1), 100);
    admit_keep_books(NULL);
    ledger_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_frame_is_stamped_and_kept_whole),
        TEST(a_payload_over_the_limit_is_not_admitted),
        TEST(a_rejection_is_kept_as_a_sample_with_its_reason),
        TEST(a_flood_is_sampled_and_counted_by_tenant),
        TEST(the_next_second_takes_over_what_was_held),
        TEST(a_count_survives_a_disk_that_fails),
        TEST(ending_the_door_counts_what_was_held),
        TEST(an_ended_door_tells_who_waits_when_the_disk_fails),
        TEST(what_is_durable_is_booked_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
