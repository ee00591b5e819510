/*
 * The books: whatever happens to frames, received is what became of them and
 * what is pending; only damage stays unaccounted.
 */
#include "ingest/ledger.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static struct ledger *l;

static int begin(void **state)
{
    (void)state;
    l = ledger_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    ledger_free(l);
    return 0;
}

static const struct ledger_row *row(int32_t tenant)
{
    const struct ledger_row *r = ledger_first(l);

    while (r && r->tenant_id != tenant)
        r = ledger_next(r);
    assert_non_null(r);
    return r;
}

static void expect(int32_t tenant, int64_t received, int64_t pending)
{
    assert_int_equal(row(tenant)->received, received);
    assert_int_equal(row(tenant)->pending, pending);
    assert_int_equal(ledger_unaccounted(l), 0);
}

static void frames_go_from_pending_to_their_fates(void **state)
{
    (void)state;
    ledger_received(l, 1, 5);
    ledger_received(l, 2, 1);
    expect(1, 5, 5);
    ledger_taken(l, 1, 1, 3);
    ledger_fate(l, 1, FATE_STORED, 2, 16);
    ledger_fate(l, 1, FATE_DUPLICATE, 1, 0);
    expect(1, 5, 2);
    assert_int_equal(row(1)->fates[FATE_STORED], 2);
    assert_int_equal(row(1)->readings, 16);
    assert_int_equal(ledger_pending(l), 3);
}

static void a_frame_that_has_its_fate_is_repeated(void **state)
{
    (void)state;
    ledger_received(l, 1, 2);
    ledger_taken(l, 1, 1, 2);
    ledger_fate(l, 1, FATE_STORED, 1, 8);
    expect(1, 2, 0);
    assert_int_equal(row(1)->fates[LEDGER_REPEATED], 1);
}

static void a_frame_of_nobody_is_received_where_its_meter_is(void **state)
{
    (void)state;
    ledger_received(l, TENANT_PLATFORM, 1);
    ledger_taken(l, TENANT_PLATFORM, 7, 1);
    ledger_fate(l, 7, FATE_STORED, 1, 1);
    expect(TENANT_PLATFORM, 1, 0);
    expect(7, 1, 0);
    assert_int_equal(row(TENANT_PLATFORM)->fates[LEDGER_MOVED], 1);
}

static void a_record_that_nobody_was_told_of_is_received_late(void **state)
{
    (void)state;
    ledger_taken(l, 1, 1, 1);
    ledger_fate(l, 1, FATE_STORED, 1, 1);
    expect(1, 1, 0);
}

static void a_backlog_counts_once_beside_what_arrives_meanwhile(void **state)
{
    (void)state;
    assert_false(ledger_known(l));
    assert_int_equal(ledger_pending_of(l, 1), -1);
    ledger_received(l, 1, 2); /* lies in the stretch, too */
    ledger_mark(l);
    ledger_received(l, 1, 4); /* behind it */
    ledger_received(l, 3, 1);
    ledger_backlog(l, 1, 10);
    ledger_backlog(l, 2, 5);
    ledger_counted(l);
    assert_true(ledger_known(l));
    expect(1, 14, 14);
    expect(2, 5, 5);
    expect(3, 1, 1);
    ledger_mark(l); /* counted again, nothing new */
    ledger_backlog(l, 1, 14);
    ledger_backlog(l, 2, 5);
    ledger_backlog(l, 3, 1);
    ledger_counted(l);
    expect(1, 14, 14);
    assert_int_equal(ledger_pending_of(l, 2), 5);
    assert_int_equal(ledger_pending_of(l, 9), 0);
}

static void a_cursor_set_back_is_received_again(void **state)
{
    (void)state;
    ledger_received(l, 1, 3);
    ledger_taken(l, 1, 1, 3);
    ledger_fate(l, 1, FATE_STORED, 3, 3);
    ledger_mark(l);
    ledger_backlog(l, 1, 3);
    ledger_counted(l);
    expect(1, 6, 3);
}

static void what_a_drained_journal_has_not_given_is_unaccounted(void **state)
{
    (void)state;
    ledger_received(l, 1, 3);
    ledger_taken(l, 1, 1, 2);
    ledger_fate(l, 1, FATE_STORED, 2, 2);
    ledger_taken(l, TENANT_PLATFORM, TENANT_PLATFORM, 1); /* the damage */
    ledger_fate(l, TENANT_PLATFORM, FATE_QUARANTINED, 1, 0);
    expect(TENANT_PLATFORM, 1, 0);
    assert_int_equal(ledger_drained(l), 1);
    assert_int_equal(row(1)->pending, 0);
    assert_int_equal(ledger_unaccounted(l), 1);
    assert_int_equal(ledger_drained(l), 0);
}

static void second_fates_are_kept_apart(void **state)
{
    (void)state;
    ledger_received(l, 1, 1);
    ledger_taken(l, 1, 1, 1);
    ledger_fate(l, 1, FATE_QUARANTINED, 1, 0);
    ledger_replayed(l, 1, FATE_STORED, 1);
    expect(1, 1, 0);
    assert_int_equal(row(1)->fates[FATE_STORED], 0);
    assert_int_equal(row(1)->replayed[FATE_STORED], 1);
}

#define ledger_test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ledger_test(frames_go_from_pending_to_their_fates),
        ledger_test(a_frame_that_has_its_fate_is_repeated),
        ledger_test(a_frame_of_nobody_is_received_where_its_meter_is),
        ledger_test(a_record_that_nobody_was_told_of_is_received_late),
        ledger_test(a_backlog_counts_once_beside_what_arrives_meanwhile),
        ledger_test(a_cursor_set_back_is_received_again),
        ledger_test(what_a_drained_journal_has_not_given_is_unaccounted),
        ledger_test(second_fates_are_kept_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
