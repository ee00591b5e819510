/*
 * test_recovery.c - what journal.h promises of bad days: killed processes,
 * torn writes, flipped bits, lost files, disks that fail or are full.
 */
#include "journal_fixture.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { RECORDS = 5, SIZE = 150 }; /* of the small journals below */

/* A closed journal of RECORDS records in segment 0; where each begins. */
static int64_t starts[RECORDS + 1];

static uint8_t *small_journal(void)
{
    open_journal();
    for (uint32_t i = 0; i < RECORDS; i++)
        assert_ok(append_wait(i, SIZE));
    read_from(0, MIB);
    for (uint32_t i = 0; i < RECORDS; i++)
        starts[i] = seen[i].position;
    starts[RECORDS] = journal_end(journal);
    close_journal();
    return segment_load(0);
}

/* As it was before the last sync ended: no end mark. */
static uint8_t *unmarked_journal(void)
{
    uint8_t *image = small_journal();

    memset(image + starts[RECORDS], 0, RECORD_HEAD);
    return image;
}

/* The journal must hold the records before `lost` and go on there. */
static void assert_cut_at(uint32_t lost)
{
    open_journal();
    assert_int_equal(found.end, starts[lost]);
    assert_numbers(0, lost);
    assert_ok(append_wait(lost, 1000));
    assert_numbers(0, lost + 1);
    close_journal();
    open_journal();
    assert_int_equal(found.torn_bytes, 0);
    assert_numbers(0, lost + 1);
    close_journal();
}

static void a_tail_torn_at_any_byte_is_cut(void **state)
{
    uint8_t *image = unmarked_journal(), *torn = mem_alloc(MIB);
    int64_t last = starts[RECORDS - 1];

    (void)state;
    for (int64_t at = last; at < last + RECORD_HEAD + SIZE; at++) {
        /* the file ends there */
        segment_store(0, image, (size_t)at);
        assert_cut_at(RECORDS - 1);
        if (at > last + RECORD_HEAD && at % 16 != 0)
            continue;

        /* zeros from there on */
        memcpy(torn, image, MIB);
        memset(torn + at, 0, (size_t)(starts[RECORDS] - at));
        segment_store(0, torn, MIB);
        open_journal();
        assert_int_equal(found.end, last);
        if (at - last >= RECORD_HEAD)
            assert_int_equal(found.torn_bytes, RECORD_HEAD + SIZE);
        assert_numbers(0, RECORDS - 1);
        close_journal();

        /* noise from there on, as of a recycled file */
        memcpy(torn, image, MIB);
        for (int64_t i = at; i < MIB - SEGMENT_HEAD; i++)
            torn[i] = (uint8_t)(i * 7 + 1);
        torn[at] = (uint8_t)~image[at];
        segment_store(0, torn, MIB);
        assert_cut_at(RECORDS - 1);
    }
    free(image);
    free(torn);
}

static void a_first_page_lost_tears_the_record(void **state)
{
    (void)state;
    open_journal();
    assert_ok(append_wait(0, 100));
    int64_t end = journal_end(journal);
    assert_ok(append_wait(1, 20000));
    close_journal();
    uint8_t *image = segment_load(0);
    memset(image + end, 0, 4096);
    memset(image + end + (int64_t)record_space(20000), 0, RECORD_HEAD);
    segment_store(0, image, MIB);
    open_journal();
    assert_int_equal(found.end, end);
    assert_numbers(0, 1);
    close_journal();
    free(image);
    image = segment_load(0);
    for (int64_t i = end; i < MIB - SEGMENT_HEAD; i++)
        assert_int_equal(image[i], 0);
    free(image);
}

/* The small journal, of which the byte at `at` has changed: only the record it
 * is part of is lost (none, if it is not part of one: padding, headers, end
 * mark), and shown at its place. */
