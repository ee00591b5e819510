/* OBIS codes as text: what is printed is read, and nothing looser. */
#include "schema/obis.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void written_and_dotted_forms_are_read(void **state)
{
    static const struct {
        const char *text;
        struct obis obis;
    } rows[] = {
        {"6-0:1.0.0", {6, 0, 1, 0, 0, 255}},
        {"1-0:1.8.2*255", {1, 0, 1, 8, 2, 255}},
        {"6-0:1.0.0*1", {6, 0, 1, 0, 0, 1}},
        {"6.0.1.0.0.255", {6, 0, 1, 0, 0, 255}},
        {"7.128.13.2.0.3", {7, 128, 13, 2, 0, 3}},
    };
    struct obis o;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_string_equal(err_name(obis_parse(str_of(rows[i].text), &o)),
                            "ok");
        assert_true(obis_eq(o, rows[i].obis));
    }
}

static void anything_else_is_refused_and_leaves_the_result(void **state)
{
    static const char *const texts[] = {
        "",
        "6",
        "6-0:1.0",
        "6-0:1.0.0*",
        "6-0:1.0.0.",
        "6-0:1.0.0*x",
        "6-0:1.0.0*256",
        "6-0:1.0.0*1 ",
        "6.0.1.0.0",
        "6-0:1.0.0.1",
        "6.0.1.0.0*255",
        "6-0.1.0.0",
        "256-0:1.0.0",
        "-1-0:1.0.0",
        "6-0:0001.0.0",
        "6.0.1.0.0.255.1",
    };
    struct obis o = OBIS(1, 2, 3, 4, 5);

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_string_equal(err_name(obis_parse(str_of(texts[i]), &o)),
                            "ERR_FORMAT");
    assert_true(obis_eq(o, OBIS(1, 2, 3, 4, 5)));
}

static void every_code_reads_back_as_itself(void **state)
{
    uint32_t seed = 7;
    char text[OBIS_TEXT];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint8_t g[6];
        for (int k = 0; k < 6; k++) {
            seed = seed * 1664525 + 1013904223;
            g[k] = (uint8_t)(seed >> 24);
        }
        struct obis o = {g[0], g[1], g[2], g[3], g[4], g[5]}, back;

        assert_int_equal(obis_parse(str_of(obis_text(o, text)), &back), 0);
        assert_true(obis_eq(o, back));
    }
}

static void current_values_have_no_star(void **state)
{
    char text[OBIS_TEXT];

    (void)state;
    assert_string_equal(obis_text(OBIS(6, 0, 1, 0, 0), text), "6-0:1.0.0");
    assert_string_equal(
        obis_text((struct obis){255, 255, 255, 255, 255, 254}, text),
        "255-255:255.255.255*254");
    assert_true(obis_is_none(OBIS_NONE));
    assert_false(obis_is_none(OBIS(0, 0, 0, 0, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_and_dotted_forms_are_read),
        cmocka_unit_test(anything_else_is_refused_and_leaves_the_result),
        cmocka_unit_test(every_code_reads_back_as_itself),
        cmocka_unit_test(current_values_have_no_star),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
