/*
 * test_segment.c - one file of the journal: what is proven, what is found
 * again, what is not believed.
 */
#include "journal_fixture.h"
#include <sys/stat.h>

static int dirfd_;
static struct segment segment;

static int setup_segment(void **state)
{
    if (setup(state) < 0)
        return -1;
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
    return segment_create(dirfd_, MIB, 7, 0x1122334455667788, false, &segment);
}

static int teardown_segment(void **state)
{
    segment_close(&segment);
    close(dirfd_);
    return teardown(state);
}

/* Writes one record at `offset`; returns where the next goes. */
static int64_t put(int64_t offset, uint32_t number, size_t n)
{
    static uint8_t p[RECORD_HEAD + RECORD_MAX];

    record_put(p, record_of(number, n));
    segment_seal(&segment, offset, p, record_space(n));
    assert_ok(segment_write(&segment, offset, p, record_space(n)));
    return offset + (int64_t)record_space(n);
}

static uint8_t page[RECORD_HEAD + RECORD_MAX];

static enum record_state check(int64_t offset, size_t n)
{
    struct str bytes;

    assert_ok(segment_read(&segment, offset, page, n));
    return segment_check(&segment, offset, MIB - SEGMENT_HEAD, page, n, &bytes);
}

static void a_record_is_good_at_its_place_only(void **state)
{
    struct str bytes;
    uint8_t *moved = mem_alloc(256);

    (void)state;
    put(SEGMENT_HEAD, 1, 100);
    assert_int_equal(check(SEGMENT_HEAD, 256), RECORD_GOOD);
    memcpy(moved, page, 256);
    assert_int_equal(
        segment_check(&segment, SEGMENT_HEAD + 8, MIB, moved, 256, &bytes),
        RECORD_BAD);
    struct segment other = segment;
    other.number++;
    assert_int_equal(
        segment_check(&other, SEGMENT_HEAD, MIB, moved, 256, &bytes),
        RECORD_BAD);
    other = segment;
    other.salt++;
    assert_int_equal(
        segment_check(&other, SEGMENT_HEAD, MIB, moved, 256, &bytes),
        RECORD_BAD);
    free(moved);
}

static void a_record_goes_on_behind_what_was_read(void **state)
{
    (void)state;
    put(SEGMENT_HEAD, 1, 100);
    for (size_t n = 0; n < RECORD_HEAD + 100; n++)
        assert_int_equal(check(SEGMENT_HEAD, n), RECORD_PARTIAL);
    assert_int_equal(check(SEGMENT_HEAD, RECORD_HEAD + 100), RECORD_GOOD);
}

static void no_record_reaches_over_the_bound(void **state)
{
    struct str bytes;

    (void)state;
    int64_t end = put(SEGMENT_HEAD, 1, 100);
    assert_int_equal(check(SEGMENT_HEAD, 256), RECORD_GOOD);
    assert_int_equal(
        segment_check(&segment, SEGMENT_HEAD, end, page, 256, &bytes),
        RECORD_GOOD);
    assert_int_equal(
        segment_check(&segment, SEGMENT_HEAD, end - 1, page, 256, &bytes),
        RECORD_BAD);
}

static void an_end_mark_ends(void **state)
{
    (void)state;
    int64_t end = put(SEGMENT_HEAD, 1, 9);
    assert_int_equal(check(end, 64), RECORD_BAD);
    assert_ok(segment_mark_end(&segment, end));
    assert_int_equal(check(end, 64), RECORD_END);
    assert_ok(segment_mark_end(&segment, segment_limit(MIB)));
    assert_int_equal(check(segment_limit(MIB), RECORD_HEAD), RECORD_END);
}

static void a_scan_finds_the_next_record_wherever_it_lies(void **state)
{
    struct segment_stretch st;

    (void)state;
    for (int64_t at = 256 * 1024 - 64; at < 256 * 1024 + 128; at += 8) {
        put(at, 5, 300000); /* around and across the scan's window */
        assert_ok(
            segment_scan(&segment, SEGMENT_HEAD, MIB - SEGMENT_HEAD, &st));
        assert_int_equal(st.found, at);
        assert_int_equal(st.dirty, SEGMENT_HEAD);
        assert_ok(segment_cut(&segment, SEGMENT_HEAD));
    }
}

static void a_scan_tells_dirt_from_broken_records(void **state)
{
    struct segment_stretch st;
    uint8_t zero = 0;

    (void)state;
    assert_ok(segment_scan(&segment, SEGMENT_HEAD, MIB - SEGMENT_HEAD, &st));
    assert_int_equal(st.found, MIB - SEGMENT_HEAD);
    assert_int_equal(st.dirty, SEGMENT_HEAD);
    assert_int_equal(st.claimed, SEGMENT_HEAD);

    put(1024, 1, 100);
    assert_ok(segment_write(&segment, 1024 + RECORD_HEAD + 50, &zero, 1));
    assert_ok(segment_write(&segment, 500000, (const uint8_t *)"dirt", 4));
    assert_ok(segment_scan(&segment, SEGMENT_HEAD, MIB - SEGMENT_HEAD, &st));
    assert_int_equal(st.found, MIB - SEGMENT_HEAD);
    assert_int_equal(st.dirty, 500000 + 8);
    assert_int_equal(st.claimed, 1024 + RECORD_HEAD + 100);
}