static void assert_costs_its_record(int64_t at)
{
    uint32_t bad = 0;

    while (bad < RECORDS && at >= starts[bad + 1])
        bad++;
    if (at < starts[0] ||
        (bad < RECORDS && at >= starts[bad] + RECORD_HEAD + SIZE))
        bad = RECORDS;
    for (int again = 0; again < 2; again++) {
        open_journal();
        assert_int_equal(found.end, starts[RECORDS]);
        if (at < starts[RECORDS]) /* else it may be the mark's 16 bytes */
            assert_int_equal(found.torn_bytes, 0);
        read_from(0, MIB);
        assert_int_equal(n_seen, RECORDS);
        for (uint32_t i = 0; i < RECORDS; i++) {
            assert_int_equal(seen[i].position, starts[i]);
            assert_int_equal(seen[i].damaged, i == bad);
            assert_int_equal(seen[i].whole, i != bad);
        }
        if (bad < RECORDS)
            assert_int_equal(seen[bad].skipped, starts[bad + 1] - starts[bad]);
        if (again) {
            assert_ok(append_wait(RECORDS, 100)); /* goes on behind */
            read_from(0, 1);
            assert_int_equal(n_seen, RECORDS + 1);
        }
        close_journal();
    }
}

/* The head of the last record, and a sample of everywhere. */
static void a_flipped_bit_anywhere_costs_one_record_and_is_shown(void **state)
{
    uint8_t *image = small_journal();
    const int64_t copy = MIB - SEGMENT_HEAD;
    const char *again = getenv("SEED");
    uint32_t seed = again ? (uint32_t)atol(again) : (uint32_t)getpid();
    uint32_t x = seed | 1;

    (void)state;
    print_message("seed %u\n", seed);
    for (int64_t at = 0; at < MIB; at++) {
        bool head =
            at >= starts[RECORDS - 1] && at < starts[RECORDS - 1] + RECORD_HEAD;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        if (at == starts[RECORDS] + RECORD_HEAD)
            at = copy; /* zeros in between */
        if (!head && x % 16 != 0)
            continue;
        image[at] ^= (uint8_t)(1u << (x / 16 % 8));
        segment_store(0, image, MIB);
        image[at] ^= (uint8_t)(1u << (x / 16 % 8));
        assert_costs_its_record(at);
    }
    free(image);
}

/* Without the mark nobody can know: the kill came before it was acknowledged.
 */
static void a_last_record_that_nothing_proves_is_torn(void **state)
{
    uint8_t *image = unmarked_journal();

    (void)state;
    image[starts[RECORDS - 1] + RECORD_HEAD + 7] ^= 1;
    segment_store(0, image, MIB);
    assert_cut_at(RECORDS - 1);
    free(image);
}

/* The only record of a segment, too; and in a file of a former life, whose old
 * bytes follow the mark. */
static void a_damaged_only_record_keeps_its_segment(void **state)
{
    (void)state;
    open_journal();
    assert_ok(append_wait(0, 100));
    close_journal();
    for (int stale = 0; stale < 2; stale++) {
        uint8_t *image = segment_load(0);
        image[SEGMENT_HEAD + RECORD_HEAD] ^= (uint8_t)(1 + stale);
        image[MIB / 2] = (uint8_t)stale;
        segment_store(0, image, MIB);
        free(image);
        for (int again = 0; again < 2; again++) {
            open_journal();
            assert_int_equal(found.torn_bytes, 0);
            read_from(0, MIB);
            assert_int_equal(n_seen, 1);
            assert_int_equal(n_damaged, 1);
            close_journal();
        }
    }
}

static void damage_shows_its_first_64_kib_and_its_length(void **state)
{
    struct journal_chunk chunk = {0};

    (void)state;
    open_journal();
    for (uint32_t i = 0; i < 8; i++)
        assert_ok(append_wait(i, 100000));
    close_journal();
    uint8_t *image = segment_load(0);
    memset(image + 70000, 0, 500000); /* from record 0 into record 5 */
    segment_store(0, image, MIB);
    free(image);
    open_journal();
    assert_ok(journal_read(journal, 0, journal_end(journal), MIB, 100, &chunk));
    assert_int_equal(chunk.n, 1);
    assert_true(chunk.records[0].damaged);
    assert_int_equal(chunk.records[0].position, SEGMENT_HEAD);
    assert_int_equal(chunk.records[0].bytes.n, 64 * 1024);
    assert_int_equal(chunk.records[0].skipped, 6 * record_space(100000));
    journal_chunk_done(&chunk);
    read_from(0, MIB);
    assert_int_equal(n_seen, 3);
    assert_int_equal(seen[1].number, 6);
    assert_int_equal(seen[2].number, 7);
}

