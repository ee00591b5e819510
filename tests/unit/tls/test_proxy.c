/* The PROXY protocol's header, as proxy-protocol.txt 2.2 draws it. */
#include "server/base/err.h"
#include "server/tls/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* */
#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text)                                                            \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }

static const struct {
    const char *name, *peer;
    struct str bytes;
    int length; /* or the error */
    bool local;
} vectors[] = {
    {"TCP over IPv4", "192.0.2.7:40112",
     BYTES(SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01"
                     "\x9c\xb0\x11\x6c"
                     "rest"),
     28, false},
    {"TCP over IPv6", "[2001:db8::7]:1",
     BYTES(SIGNATURE
           "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
           "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x01\x11\x6c"),
     52, false},
    {"fields behind the addresses are passed over", "192.0.2.7:40112",
     BYTES(SIGNATURE "\x21\x11\x00\x11\xc0\x00\x02\x07\xc6\x33\x64\x01"
                     "\x9c\xb0\x11\x6c\x04\x00\x02zz"),
     33, false},
    {"the balancer's own health check", "", BYTES(SIGNATURE "\x20\x00\x00\x00"),
     16, true},
    {"a health check with addresses that mean nothing", "",
     BYTES(SIGNATURE "\x20\x11\x00\x0c............"), 28, true},
    {"a family that has no address for us", "",
     BYTES(SIGNATURE "\x21\x00\x00\x03xyz"), 19, false},
    {"addresses cut short", "", BYTES(SIGNATURE "\x21\x11\x00\x0b..........."),
     ERR_FORMAT, false},
    {"another version", "", BYTES(SIGNATURE "\x11\x11\x00\x0c............"),
     ERR_FORMAT, false},
    {"another command", "", BYTES(SIGNATURE "\x22\x11\x00\x0c............"),
     ERR_FORMAT, false},
    {"longer than we care for", "", BYTES(SIGNATURE "\x21\x11\x04\x01"),
     ERR_FORMAT, false},
    {"version 1", "", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"),
     ERR_FORMAT, false},
    {"no header at all", "", BYTES("{\"t\":\"hello\"}"), ERR_FORMAT, false},
};
enum { VECTORS = sizeof vectors / sizeof *vectors };

static void headers_are_read_as_drawn(void **state)
{
    struct proxy found;

    (void)state;
    for (int i = 0; i < VECTORS; i++) {
        print_message("%s\n", vectors[i].name);
        assert_int_equal(proxy_parse(vectors[i].bytes, &found),
                         vectors[i].length);
        if (vectors[i].length < 0)
            continue;
        assert_string_equal(found.peer, vectors[i].peer);
        assert_int_equal(found.local, vectors[i].local);
    }
}

static void every_cut_header_asks_for_more(void **state)
{
    struct proxy found;

    (void)state;
    for (int i = 0; i < VECTORS; i++)
        for (int n = 0; n < vectors[i].length; n++)
            assert_int_equal(
                proxy_parse((struct str){vectors[i].bytes.p, (size_t)n},
                            &found),
                0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_as_drawn),
        cmocka_unit_test(every_cut_header_asks_for_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
