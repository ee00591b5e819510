/* CSV: columns by name, records with line breaks, what is wrong said by line.
 */
#include "server/base/csv.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* */
#include <cmocka.h>

static const char *const columns[] = {"serial|secondary_address", "model",
                                      "dev_eui", "note", "parameters."};

/* What `text` becomes, or what is wrong with it. */
static const char *became(const char *text, int most)
{
    static char answer[1024];
    char file[512], error[CSV_ERROR] = "";
    struct buf out = {0};

    snprintf(file, sizeof file, "%s", text);
    int n = csv_json(file, columns, 5, most, &out, error);
    if (n < 0)
        snprintf(answer, sizeof answer, "%s: %s", err_name(n), error);
    else
        snprintf(answer, sizeof answer, "%d %.*s", n, STR_ARGS(buf_view(&out)));
    buf_done(&out);
    return answer;
}

static void columns_are_found_by_name_in_any_order(void **state)
{
    (void)state;
    assert_string_equal(
        became("\xef\xbb\xbfModel; DevEUI ;SecondaryAddress\r\nheo-g4;;17\r\n"
               "\r\n x ; 00-11 ; 18",
               9),
        "2 [{\"line\":2,\"model\":\"heo-g4\",\"serial\":\"17\"},"
        "{\"line\":4,\"model\":\"x\",\"dev_eui\":\"00-11\",\"serial\":\"18\"}"
        "]");
}

static void quotes_hold_separators_and_line_breaks(void **state)
{
    (void)state;
    assert_string_equal(
        became("serial,note\n1,\"a, \"\"b\"\"\nc\"\n2,5\" pipe\n3,\"x", 9),
        "3 [{\"line\":2,\"serial\":\"1\",\"note\":\"a, \\\"b\\\"\\nc\"},"
        "{\"line\":4,\"serial\":\"2\",\"note\":\"5\\\" pipe\"},"
        "{\"line\":5,\"error\":\"a quote does not end, or too many fields\"}]");
}

static void a_record_that_does_not_fit_is_named_and_the_rest_goes_on(void **s)
{
    (void)s;
    assert_string_equal(
        became("serial,model\n1\n2,b,c\n\xff,b\n3,d\n", 9),
        "4 [{\"line\":2,\"error\":\"1 fields, the header has 2\"},"
        "{\"line\":3,\"error\":\"3 fields, the header has 2\"},"
        "{\"line\":4,\"error\":\"it is not UTF-8 text\"},"
        "{\"line\":5,\"serial\":\"3\",\"model\":\"d\"}]");
}

static void named_columns_become_one_object(void **state)
{
    (void)state;
    assert_string_equal(
        became("serial,parameters.dn,Parameters.q3\n1,15,\n2,,\n3,20,2.5\n", 9),
        "3 [{\"line\":2,\"serial\":\"1\",\"parameters\":{\"dn\":\"15\"}},"
        "{\"line\":3,\"serial\":\"2\"},{\"line\":4,\"serial\":\"3\","
        "\"parameters\":{\"dn\":\"20\",\"q3\":\"2.5\"}}]");
}

static void what_is_wrong_with_the_header_is_said(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "ERR_FORMAT: there is no header line"},
        {"serial,dev_eu\n",
         "ERR_FORMAT: column \"dev_eu\" is not known; known: "
         "serial, model, dev_eui, note, parameters."},
        {"serial,Serial\n", "ERR_FORMAT: column \"Serial\" is there twice"},
        {"serial,parameters.\n", "ERR_FORMAT: column \"parameters.\" is not "
                                 "known; known: serial, model, "
                                 "dev_eui, note, parameters."},
        {"serial,parameters.a,parameters.a\n",
         "ERR_FORMAT: column \"parameters.a\" is there twice"},
        {"serial\n1\n2\n3\n", "ERR_FULL: more than 2 rows"},
        {"\xff\n",
         "ERR_FORMAT: the header is not UTF-8, a quote in it does not "
         "end, or it has more than 32 columns"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(became(cases[i].text, 2), cases[i].want);
    assert_string_equal(became("serial\n", 2), "0 []");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_found_by_name_in_any_order),
        cmocka_unit_test(quotes_hold_separators_and_line_breaks),
        cmocka_unit_test(
            a_record_that_does_not_fit_is_named_and_the_rest_goes_on),
        cmocka_unit_test(named_columns_become_one_object),
        cmocka_unit_test(what_is_wrong_with_the_header_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
