/* What is decided and sent after a contact; and a model as bytes. */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/clocks/judge.h"
#include "server/clocks/model_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HOUR (3600 * US_PER_S)

static const int64_t noon = 1768478400 * US_PER_S; /* GPS 1452513618 */
static uint8_t payload[32];
static struct clock_contact c;
static struct clock_row row;
static struct clock_outcome o;

static int setup(void **state)
{
    (void)state;
    c = (struct clock_contact){.tenant_id = 1,
                               .meter_id = 7,
                               .source = SOURCE_CHIRPSTACK,
                               .port = 202,
                               .heard_us = noon,
                               .network_time = true,
                               .clock_us = TIME_NONE};
    row = (struct clock_row){.policy = clock_policy_default,
                             .period_want = -1,
                             .package = 2,
                             .period = -2,
                             .token = -1,
                             .answered_us = TIME_NONE,
                             .resync_us = TIME_NONE,
                             .waiting_us = TIME_NONE};
    clock_init(&row.model);
    return 0;
}

static void hear(const char *hex)
{
    int n = hex_decode(str_of(hex), payload, sizeof payload);

    assert_true(n > 0);
    c.payload = (struct str){(char *)payload, (size_t)n};
    clock_judge(&row, &c, noon, false, &o);
}

static void assert_says(const char *hex)
{
    char got[2 * ANSWER_MAX + 1];

    hex_encode(o.answer.bytes, (size_t)o.answer.n, got);
    assert_string_equal(got, hex);
}

/* protocols: 37 s slow; 125 s fast; a cold boot. */
static void the_worked_examples_are_answered(void **state)
{
    hear("012d99935615");
    assert_says("012500000005");
    assert_int_equal(o.answer.port, 202);
    assert_true(o.keep && o.sent);
    assert_int_equal(o.decision.by_us, 37 * US_PER_S);
    setup(state);
    hear("01cf99935600");
    assert_says("0183ffffff00");
    setup(state);
    hear("010000000011");
    assert_says("015299935601");
}

static void a_downlink_may_hold_version_and_period_too(void **state)
{
    (void)state;
    row.package = 0;
    row.period_want = 9;
    hear("012d99935615");
    assert_says("0125000000050002"
                "09");
    assert_int_equal(row.package, -1);
    hear("00010202"
         "0052999356");
    assert_int_equal(row.package, 2);
    assert_int_equal(row.period, 9);
    assert_int_equal(o.answer.n, 0);
}

static void an_unsupported_period_is_not_asked_again(void **state)
{
    (void)state;
    row.period_want = 9;
    hear("0201"
         "52999356");
    assert_int_equal(row.period, -1);
    hear("012d99935615");
    assert_says("012500000005");
}

static void one_request_heard_twice_gets_one_answer(void **state)
{
    (void)state;
    hear("012d99935615");
    assert_true(o.sent);
    c.heard_us += 48 * US_PER_S; /* another gateway, later */
    hear("012d99935615");
    assert_int_equal(o.answer.n, 0);
    assert_false(o.keep);
}

static void an_answer_that_was_lost_is_given_again(void **state)
{
    (void)state;
    hear("012d99935615");
    row.open_id = 1;
    row.open_sent = true;
    row.today = 4; /* this one is among them */
    c.heard_us += HOUR;
    hear("013da7935615");
    assert_says("012500000005");
    assert_true(o.reuse);
}

static void steps_beyond_a_limit_wait_for_a_person(void **state)
{
    (void)state;
    hear("01428b935615"); /* one hour slow */
    assert_string_equal(o.decision.reason, "beyond_limit");
    assert_true(o.keep);
    assert_false(o.sent);
    assert_int_equal(o.answer.n, 0);
    row.open_id = 3;
    row.open_approved = true;
    hear("01428b935615");
    assert_says("01100e000005");
    assert_true(o.reuse);
}

static void vega_gets_eight_bytes_and_no_second_answer_too_soon(void **state)
{
    static const struct codec vega = {.name = "vega-si11"};

    (void)state;
    c.port = 4;
    c.codec = &vega;
    hear("ff"
         "38d66869"); /* 11:57:44: 136 s slow */
    assert_says("ff8800000000000000");
    row.open_id = 1;
    row.open_sent = true;
    c.heard_us += HOUR;
    hear("ff"
         "48e46869");
    assert_int_equal(o.answer.n, 0); /* it comes behind this very uplink */
    c.heard_us += HOUR;
    hear("ff"
         "58f26869");
    assert_int_equal(o.answer.bytes[0], 0xFF);
    assert_true(o.reuse);
}

