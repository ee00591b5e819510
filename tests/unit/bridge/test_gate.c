/*
 * Claims of ingest/bridge/gate.h. The test plays the broker and paho, each at
 * its end of a TCP connection, and turns the gate by hand.
 */
#include "ingest/bridge/gate.h"
#include "server/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000 };

static struct gate *gate;
static int listener, broker, paho;
static uint64_t handed_over; /* the last frame, as paho's thread would say */

static uint64_t sent(void)
{
    return handed_over;
}

static int port_of(int fd)
{
    struct sockaddr_in at;
    socklen_t n = sizeof at;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    return ntohs(at.sin_port);
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static int dial_port(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* One turn, when there is something to do within `ms`. */
static enum gate_event turn(int ms, uint64_t durable)
{
    struct pollfd at[GATE_POLLS];

    gate_poll(gate, at);
    poll(at, GATE_POLLS, ms);
    return gate_turn(gate, at, sent, durable);
}

static enum gate_event turn_until_told(void)
{
    enum gate_event event = GATE_QUIET;

    for (int i = 0; i < 100 && event == GATE_QUIET; i++)
        event = turn(PATIENCE_MS / 100, 0);
    return event;
}

static bool readable(int fd, int ms)
{
    struct pollfd at = {fd, POLLIN, 0};

    return poll(&at, 1, ms) == 1;
}

static void expect(int fd, const char *text)
{
    char got[256];
    size_t n = 0, want = strlen(text);

    while (n < want) {
        assert_true(readable(fd, PATIENCE_MS));
        ssize_t r = recv(fd, got + n, want - n, 0);
        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_memory_equal(got, text, want);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), (int)strlen(text));
}

static void gate_to(int port)
{
    char url[64];

    snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", port);
    assert_string_equal(err_name(gate_new(str_of(url), &gate)), "ok");
    gate_open(gate);
}

/* Open, with paho's request for the proxy done with. */
static int set_up(void **state)
{
    (void)state;
    handed_over = 0;
    listener = listen_somewhere();
    gate_to(port_of(listener));
    assert_int_equal(turn_until_told(), GATE_OPENED);
    broker = accept(listener, NULL, NULL);
    paho = dial_port(atoi(strchr(gate_proxy(gate), ':') + 1));
    say(paho, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\nhello");
    for (int i = 0; i < 100 && !readable(broker, 0); i++)
        turn(20, 0);
    expect(paho, "HTTP/1.1 200 OK\r\n\r\n");
    expect(broker, "hello");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_free(gate);
    close(broker);
    close(paho);
    close(listener);
    return 0;
}

static void what_the_broker_says_reaches_paho(void **state)
{
    (void)state;
    say(broker, "publish");
    turn(PATIENCE_MS, 0);
    expect(paho, "publish");
}

static void no_byte_leaves_before_the_frames_handed_over_are_durable(
    void **state)
{
    (void)state;
    handed_over = 7;
    say(paho, "puback");
    turn(PATIENCE_MS, 0);
    gate_durable(gate, 6);
    turn(20, 6);
    assert_false(readable(broker, 50));
    gate_durable(gate, 7);
    expect(broker, "puback");
}

static void each_part_leaves_with_its_own_frame_and_in_order(void **state)
{
    (void)state;
    handed_over = 1;
    say(paho, "one");
    turn(PATIENCE_MS, 0);
    handed_over = 2;
    say(paho, "two");
    turn(PATIENCE_MS, 0);
    gate_durable(gate, 1);
    expect(broker, "one");
    assert_false(readable(broker, 50));
    handed_over = 3;
    say(paho, "three");
    turn(PATIENCE_MS, 1);
    gate_durable(gate, 3);
    expect(broker, "twothree");
}

static void what_waits_for_nothing_passes(void **state)
{
    (void)state;
    handed_over = 5;
    say(paho, "ping");
    turn(PATIENCE_MS, 5);
    expect(broker, "ping");
}

static void what_is_held_dies_with_the_connection(void **state)
{
    char byte;

    (void)state;
    handed_over = 1;
    say(paho, "puback");
    turn(PATIENCE_MS, 0);
    close(paho);
    assert_int_equal(turn_until_told(), GATE_CLOSED);
    gate_durable(gate, 1);
    assert_false(gate_is_open(gate));
    assert_true(readable(broker, PATIENCE_MS));
    assert_int_equal(recv(broker, &byte, 1, 0), 0);
    paho = -1;
}

static void a_shut_gate_takes_nothing_more_in_but_lets_out(void **state)
{
    (void)state;
    gate_shut(gate);
    say(broker, "publish");
    say(paho, "disconnect");
    turn(PATIENCE_MS, 0);
    expect(broker, "disconnect");
    assert_false(readable(paho, 50));
}

static void a_broker_that_is_not_there_is_told_so(void **state)
{
    int fd = listen_somewhere(), port = port_of(fd);

    (void)state;
    close(fd);
    gate_to(port);
    assert_int_equal(turn_until_told(), GATE_CLOSED);
    assert_string_equal(gate_text(gate), strerror(ECONNREFUSED));
    gate_free(gate);
}

static void urls_without_a_host_are_refused(void **state)
{
    static const char *const urls[] = {"", "mqtt://", "mqtts://:8883",
                                       "http://x", "mqtt://x:"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_string_equal(err_name(gate_new(str_of(urls[i]), &gate)),
                            err_name(ERR_FORMAT));
}

#define WITH_BOTH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(what_the_broker_says_reaches_paho),
        WITH_BOTH(no_byte_leaves_before_the_frames_handed_over_are_durable),
        WITH_BOTH(each_part_leaves_with_its_own_frame_and_in_order),
        WITH_BOTH(what_waits_for_nothing_passes),
        WITH_BOTH(what_is_held_dies_with_the_connection),
        WITH_BOTH(a_shut_gate_takes_nothing_more_in_but_lets_out),
        cmocka_unit_test(a_broker_that_is_not_there_is_told_so),
        cmocka_unit_test(urls_without_a_host_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
