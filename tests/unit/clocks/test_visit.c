/* What is kept of a meter until its clock is looked at. */
#include "server/clocks/visit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct visits waiting, looking;

static int done(void **state)
{
    (void)state;
    visits_clear(&waiting);
    visits_clear(&looking);
    return 0;
}

static struct visit *note(const char *topic, const char *payload, int64_t heard,
                          bool asks)
{
    char own[2 * VISIT_TEXT], bytes[2 * VISIT_TEXT];
    struct clock_contact c = {.tenant_id = 1, .meter_id = 7, .heard_us = heard};

    snprintf(own, sizeof own, "%s", topic);
    snprintf(bytes, sizeof bytes, "%s", payload);
    c.topic = str_of(own);
    c.payload = str_of(bytes);
    visits_note(&waiting, &c, asks);
    memset(own, '?', sizeof own); /* the caller's memory is gone */
    memset(bytes, '?', sizeof bytes);
    return visits_find(&waiting, 1, 7);
}

static void the_newest_contact_is_kept_with_its_topic(void **state)
{
    struct visit *v;

    (void)state;
    note("a/1/up", "x", 1, false);
    v = note("b/1/up", "x", 2, false);
    assert_int_equal(visits_count(&waiting), 1);
    assert_int_equal(v->c.heard_us, 2);
    assert_true(str_is(v->c.topic, "b/1/up"));
    assert_int_equal(v->c.payload.n, 0); /* nobody reads it */
}

static void who_asks_is_kept_with_the_question_until_it_is_answered(
    void **state)
{
    struct visit *v;

    (void)state;
    note("a", "question", 1, true);
    v = note("b", "x", 2, false);
    assert_true(v->asks);
    assert_int_equal(v->c.heard_us, 1);
    assert_true(str_is(v->c.topic, "a"));
    assert_true(str_is(v->c.payload, "question"));
}

static void what_is_too_long_is_not_kept(void **state)
{
    char text[VISIT_TEXT + 2];
    struct visit *v;

    (void)state;
    memset(text, 'x', sizeof text);
    text[VISIT_TEXT + 1] = 0;
    v = note(text, text, 1, true);
    assert_int_equal(v->c.topic.n, 0);
    assert_int_equal(v->c.payload.n, 0);
    text[VISIT_TEXT] = 0;
    v = note(text, text, 2, true);
    assert_true(str_is(v->c.topic, text));
    assert_true(str_is(v->c.payload, text));
}

static void a_round_that_failed_leaves_the_newer_contact_and_no_finding(
    void **state)
{
    struct visit *v = note("a", "x", 1, false);

    (void)state;
    visits_move(&waiting, v, &looking);
    assert_null(visits_find(&waiting, 1, 7));
    assert_null(v->found);
    visit_find(v)->slot.at_s = 5;
    assert_int_equal(visit_find(v)->slot.at_s, 5);
    visits_move(&looking, v, &waiting);
    assert_null(visits_find(&waiting, 1, 7)->found);

    visits_move(&waiting, v, &looking);
    note("b", "x", 2, false);
    visits_move(&looking, v, &waiting);
    assert_int_equal(visits_count(&looking), 0);
    assert_int_equal(visits_find(&waiting, 1, 7)->c.heard_us, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_newest_contact_is_kept_with_its_topic,
                                  done),
        cmocka_unit_test_teardown(
            who_asks_is_kept_with_the_question_until_it_is_answered, done),
        cmocka_unit_test_teardown(what_is_too_long_is_not_kept, done),
        cmocka_unit_test_teardown(
            a_round_that_failed_leaves_the_newer_contact_and_no_finding, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