static void a_page_the_disk_cannot_read_costs_its_records_only(void **state)
{
    (void)state;
    open_journal();
    for (uint32_t i = 0; i < 200; i++)
        assert_ok(append_wait(i, 1000));
    atomic_store(&disk_bad_page, 100000);
    read_from(0, MIB);
    assert_int_equal(n_damaged, 1);
    assert_in_range(n_seen, 200 - 5, 200 - 3);
    assert_int_equal(seen[n_seen - 1].number, 199);
}

/* Three segments of ten records each, closed. */
static void large_journal(void)
{
    open_journal();
    for (uint32_t i = 0; i < 30; i++)
        assert_ok(append_wait(i, 100000));
    close_journal();
}

static void either_header_is_enough(void **state)
{
    (void)state;
    large_journal();
    uint8_t *image = segment_load(1);
    image[33] ^= 1; /* the salt */
    segment_store(1, image, MIB);
    open_journal();
    assert_numbers(0, 30);
    close_journal();
    image[33] ^= 1;
    image[MIB - 1] ^= 1;
    segment_store(1, image, MIB);
    open_journal();
    assert_numbers(0, 30);
    free(image);
}

static void without_headers_a_segment_is_one_damaged_stretch(void **state)
{
    (void)state;
    large_journal();
    for (int64_t number = 1; number <= 2; number++) {
        uint8_t *image = segment_load(number);
        image[33] ^= 1;
        image[MIB - SEGMENT_HEAD + 33] ^= 1;
        segment_store(number, image, MIB);
        free(image);
    }
    open_journal(); /* what may be in the last one is not written over */
    assert_int_equal(found.end, 3 * MIB);
    assert_ok(append_wait(30, 100));
    read_from(0, MIB);
    assert_int_equal(n_damaged, 2);
    assert_int_equal(n_seen, 13);
    assert_int_equal(seen[10].position, MIB + SEGMENT_HEAD);
    assert_int_equal(seen[12].number, 30);
}

static void a_missing_file_is_shown_as_damage(void **state)
{
    (void)state;
    large_journal();
    segment_remove(1);
    open_journal();
    read_from(0, MIB);
    assert_int_equal(n_seen, 21);
    assert_int_equal(n_damaged, 1);
    assert_true(seen[10].damaged);
    assert_int_equal(seen[10].position, MIB);
    assert_int_equal(seen[10].skipped, MIB);
    assert_int_equal(seen[11].number, 20);
}

static void a_shortened_file_in_the_middle_is_shown_as_damage(void **state)
{
    (void)state;
    large_journal();
    uint8_t *image = segment_load(1);
    segment_store(1, image, 350000);
    free(image);
    open_journal();
    read_from(0, MIB);
    assert_int_equal(n_damaged, 1);
    assert_int_equal(n_seen, 10 + 3 + 1 + 10);
    assert_true(seen[13].damaged);
    assert_int_equal(seen[14].number, 20);
}

static void positions_from_anywhere_are_harmless(void **state)
{
    struct journal_chunk chunk = {0};
    static const int64_t from[] = {INT64_MIN, -1,       1,       63,  65,
                                   200,       MIB - 70, MIB - 8, MIB, MIB + 3};

    (void)state;
    large_journal();
    open_journal();
    for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++)
        for (int64_t until = 0; until < 3 * MIB; until += 99991) {
            chunk.next = from[i];
            while (chunk.next < until) {
                int64_t before = chunk.next;
                assert_ok(
                    journal_read(journal, before, until, MIB, 1000, &chunk));
                assert_true(chunk.next > before);
            }
        }
    assert_ok(journal_read(journal, INT64_MAX - 7, INT64_MAX, 1, 1, &chunk));
    journal_chunk_done(&chunk);
}

