/*
 * test_post.c - which addresses are inside the house.
 */
#include "server/deliver/post.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool is_inside(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return post_is_inside((struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return post_is_inside((struct sockaddr *)&v6);
}

static void addresses_inside_are_known(void **state)
{
    static const char *const all[] = {"0.0.0.0",
                                      "10.1.2.3",
                                      "100.64.0.1",
                                      "127.0.0.1",
                                      "127.255.255.254",
                                      "169.254.169.254",
                                      "172.16.0.1",
                                      "172.31.255.255",
                                      "192.168.1.1",
                                      "198.18.0.1",
                                      "224.0.0.1",
                                      "255.255.255.255",
                                      "::",
                                      "::1",
                                      "::127.0.0.1",
                                      "::ffff:127.0.0.1",
                                      "::ffff:10.0.0.1",
                                      "64:ff9b::7f00:1",
                                      "2002:7f00:1::",
                                      "fe80::1",
                                      "fc00::1",
                                      "fd12::1",
                                      "ff02::1",
                                      "2001::1"};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!is_inside(all[i]))
            fail_msg("%s", all[i]);
}

static void addresses_outside_are_not(void **state)
{
    static const char *const all[] = {
        "1.1.1.1",      "8.8.8.8",         "172.32.0.1",
        "100.63.0.1",   "11.0.0.1",        "9.255.255.255",
        "2a00:1450::1", "2606:4700::1111", "::ffff:8.8.8.8"};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (is_inside(all[i]))
            fail_msg("%s", all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_inside_are_known),
        cmocka_unit_test(addresses_outside_are_not),
    };
    post_begin();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    post_end();
    return failed;
}
