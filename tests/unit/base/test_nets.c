/* Lists of networks as settings name them. */
#include "server/base/err.h"
#include "server/base/nets.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* */
#include <cmocka.h>

static struct nets parsed(const char *text)
{
    struct nets all;

    assert_string_equal(err_name(nets_parse(str_of(text), &all)), "ok");
    return all;
}

static void an_empty_list_has_nobody(void **state)
{
    struct nets all = parsed("  ");

    (void)state;
    assert_int_equal(all.n, 0);
    assert_false(nets_has_text(&all, STR("127.0.0.1")));
    assert_false(nets_has_text(&all, STR("::")));
}

static void networks_end_at_their_last_bit(void **state)
{
    struct nets all = parsed("10.0.0.0/8,192.0.2.128/25 2001:db8::/33, ::1");

    (void)state;
    assert_int_equal(all.n, 4);
    assert_true(nets_has_text(&all, STR("10.255.0.1")));
    assert_false(nets_has_text(&all, STR("11.0.0.0")));
    assert_true(nets_has_text(&all, STR("192.0.2.128")));
    assert_false(nets_has_text(&all, STR("192.0.2.127")));
    assert_true(nets_has_text(&all, STR("2001:db8:7fff::1")));
    assert_false(nets_has_text(&all, STR("2001:db8:8000::1")));
    assert_true(nets_has_text(&all, STR("::1")));
    assert_false(nets_has_text(&all, STR("::2")));
}

static void everything_is_one_network(void **state)
{
    struct nets four = parsed("0.0.0.0/0"), all = parsed("::/0");

    (void)state;
    assert_true(nets_has_text(&four, STR("203.0.113.9")));
    assert_false(nets_has_text(&four, STR("2001:db8::1")));
    assert_true(nets_has_text(&all, STR("203.0.113.9")));
    assert_true(nets_has_text(&all, STR("2001:db8::1")));
}

static void an_ipv4_client_of_an_ipv6_socket_is_the_same(void **state)
{
    struct nets all = parsed("192.0.2.7");
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};

    (void)state;
    inet_pton(AF_INET6, "::ffff:192.0.2.7", &mapped.sin6_addr);
    inet_pton(AF_INET, "192.0.2.7", &four.sin_addr);
    assert_true(nets_has(&all, (const struct sockaddr *)&mapped));
    assert_true(nets_has(&all, (const struct sockaddr *)&four));
    assert_true(nets_has_text(&all, STR("::ffff:192.0.2.7")));
    assert_false(nets_has(&all, &(struct sockaddr){.sa_family = AF_UNIX}));
}

static void what_is_no_network_is_refused(void **state)
{
    static const char *const wrong[] = {
        "10.0.0.0/33", "::/129",     "10.0.0.1/8",       "10.0.0.0/",
        "10.0.0.0/-1", "10.0.0.0/a", "localhost",        "10.0.0",
        "/8",          "1/2/3",      "10.0.0.0/0000008", "::1/64",
    };
    struct nets all;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(err_name(nets_parse(str_of(wrong[i]), &all)),
                            "ERR_FORMAT");
}

static void too_many_are_refused(void **state)
{
    char text[NETS_MAX * 4 + 8] = "";
    struct nets all;

    (void)state;
    for (int i = 0; i < NETS_MAX; i++)
        strcat(text, "::1,");
    assert_int_equal(parsed(text).n, NETS_MAX);
    strcat(text, "::1");
    assert_string_equal(err_name(nets_parse(str_of(text), &all)), "ERR_FULL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_list_has_nobody),
        cmocka_unit_test(networks_end_at_their_last_bit),
        cmocka_unit_test(everything_is_one_network),
        cmocka_unit_test(an_ipv4_client_of_an_ipv6_socket_is_the_same),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(too_many_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