/* -- killed processes ------------------------------------------------------ */

/* Appends for ever in a child; each outcome goes into the pipe. */
static int pipe_out;
static uint32_t child_next;

static void child_append(void);

static void on_child_done(void *arg, int err)
{
    uint32_t number = (uint32_t)(uintptr_t)arg;

    if (err == 0 && write(pipe_out, &number, sizeof(number)) < 0)
        _exit(1);
    child_append();
}

static void child_append(void)
{
    uint32_t i = child_next++;

    if (journal_append(journal, record_of(i, 20 + i * 37 % 9000), on_child_done,
                       (void *)(uintptr_t)i) < 0)
        _exit(2);
}

static void child_run(int out)
{
    uv_loop_init(&loop); /* threads do not survive a fork; nor does a loop */
    pipe_out = out;
    if (open_result() < 0)
        _exit(3);
    for (int i = 0; i < 20; i++)
        child_append();
    for (;;)
        uv_run(&loop, UV_RUN_DEFAULT);
}

static void nothing_acknowledged_is_lost_by_a_kill(void **state)
{
    uint32_t sum = 0;

    (void)state;
    options.quota = 1024 * MIB;
    for (int round = 0; round < 25; round++) {
        int fds[2], status;
        uint32_t number, enough = 10 + (uint32_t)round * 17, acked = 0;

        assert_int_equal(pipe(fds), 0);
        child_next = sum;
        pid_t child = fork();
        if (child == 0)
            child_run(fds[1]);
        close(fds[1]);
        while (read(fds[0], &number, sizeof(number)) == sizeof(number)) {
            acked = number + 1; /* in order: all below are acknowledged */
            if (acked - sum == enough)
                kill(child, SIGKILL);
        }
        close(fds[0]);
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));

        open_journal();
        read_from(0, MIB);
        assert_int_equal(n_damaged, 0);
        assert_true(n_seen >= acked);
        for (uint32_t i = 0; i < n_seen; i++) {
            assert_true(seen[i].whole);
            assert_int_equal(seen[i].number, i);
        }
        sum = n_seen;
        close_journal();
    }
}

/* -- disks that fail ------------------------------------------------------- */

static void a_failed_sync_is_reported_and_left_behind(void **state)
{
    struct journal_stats s;

    (void)state;
    open_journal();
    assert_ok(append_wait(0, 100));
    atomic_store(&disk_sync_error, EIO);
    assert_err(append_wait(100, 100), "EIO");
    assert_err(append_wait(101, 100), "EIO");
    atomic_store(&disk_sync_error, 0);
    assert_ok(append_wait(1, 100));
    assert_true(journal_end(journal) > MIB); /* another file */
    assert_ok(append_wait(2, 100));
    assert_numbers(0, 3); /* nothing of what was refused */
    journal_stats(journal, &s);
    assert_true(s.errors >= 2);
    close_journal();
    open_journal();
    assert_numbers(0, 3);
}

static void a_failed_write_is_reported_and_left_behind(void **state)
{
    (void)state;
    open_journal();
    assert_ok(append_wait(0, 100));
    atomic_store(&disk_write_error, ENOSPC);
    assert_err(append_wait(100, 100), "ENOSPC");
    atomic_store(&disk_write_error, 0);
    assert_ok(append_wait(1, 100));
    read_from(0, MIB); /* no end mark could be written: still no damage */
    assert_int_equal(n_damaged, 0);
    assert_int_equal(n_seen, 2);
}

static void a_disk_in_trouble_does_not_use_up_the_quota(void **state)
{
    struct journal_stats s;

    (void)state;
    options.quota = 4 * MIB;
    open_journal();
    assert_ok(append_wait(0, 100));
    atomic_store(&disk_record_error, EIO); /* new segments can be made */
    for (uint32_t i = 0; i < 30; i++)
        assert_err(append_wait(100 + i, 100), "EIO");
    atomic_store(&disk_record_error, 0);
    journal_stats(journal, &s);
    assert_true(s.bytes_on_disk <= MIB);
    assert_ok(append_wait(1, 100));
    assert_numbers(0, 2);
}