static void a_meter_that_does_not_ask_is_made_to(void **state)
{
    (void)state;
    c.port = 2;
    row.samples[0] =
        (struct clock_heard){noon - HOUR, noon - HOUR + 90 * US_PER_S, true};
    row.n = 1;
    hear("00");
    assert_string_equal(o.decision.reason, "until_it_asks");
    assert_says("0303");
    hear("00");
    assert_int_equal(o.answer.n, 0); /* once a day */
    row.package = 0;
    hear("00");
    assert_string_equal(o.decision.reason, "no_way_to_set_it");
}

static void a_gas_meter_is_set_and_the_next_sample_verifies(void **state)
{
    (void)state;
    c.source = SOURCE_HEO;
    c.port = 0;
    c.clock_us = noon + 300 * US_PER_S;
    row.samples[0] = (struct clock_heard){noon, c.clock_us, false};
    row.n = 1;
    clock_judge(&row, &c, noon, false, &o);
    assert_int_equal(o.way, WAY_HEO);
    assert_int_equal(o.shift_us, 0);
    assert_in_range(-o.decision.by_us, 299 * US_PER_S, 302 * US_PER_S);
    row.open_id = 5;
    row.open_sent = true;
    c.heard_us = noon + HOUR;
    c.clock_us = noon + HOUR;
    row.samples[0] = (struct clock_heard){c.heard_us, c.clock_us, false};
    clock_judge(&row, &c, c.heard_us, false, &o);
    assert_int_equal(o.settled, SETTLED_VERIFIED);
    assert_string_equal(o.event.code, "clock.corrected");
    assert_string_equal(clock_state_name(o.state), "synced");
}

static void a_step_that_is_limited_leaves_the_rest(void **state)
{
    (void)state;
    c.source = SOURCE_HEO;
    c.clock_us = noon - 1200 * US_PER_S;
    row.samples[0] = (struct clock_heard){noon, c.clock_us, false};
    row.n = 1;
    clock_judge(&row, &c, noon, false, &o);
    assert_int_equal(o.decision.by_us, 900 * US_PER_S);
    assert_in_range(-o.shift_us, 299 * US_PER_S, 300 * US_PER_S);
}

static void a_model_survives_as_bytes(void **state)
{
    struct clock_model m, again;
    struct buf b = {0};

    (void)state;
    clock_init(&m);
    for (int i = 0; i < 60; i++) {
        int64_t t = noon + i * 6 * HOUR;
        int64_t off = (int64_t)(40e-6 * (double)(t - noon)) + (i > 40) * HOUR;
        struct clock_sample s = {t, t + off, 0, 5, false};
        clock_take(&m, &s, NULL);
    }
    assert_int_equal(m.n_steps, 1);
    model_write(&m, &b);
    assert_int_equal(model_read(buf_view(&b), &again), 0);
    assert_int_equal(clock_now(&m, noon).offset_us,
                     clock_now(&again, noon).offset_us);
    assert_int_equal(clock_at_claim(&m, noon).offset_us,
                     clock_at_claim(&again, noon).offset_us);
    assert_int_equal(again.n_steps, 1);
    for (size_t n = 1; n < b.n; n++) {
        struct str cut = {(char *)b.p, n};
        assert_true(model_read(cut, &again) < 0);
        assert_int_equal(again.n_points, 0);
    }
    b.p[0] = 9;
    assert_int_equal(model_read(buf_view(&b), &again), ERR_FORMAT);
    assert_int_equal(model_read((struct str){0}, &again), 0);
    buf_done(&b);
}

static void a_slot_is_told_by_radio_and_kept_when_it_is_heard_in_it(
    void **state)
{
    struct clock_answer a;
    char got[2 * ANSWER_MAX + 1];

    (void)state;
    row.slot_way = SLOT_WAY_KARAT;
    row.slot = (struct slot_hand){.at_s = 1805,
                                  .window_min = 60,
                                  .told_us = TIME_NONE,
                                  .kept_us = TIME_NONE};
    hear("00010202"
         "0052999356");
    assert_int_equal(o.slot, SLOT_TELL);
    answer_slot(&a, o.slot_way, row.slot.at_s, row.slot.window_min);
    assert_int_equal(a.port, 5);
    hex_encode(a.bytes, (size_t)a.n, got);
    assert_string_equal(got, "010d070000100e0000");
    row.slot.told = 1;
    row.slot.told_us = noon;
    row.samples[0] = (struct clock_heard){noon + 1806 * US_PER_S,
                                          noon + 1805 * US_PER_S, true};
    row.n = 1;
    c.heard_us = row.samples[0].heard_us;
    hear("0201"
         "52999356");
    assert_int_equal(o.slot, SLOT_KEPT);
    assert_int_equal(row.slot.kept_us, c.heard_us);
    answer_slot(&a, SLOT_WAY_HEO, 1805, 60); /* goes into the session */
    assert_int_equal(a.n, 0);
    assert_int_equal(slot_way_named(str_of("vega-si11")), SLOT_WAY_NONE);
}

