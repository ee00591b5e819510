/* Numbers of devices to our events. */
#include "schema/event_code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_maps(enum event_source source, unsigned group, unsigned code,
                        const char *name, enum event_state state)
{
    char unknown[EVENT_NAME];
    struct event_mapped m = event_map(source, group, code, unknown);

    if (!m.known || !str_is(m.code, name) || m.state != state)
        fail_msg("%d %u %u: %.*s", source, group, code, STR_ARGS(m.code));
}

static void every_um31_journal_is_known_on_and_off(void **state)
{
    char unknown[EVENT_NAME];

    (void)state;
    for (unsigned journal = 1; journal <= 42; journal++) {
        for (unsigned on = 0; on <= 1; on++) {
            struct event_mapped m = event_map(EVENT_UM31, journal, on, unknown);
            assert_true(m.known);
            assert_non_null(event_type(m.code));
        }
    }
    assert_maps(EVENT_UM31, 1, 0, "power.off", EVENT_PULSE);
    assert_maps(EVENT_UM31, 7, 1, "tamper.cover_open", EVENT_PULSE);
    assert_maps(EVENT_UM31, 10, 0, "phase.b.lost", EVENT_PULSE);
    assert_maps(EVENT_UM31, 29, 1, "voltage.bc.low", EVENT_START);
    assert_maps(EVENT_UM31, 29, 0, "voltage.bc.low", EVENT_END);
    assert_maps(EVENT_UM31, 42, 1, "energy.reverse", EVENT_START);
}

static void every_code_of_the_tables_has_a_severity(void **state)
{
    char unknown[EVENT_NAME];
    int known = 0;

    (void)state;
    for (enum event_source s = EVENT_UM31; s <= EVENT_RTU327; s++) {
        for (unsigned group = 0; group < 64; group++) {
            for (unsigned code = 0; code < 256; code++) {
                struct event_mapped m = event_map(s, group, code, unknown);
                if (!m.known)
                    continue;
                known++;
                if (!event_type(m.code))
                    fail_msg("%.*s has no line in event.c", STR_ARGS(m.code));
            }
        }
    }
    assert_true(known > 300);
}

static void spodes_tables_tell_start_and_end(void **state)
{
    (void)state;
    assert_maps(EVENT_SPODES, 0, 13, "voltage.a.high", EVENT_START);
    assert_maps(EVENT_SPODES, 0, 24, "voltage.c.low", EVENT_END);
    assert_maps(EVENT_SPODES, 1, 30, "current.c.high", EVENT_END);
    assert_maps(EVENT_SPODES, 2, 8, "relay.off", EVENT_PULSE);
    assert_maps(EVENT_SPODES, 3, 68, "clock.corrected", EVENT_PULSE);
    assert_maps(EVENT_SPODES, 4, 2, "tamper.magnet", EVENT_END);
    assert_maps(EVENT_SPODES_BIT, 0, 25, "tamper.cover_open", EVENT_END);
    assert_maps(EVENT_IDIS, 1, 42, "tamper.magnet", EVENT_START);
    assert_maps(EVENT_MBUS_STATUS, 0, 2, "battery.low", EVENT_START);
    assert_maps(EVENT_RTU327, 0, 211, "phase.b.lost", EVENT_PULSE);
}

static void an_unknown_number_keeps_itself(void **state)
{
    char unknown[EVENT_NAME];
    struct event_mapped m = event_map(EVENT_UM31, 43, 1, unknown);

    (void)state;
    assert_false(m.known);
    assert_true(str_is(m.code, "um31.43.1"));
    m = event_map(EVENT_SPODES, 3, 151, unknown);
    assert_true(!m.known && str_is(m.code, "spodes.3.151"));
    m = event_map(EVENT_SPODES_BIT, 4000000000u, 4000000000u, unknown);
    assert_false(m.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_um31_journal_is_known_on_and_off),
        cmocka_unit_test(every_code_of_the_tables_has_a_severity),
        cmocka_unit_test(spodes_tables_tell_start_and_end),
        cmocka_unit_test(an_unknown_number_keeps_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