static void all_that_waited_for_a_failed_round_learn_it(void **state)
{
    static int outcomes[60];

    (void)state;
    open_journal();
    assert_ok(append_wait(0, 100));
    atomic_store(&disk_sync_error, EIO);
    for (uint32_t i = 0; i < 60; i++) {
        outcomes[i] = 1;
        assert_ok(journal_append(journal, record_of(i, 100000), on_done,
                                 &outcomes[i]));
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (uint32_t i = 0; i < 60; i++)
        assert_err(outcomes[i], "EIO");
    atomic_store(&disk_sync_error, 0);
    assert_ok(append_wait(1, 100));
    assert_numbers(0, 2);
}

static void a_full_disk_is_reported_and_recovered_from(void **state)
{
    struct rlimit old, low = {100000, RLIM_INFINITY};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    open_journal();
    for (uint32_t i = 0; i < 2; i++)
        assert_ok(append_wait(i, 100000));
    getrlimit(RLIMIT_FSIZE, &old);
    low.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &low); /* neither this segment nor a new one */
    for (int i = 0; i < 5; i++)
        assert_err(append_wait(100, 200000), "EFBIG");
    setrlimit(RLIMIT_FSIZE, &old);
    for (uint32_t i = 2; i < 15; i++)
        assert_ok(append_wait(i, 200000));
    assert_numbers(0, 15);
    close_journal();
    open_journal();
    assert_numbers(0, 15);
}

static void an_old_journal_opens_and_is_read_on_a_full_disk(void **state)
{
    (void)state;
    large_journal();
    atomic_store(&disk_write_error, ENOSPC);
    open_journal();
    assert_numbers(0, 30);
    journal_release(journal, 2 * MIB);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_numbers(20, 10);
    assert_err(append_wait(30, 10), "ENOSPC");
    uv_run(&loop, UV_RUN_DEFAULT); /* a new segment was tried, too */
    atomic_store(&disk_write_error, 0);
    assert_ok(append_wait(30, 10));
    assert_numbers(20, 11);
}

static void an_interval_sync_that_fails_is_counted(void **state)
{
    struct journal_stats s;

    (void)state;
    options.sync_interval_ms = 10;
    open_journal();
    assert_ok(append_wait(0, 100));
    atomic_store(&disk_sync_error, EIO);
    uv_run(&loop, UV_RUN_DEFAULT);
    atomic_store(&disk_sync_error, 0);
    journal_stats(journal, &s);
    assert_int_equal(s.errors, 1);
    assert_ok(append_wait(1, 100));
    assert_true(journal_end(journal) > MIB);
    assert_numbers(0, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tail_torn_at_any_byte_is_cut),
        TEST(a_first_page_lost_tears_the_record),
        TEST(a_flipped_bit_anywhere_costs_one_record_and_is_shown),
        TEST(a_last_record_that_nothing_proves_is_torn),
        TEST(a_damaged_only_record_keeps_its_segment),
        TEST(damage_shows_its_first_64_kib_and_its_length),
        TEST(a_page_the_disk_cannot_read_costs_its_records_only),
        TEST(either_header_is_enough),
        TEST(without_headers_a_segment_is_one_damaged_stretch),
        TEST(a_missing_file_is_shown_as_damage),
        TEST(a_shortened_file_in_the_middle_is_shown_as_damage),
        TEST(positions_from_anywhere_are_harmless),
        TEST(nothing_acknowledged_is_lost_by_a_kill),
        TEST(a_failed_sync_is_reported_and_left_behind),
        TEST(a_failed_write_is_reported_and_left_behind),
        TEST(a_disk_in_trouble_does_not_use_up_the_quota),
        TEST(all_that_waited_for_a_failed_round_learn_it),
        TEST(a_full_disk_is_reported_and_recovered_from),
        TEST(an_old_journal_opens_and_is_read_on_a_full_disk),
        TEST(an_interval_sync_that_fails_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