/* Manual of CMi4160, table 14: 60 s and back are 3C000000 and 3C000080. */
static void an_elvaco_module_is_set_by_its_daily_clock_message(void **state)
{
    static const struct codec elvaco = {.name = "elvaco-cmi41"};

    (void)state;
    row.elvaco = true;
    row.package = 0;
    c.codec = &elvaco;
    c.port = 2;
    for (int day = 0; day < 3; day++) { /* 3 min slow, told in minutes */
        row.samples[0] =
            (struct clock_heard){c.heard_us, c.heard_us - 210 * US_PER_S, true};
        row.n = 1;
        c.clock_us = row.samples[0].meter_us;
        assert_int_equal(c.clock_us % (60 * US_PER_S), 30 * US_PER_S);
        c.clock_us -= 30 * US_PER_S;
        row.samples[0].meter_us = c.clock_us;
        hear("fa046d1e0c0f31");
        if (day == 0) {
            assert_true(o.sent);
            assert_int_equal(o.answer.port, 2);
            assert_int_equal(o.decision.by_us, 209 * US_PER_S);
            assert_says("001304d1000000");
            row.open_id = 9;
            row.open_sent = true;
        } else { /* lost, or under way: a second one would add up */
            assert_false(o.sent);
            assert_int_equal(o.answer.n, 0);
            assert_string_equal(o.decision.reason, "one_is_under_way");
        }
        c.heard_us += 24 * HOUR;
    }
    answer_time(&o.answer, &(struct clock_request){.way = WAY_ELVACO}, -60);
    assert_says("0013043c000080");
}

static void a_karat_module_that_asks_is_answered_as_vega_does(void **state)
{
    static const struct codec karat = {.name = "karat-928lw"};

    (void)state;
    c.codec = &karat;
    c.port = 4;
    hear("ff70d66869"); /* 1768478320: 80 s slow */
    assert_true(o.sent);
    assert_int_equal(o.answer.port, 4);
    assert_says("ff5000000000000000");
}

static void a_clock_without_seconds_is_half_a_minute_older(void **state)
{
    static const struct codec mbus = {.name = "wmbus"}, heo = {.name = "heo"};

    (void)state;
    assert_int_equal(contact_delay(&mbus, true, noon).delay_us, 31 * US_PER_S);
    assert_int_equal(contact_delay(&mbus, true, noon).spread_us, 31 * US_PER_S);
    assert_int_equal(contact_delay(&mbus, true, noon + US_PER_S).spread_us,
                     US_PER_S);
    assert_int_equal(contact_delay(&heo, true, noon).delay_us, US_PER_S);
    assert_int_equal(contact_delay(NULL, false, TIME_NONE).delay_us,
                     US_PER_S / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_worked_examples_are_answered, setup),
        cmocka_unit_test_setup(a_downlink_may_hold_version_and_period_too,
                               setup),
        cmocka_unit_test_setup(an_unsupported_period_is_not_asked_again, setup),
        cmocka_unit_test_setup(one_request_heard_twice_gets_one_answer, setup),
        cmocka_unit_test_setup(an_answer_that_was_lost_is_given_again, setup),
        cmocka_unit_test_setup(steps_beyond_a_limit_wait_for_a_person, setup),
        cmocka_unit_test_setup(
            vega_gets_eight_bytes_and_no_second_answer_too_soon, setup),
        cmocka_unit_test_setup(a_meter_that_does_not_ask_is_made_to, setup),
        cmocka_unit_test_setup(a_gas_meter_is_set_and_the_next_sample_verifies,
                               setup),
        cmocka_unit_test_setup(a_step_that_is_limited_leaves_the_rest, setup),
        cmocka_unit_test(a_model_survives_as_bytes),
        cmocka_unit_test_setup(
            a_slot_is_told_by_radio_and_kept_when_it_is_heard_in_it, setup),
        cmocka_unit_test_setup(
            an_elvaco_module_is_set_by_its_daily_clock_message, setup),
        cmocka_unit_test_setup(
            a_karat_module_that_asks_is_answered_as_vega_does, setup),
        cmocka_unit_test(a_clock_without_seconds_is_half_a_minute_older),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
