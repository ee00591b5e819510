/*
 * test_journal.c - what journal.h promises of a healthy disk: order, grouping,
 * limits, recycling, reading beside appending.
 */
#include "journal_fixture.h"

static void append_reports_only_after_sync(void **state)
{
    int outcome = 1, syncs = atomic_load(&disk_syncs);

    (void)state;
    open_journal();
    disk_hold(true);
    assert_ok(journal_append(journal, record_of(1, 100), on_done, &outcome));
    for (int i = 0; i < 100; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(outcome, 1);
    disk_hold(false);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_ok(outcome);
    assert_true(atomic_load(&disk_syncs) > syncs);
    assert_numbers(1, 1);
}

static void records_of_every_size_come_back_in_order(void **state)
{
    static const size_t sizes[] = {4,    5,     8,      23,        24,
                                   4096, 65536, 300000, RECORD_MAX};
    static int outcomes[180];
    const uint32_t n = sizeof(outcomes) / sizeof(*outcomes);

    (void)state;
    open_journal();
    for (uint32_t i = 0; i < n; i++) {
        outcomes[i] = 1;
        assert_ok(journal_append(journal, record_of(i, sizes[i % 9]), on_done,
                                 &outcomes[i]));
        if (i % 31 == 0)
            uv_run(&loop, UV_RUN_DEFAULT);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (uint32_t i = 0; i < n; i++)
        assert_ok(outcomes[i]);
    assert_numbers(0, n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(seen[i].n, sizes[i % 9]);
    read_from(0, 1); /* smallest blocks */
    assert_int_equal(n_seen, n);
    read_from(0, 16 * MIB);
    assert_int_equal(n_seen, n);
    close_journal();
    open_journal();
    assert_int_equal(found.torn_bytes, 0);
    assert_numbers(0, n);
}

static void sizes_out_of_bounds_are_refused(void **state)
{
    (void)state;
    open_journal();
    assert_err(journal_append(journal, STR(""), on_done, NULL), "ERR_RANGE");
    assert_err(
        journal_append(journal, record_of(1, RECORD_MAX + 1), on_done, NULL),
        "ERR_RANGE");
    close_journal();
    options.quota = 2 * MIB - 1;
    assert_err(open_result(), "ERR_RANGE");
    dir_clear();
    options.segment_size = MIB - 4096;
    assert_err(open_result(), "ERR_RANGE");
    options.segment_size = MIB + 8;
    assert_err(open_result(), "ERR_RANGE");
}

static void thousand_appends_of_a_turn_share_one_sync(void **state)
{
    static int outcomes[1000];

    (void)state;
    open_journal();
    assert_ok(append_wait(0, 10)); /* makes the segment */
    int syncs = atomic_load(&disk_syncs);
    for (uint32_t i = 0; i < 1000; i++)
        assert_ok(journal_append(journal, record_of(i + 1, 200), on_done,
                                 &outcomes[i]));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(atomic_load(&disk_syncs) - syncs, 1);
    assert_numbers(0, 1001);
    struct journal_stats s;
    journal_stats(journal, &s);
    assert_int_equal(s.appended, 1001);
    assert_int_equal(s.syncs, 2);
    assert_int_equal(s.waiting, 0);
}

static struct chain {
    uint32_t n, most;
    int sync_at[64]; /* syncs done when the record was reported */
} chain;

static void chain_go_on(void *arg, int err)
{
    (void)arg;
    chain.sync_at[chain.n++] = err < 0 ? err : atomic_load(&disk_syncs);
    if (chain.n < chain.most)
        journal_append(journal, record_of(chain.n, 50), chain_go_on, NULL);
}

static void a_callback_may_append_again(void **state)
{
    (void)state;
    open_journal();
    chain = (struct chain){.most = 64};
    assert_ok(journal_append(journal, record_of(0, 50), chain_go_on, NULL));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(chain.n, 64);
    for (int i = 1; i < 64; i++)
        assert_int_equal(chain.sync_at[i], chain.sync_at[i - 1] + 1);
    assert_numbers(0, 64);
}

static uint32_t order[300], n_order;

static void note_order(void *arg, int err)
{
    assert_ok(err);
    order[n_order++] = *(uint32_t *)arg;
}

static void callbacks_run_in_the_order_of_appends(void **state)
{
    static uint32_t numbers[300];

    (void)state;
    n_order = 0;
    open_journal();
    for (uint32_t i = 0; i < 300; i++) {
        numbers[i] = i;
        assert_ok(journal_append(journal, record_of(i, 30000), note_order,
                                 &numbers[i]));
        if (i % 7 == 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(n_order, 300);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(order[i], i);
}

static void reopening_goes_on_where_it_ended(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20; i++) {
        open_journal();
        assert_int_equal(found.torn_bytes, 0);
        assert_int_equal(found.end, journal_end(journal));
        assert_ok(append_wait(i, 70000));
        close_journal();
    }
    open_journal();
    assert_numbers(0, 20);
}

static void the_number_and_the_segment_size_stay(void **state)
{
    (void)state;
    open_journal();
    assert_int_equal(journal_number(journal), 0);
    assert_err(journal_set_number(journal, 0), "ERR_RANGE");
    assert_err(journal_set_number(journal, 32768), "ERR_RANGE");
    assert_ok(journal_set_number(journal, 7));
    assert_ok(append_wait(0, 10));
    close_journal();
    options.segment_size = 2 * MIB;
    open_journal();
    assert_int_equal(journal_number(journal), 7);
    assert_numbers(0, 1);
    struct journal_stats s;
    journal_stats(journal, &s);
    assert_int_equal(s.bytes_on_disk, MIB);
}

static void only_one_may_have_it_open(void **state)
{
    struct journal *second = NULL;
    struct journal_recovery r;

    (void)state;
    open_journal();
    assert_err(journal_open(&loop, &options, &second, &r), "ERR_AWAY");
    assert_null(second);
    close_journal();
    open_journal();
}

static void write_file(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void what_is_no_journal_is_not_touched(void **state)
{
    static const char *const formats[] = {
        "",          "headend journal 2 1048576\n", "headend journal 1 7\n",
        "something", "headend journal 1 1048576 ",  "headend journal 1 -1\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        write_file("format", formats[i]);
        assert_err(open_result(), "ERR_FORMAT");
    }
    dir_clear();
    write_file("0000000000000003.seg", "whose?");
    assert_err(open_result(), "ERR_FORMAT");
    dir_clear();
    open_journal();
    close_journal();
    write_file("number", "twelve\n");
    assert_err(open_result(), "ERR_FORMAT");
}

/* Appends until it is refused; returns how many were taken. */
static uint32_t fill(uint32_t first, size_t n)
{
    struct journal_stats s;
    int r = 0;

    for (uint32_t i = first;; i++) {
        r = append_wait(i, n);
        journal_stats(journal, &s);
        assert_true(s.bytes_on_disk <= options.quota);
        if (r < 0) {
            assert_err(r, "ERR_FULL");
            assert_true(s.full);
            return i - first;
        }
        assert_false(s.full);
    }
}

static void quota_refuses_until_a_release(void **state)
{
    struct journal_stats s;

    (void)state;
    options.quota = 5 * MIB;
    open_journal();
    uint32_t n = fill(0, 100000);
    assert_int_equal(n, 5 * 10); /* ten go into a segment */
    assert_numbers(0, n);

    journal_release(journal, 2 * MIB + 5000);
    uv_run(&loop, UV_RUN_DEFAULT);
    journal_stats(journal, &s);
    assert_false(s.full);
    assert_int_equal(journal_first(journal), 2 * MIB);
    assert_numbers(20, 30);
    assert_int_equal(fill(50, 100000), 20);
    assert_numbers(20, 50);
    close_journal();
    open_journal();
    assert_numbers(20, 50);
    assert_int_equal(fill(70, 100000), 0);
}

static void small_records_do_not_end_a_full_journal(void **state)
{
    struct journal_stats s;

    (void)state;
    options.quota = 2 * MIB;
    open_journal();
    assert_int_equal(fill(0, 100000), 20);
    assert_ok(append_wait(20, 100)); /* the last corner takes it */
    journal_stats(journal, &s);
    assert_true(s.full);

    journal_release(journal, MIB);
    uv_run(&loop, UV_RUN_DEFAULT);
    journal_stats(journal, &s);
    assert_false(s.full);
}

static void released_files_are_reused_and_few_are_kept(void **state)
{
    struct journal_stats s;

    (void)state;
    options.quota = 6 * MIB;
    open_journal();
    assert_int_equal(fill(0, 100000), 60);
    journal_release(journal, journal_end(journal));
    uv_run(&loop, UV_RUN_DEFAULT);
    journal_stats(journal, &s);
    assert_int_equal(s.bytes_on_disk, (1 + SEGMENT_SPARES) * MIB);
    assert_int_equal(fill(60, 100000), 50);
    assert_numbers(50, 60);
}

static void quota_counts_what_waits_too(void **state)
{
    static int outcomes[100];
    uint32_t taken = 0;

    (void)state;
    options.quota = 4 * MIB;
    open_journal();
    while (taken < 100 && journal_append(journal, record_of(taken, 100000),
                                         on_done, &outcomes[taken]) == 0)
        taken++;
    assert_int_equal(taken, 40);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (uint32_t i = 0; i < taken; i++)
        assert_ok(outcomes[i]);
    assert_numbers(0, 40);
}

static void unsynced_memory_is_bounded(void **state)
{
    static int outcomes[200];
    int taken = 0;

    (void)state;
    options.quota = 1024 * MIB;
    open_journal();
    disk_hold(true);
    while (taken < 200 &&
           journal_append(journal, record_of((uint32_t)taken, RECORD_MAX),
                          on_done, &outcomes[taken]) == 0)
        taken++;
    assert_int_equal(taken, 127);
    disk_hold(false);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_numbers(0, 127);
}

static void recycled_segments_show_nothing_of_their_past(void **state)
{
    uint32_t next = 0;

    (void)state;
    options.quota = 4 * MIB;
    open_journal();
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 7; i++, next++) /* no two files filled alike */
            assert_ok(append_wait(next, 60000 + next * 7919 % 200000));
        if (round % 3 == 0) {
            close_journal();
            open_journal();
            assert_int_equal(found.torn_bytes, 0);
        }
        read_from(journal_first(journal), MIB);
        assert_int_equal(n_damaged, 0);
        assert_int_equal(seen[n_seen - 1].number, next - 1);
        for (uint32_t i = 0; i < n_seen; i++) {
            assert_true(seen[i].whole);
            assert_int_equal(seen[i].number, next - n_seen + i);
        }
        journal_release(journal, journal_end(journal));
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    struct journal_stats s;
    journal_stats(journal, &s);
    assert_true(s.bytes_on_disk <= 4 * MIB);
}

static void a_release_beyond_the_end_goes_on_behind_it(void **state)
{
    (void)state;
    open_journal();
    assert_ok(append_wait(0, 100));
    close_journal();
    open_journal();
    journal_release(journal, 7 * MIB + 4096);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(journal_end(journal), 8 * MIB);
    assert_ok(append_wait(1, 100));
    assert_ok(append_wait(2, 100));
    read_from(8 * MIB, MIB);
    assert_int_equal(n_damaged, 0);
    assert_int_equal(n_seen, 2);
    assert_int_equal(seen[0].position, 8 * MIB + SEGMENT_HEAD);
    close_journal();
    open_journal();
    assert_numbers(1, 2);
}

/* A reader on a pool thread, beside the loop that appends. */
struct reading {
    uv_work_t req;
    int64_t from, until;
    uint32_t numbers, wrong;
    int err;
};

static void reading_work(uv_work_t *req)
{
    struct reading *r = req->data;
    struct journal_chunk chunk = {.next = r->from};

    while (r->err == 0 && chunk.next < r->until) {
        r->err =
            journal_read(journal, chunk.next, r->until, 100000, 50, &chunk);
        for (uint32_t i = 0; i < chunk.n; i++, r->numbers++)
            if (chunk.records[i].damaged ||
                record_number(chunk.records[i].bytes) != r->numbers)
                r->wrong++;
    }
    r->from = chunk.next;
    journal_chunk_done(&chunk);
}

static struct reading reading;
static bool reading_active;

static void reading_done(uv_work_t *req, int status)
{
    (void)req;
    (void)status;
    reading_active = false;
}

static void on_durable(void *arg)
{
    (void)arg;
    if (reading_active)
        return;
    reading_active = true;
    reading.req.data = &reading;
    reading.until = journal_end(journal);
    uv_queue_work(&loop, &reading.req, reading_work, reading_done);
}

static void reading_beside_appends_sees_all(void **state)
{
    static int outcomes[4000];

    (void)state;
    reading = (struct reading){0};
    open_journal();
    journal_on_durable(journal, on_durable, NULL);
    for (uint32_t i = 0; i < 4000; i++) {
        assert_ok(journal_append(journal, record_of(i, 4 + i % 5000), on_done,
                                 &outcomes[i]));
        if (i % 16 == 0)
            uv_run(&loop, UV_RUN_ONCE);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    on_durable(NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_ok(reading.err);
    assert_int_equal(reading.wrong, 0);
    assert_int_equal(reading.numbers, 4000);
    assert_int_equal(reading.from, journal_end(journal));
}

static void interval_mode_reports_before_the_sync(void **state)
{
    (void)state;
    options.sync_interval_ms = 20;
    open_journal();
    assert_ok(append_wait(0, 100));
    int syncs = atomic_load(&disk_syncs);
    for (uint32_t i = 1; i < 50; i++)
        assert_ok(append_wait(i, 100));
    assert_true(atomic_load(&disk_syncs) - syncs < 25);
    syncs = atomic_load(&disk_syncs);
    assert_ok(append_wait(50, 100));
    uv_run(&loop, UV_RUN_DEFAULT); /* until the interval is over */
    assert_true(atomic_load(&disk_syncs) > syncs);
    assert_numbers(0, 51);

    options.sync_interval_ms = 3600 * 1000;
    close_journal();
    open_journal();
    assert_ok(append_wait(51, 100));
    syncs = atomic_load(&disk_syncs);
    close_journal(); /* syncs what is left */
    assert_int_equal(atomic_load(&disk_syncs) - syncs, 1);
    open_journal();
    assert_numbers(0, 52);
}

static void closing_finishes_what_was_appended(void **state)
{
    static int outcomes[100];
    bool closed = false;

    (void)state;
    open_journal();
    for (uint32_t i = 0; i < 100; i++) {
        outcomes[i] = 1;
        assert_ok(journal_append(journal, record_of(i, 50000), on_done,
                                 &outcomes[i]));
    }
    journal_close(journal, on_closed, &closed);
    assert_err(journal_append(journal, record_of(0, 1), on_done, NULL),
               "ECANCELED");
    uv_run(&loop, UV_RUN_DEFAULT);
    journal = NULL;
    assert_true(closed);
    for (uint32_t i = 0; i < 100; i++)
        assert_ok(outcomes[i]);
    open_journal();
    assert_numbers(0, 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(append_reports_only_after_sync),
        TEST(records_of_every_size_come_back_in_order),
        TEST(sizes_out_of_bounds_are_refused),
        TEST(thousand_appends_of_a_turn_share_one_sync),
        TEST(a_callback_may_append_again),
        TEST(callbacks_run_in_the_order_of_appends),
        TEST(reopening_goes_on_where_it_ended),
        TEST(the_number_and_the_segment_size_stay),
        TEST(only_one_may_have_it_open),
        TEST(what_is_no_journal_is_not_touched),
        TEST(quota_refuses_until_a_release),
        TEST(small_records_do_not_end_a_full_journal),
        TEST(released_files_are_reused_and_few_are_kept),
        TEST(quota_counts_what_waits_too),
        TEST(unsynced_memory_is_bounded),
        TEST(recycled_segments_show_nothing_of_their_past),
        TEST(a_release_beyond_the_end_goes_on_behind_it),
        TEST(reading_beside_appends_sees_all),
        TEST(interval_mode_reports_before_the_sync),
        TEST(closing_finishes_what_was_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