static void a_payload_full_of_records_forges_nothing(void **state)
{
    static uint8_t p[RECORD_HEAD + 8000];
    struct segment_stretch st;
    struct segment guess = segment;

    (void)state;
    guess.salt = 0; /* all but the salt may be known outside */
    memset(p, 0x11, sizeof(p));
    for (int64_t at = 0; at + 32 <= 8000; at += 32) {
        uint8_t *inner = p + RECORD_HEAD + at;
        record_put(inner, STR("forged"));
        segment_seal(&guess, SEGMENT_HEAD + RECORD_HEAD + at, inner, 24);
    }
    assert_ok(segment_write(&segment, SEGMENT_HEAD, p, sizeof(p)));
    assert_ok(segment_scan(&segment, SEGMENT_HEAD, MIB - SEGMENT_HEAD, &st));
    assert_int_equal(st.found, MIB - SEGMENT_HEAD);
    assert_int_equal(st.claimed, SEGMENT_HEAD);
}

static void a_cut_leaves_zeros_and_both_headers(void **state)
{
    struct stat st;

    (void)state;
    int64_t end = put(SEGMENT_HEAD, 1, 100);
    put(end, 2, 400000);
    assert_int_equal(ftruncate(segment.fd, 200000), 0);
    assert_ok(segment_cut(&segment, end));
    assert_int_equal(fstat(segment.fd, &st), 0);
    assert_int_equal(st.st_size, MIB);
    segment_close(&segment);
    assert_ok(segment_open(dirfd_, MIB, 7, true, &segment));
    assert_false(segment.headless);
    assert_false(segment.cut_off);
    assert_int_equal(segment.salt, 0x1122334455667788);
    assert_int_equal(check(SEGMENT_HEAD, 256), RECORD_GOOD);
    for (int64_t at = end; at < MIB - SEGMENT_HEAD; at += 4096) {
        size_t n = MIB - SEGMENT_HEAD - at < 4096
                       ? (size_t)(MIB - SEGMENT_HEAD - at)
                       : 4096;
        assert_ok(segment_read(&segment, at, page, n));
        for (size_t i = 0; i < n; i++)
            assert_int_equal(page[i], 0);
    }
}

static void a_bad_sector_reads_as_one_page_of_zeros(void **state)
{
    (void)state;
    put(SEGMENT_HEAD, 1, 60000);
    atomic_store(&disk_bad_page, 20000);
    assert_ok(segment_read(&segment, 1000, page, 59000));
    for (int i = 1000; i < 60000; i++) {
        bool lost = i >= 4 * 4096 && i < 5 * 4096;
        uint8_t there = record_bytes[i - SEGMENT_HEAD - RECORD_HEAD];
        assert_int_equal(page[i - 1000], lost ? 0 : there);
    }
}

static void a_segment_under_another_name_is_headless(void **state)
{
    struct segment s;

    (void)state;
    assert_int_equal(renameat(dirfd_, "0000000000000007.seg", dirfd_,
                              "0000000000000008.seg"),
                     0);
    assert_ok(segment_open(dirfd_, MIB, 8, false, &s));
    assert_true(s.headless);
    segment_close(&s);
    assert_err(segment_open(dirfd_, MIB, 7, false, &s), "ENOENT");
}

static void retired_segments_become_spares_up_to_a_number(void **state)
{
    struct segment_numbers list;
    struct segment more;
    uint32_t spares = 0;

    (void)state;
    for (int64_t number = 8; number <= 10; number++) {
        assert_ok(segment_create(dirfd_, MIB, number, 1, false, &more));
        segment_close(&more);
    }
    for (int64_t number = 7; number <= 10; number++)
        assert_ok(segment_retire(dirfd_, number, MIB, &spares));
    assert_ok(segment_retire(dirfd_, 99, MIB, &spares)); /* gone already */
    assert_int_equal(spares, SEGMENT_SPARES);
    assert_ok(segment_list(dirfd_, "seg", &list));
    assert_int_equal(list.n, 0);
    free(list.v);

    assert_ok(segment_create(dirfd_, MIB, 11, 2, true, &more));
    segment_close(&more);
    assert_ok(segment_list(dirfd_, "spare", &list));
    assert_int_equal(list.n, 1);
    assert_int_equal(list.v[0], 8);
    free(list.v);
}

static void names_that_are_not_ours_are_not_listed(void **state)
{
    static const char *const names[] = {"7.seg",
                                        "000000000000007.seg",
                                        "00000000000000007.seg",
                                        "0000000000000009.seg.bak",
                                        "00000000000x0009.seg",
                                        "-000000000000009.seg",
                                        "9999999999999999.seg"};
    struct segment_numbers list;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        close(openat(dirfd_, names[i], O_CREAT | O_WRONLY, 0600));
    assert_ok(segment_list(dirfd_, "seg", &list));
    assert_int_equal(list.n, 1);
    assert_int_equal(list.v[0], 7);
    free(list.v);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup_segment, teardown_segment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_is_good_at_its_place_only),
        TEST(a_record_goes_on_behind_what_was_read),
        TEST(no_record_reaches_over_the_bound),
        TEST(an_end_mark_ends),
        TEST(a_scan_finds_the_next_record_wherever_it_lies),
        TEST(a_scan_tells_dirt_from_broken_records),
        TEST(a_payload_full_of_records_forges_nothing),
        TEST(a_cut_leaves_zeros_and_both_headers),
        TEST(a_bad_sector_reads_as_one_page_of_zeros),
        TEST(a_segment_under_another_name_is_headless),
        TEST(retired_segments_become_spares_up_to_a_number),
        TEST(names_that_are_not_ours_are_not_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
