/*
 * Claims of ingest/bridge/bridge.h. The bridge runs in a child; the test plays
 * both of its neighbours: the server on a socketpair and an MQTT 3.1.1 broker
 * on a loopback port.
 */
#include "ingest/bridge/bridge.h"
#include "ingest/link.h"
#include "schema/frame.h"
#include "server/base/err.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONNECT = 1, PUBACK = 4, SUBSCRIBE = 8, DISCONNECT = 14, NONE = 0 };

static int server, listener, client; /* the test's ends */
static pid_t child;
static struct buf in;

/* ---- the broker ---- */

static uint8_t packet[4096];
static size_t packet_n;

static bool read_all(int fd, void *p, size_t n)
{
    return n == 0 || recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

/* Type of the next packet, its body in `packet`; NONE when the bridge ended
 * the connection. */
static int broker_read(void)
{
    uint8_t head[2];

    if (!read_all(client, head, 2))
        return NONE;
    packet_n = head[1];
    if (head[1] & 0x80) {
        uint8_t more;

        assert_true(read_all(client, &more, 1));
        packet_n = (head[1] & 0x7fu) + 128u * more;
    }
    assert_true(packet_n <= sizeof packet);
    assert_true(read_all(client, packet, packet_n));
    return head[0] >> 4;
}

static void broker_write(const void *p, size_t n)
{
    assert_int_equal(send(client, p, n, MSG_NOSIGNAL), n);
}

static void broker_accept(void)
{
    client = accept(listener, NULL, NULL);
    assert_true(client >= 0);
    assert_int_equal(broker_read(), CONNECT);
    broker_write("\x20\2\0\0", 4);
}

/* Answers the SUBSCRIBE that was read with `code`; its topic goes to `topic`.
 */
static void broker_suback(uint8_t code, char topic[64])
{
    uint8_t suback[5] = {0x90, 3, 0, 0, code};
    size_t n;

    memcpy(suback + 2, packet, 2);
    n = (size_t)packet[2] << 8 | packet[3];
    assert_true(n < 64 && packet_n == n + 5);
    assert_int_equal(packet[n + 4], 1); /* QoS asked for */
    memcpy(topic, packet + 4, n);
    topic[n] = 0;
    broker_write(suback, sizeof suback);
}

static void broker_subscribed(uint8_t code, char topic[64])
{
    assert_int_equal(broker_read(), SUBSCRIBE);
    broker_suback(code, topic);
}

static void broker_publish(uint16_t id, size_t payload)
{
    struct buf b = {0};
    size_t rest = 2 + 4 + 2 + payload;

    buf_u8(&b, 0x32); /* PUBLISH, QoS 1 */
    for (; rest > 127; rest >>= 7)
        buf_u8(&b, (uint8_t)(rest | 0x80));
    buf_u8(&b, (uint8_t)rest);
    buf_put(&b, "\0\4t/up", 6);
    buf_be16(&b, id);
    for (size_t i = 0; i < payload; i++)
        buf_u8(&b, 'x');
    broker_write(b.p, b.n);
    buf_done(&b);
}

static void broker_puback(uint16_t id)
{
    assert_int_equal(broker_read(), PUBACK);
    assert_int_equal(packet[0] << 8 | packet[1], id);
}

/* ---- the server ---- */

static enum link_type server_read(struct bytes *body)
{
    static int last;
    enum link_type type;
    int r;

    if (in.n == 0)
        last = 0;
    in.n -= (size_t)last;
    if (in.n)
        memmove(in.p, in.p + last, in.n);
    while ((r = link_record(buf_view(&in), &type, body)) == 0) {
        ssize_t n = recv(server, buf_room(&in, 4096), 4096, 0);

        assert_true(n > 0);
        in.n += (size_t)n;
    }
    assert_true(r > 0);
    last = r;
    return type;
}

static void expect_state(enum link_state want, const char *text)
{
    struct bytes body;
    struct str s;
    enum link_state got;

    assert_int_equal(server_read(&body), LINK_STATE);
    assert_string_equal(err_name(link_get_state(&body, &got, &s)), "ok");
    assert_int_equal(got, want);
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

/* SUBSCRIBED, on the way to which CONNECTED may have been overtaken. */
static void expect_subscribed(void)
{
    enum link_state got = LINK_CONNECTED;
    struct bytes body;
    struct str s;

    while (got == LINK_CONNECTED) {
        assert_int_equal(server_read(&body), LINK_STATE);
        assert_int_equal(link_get_state(&body, &got, &s), 0);
    }
    assert_int_equal(got, LINK_SUBSCRIBED);
}

static uint64_t expect_frame(uint32_t want_size, size_t want_payload)
{
    struct str topic, payload;
    struct bytes body;
    uint64_t id = 0;
    uint32_t size;

    assert_int_equal(server_read(&body), LINK_FRAME);
    assert_string_equal(
        err_name(link_get_frame(&body, &id, &size, &topic, &payload)), "ok");
    assert_true(str_is(topic, "t/up"));
    assert_int_equal(size, want_size);
    assert_int_equal(payload.n, want_payload);
    return id;
}

static void server_ack(uint64_t id)
{
    struct buf b = {0};

    link_put_ack(&b, id);
    assert_int_equal(send(server, b.p, b.n, 0), b.n);
    buf_done(&b);
}

static void expect_exit(int status)
{
    int got;

    assert_int_equal(waitpid(child, &got, 0), child);
    child = 0;
    assert_true(WIFEXITED(got));
    assert_int_equal(WEXITSTATUS(got), status);
}

/* ---- from the start to SUBSCRIBED ---- */

static void server_config(const char *url)
{
    struct link_config c = {.url = str_of(url),
                            .client_id = STR("headend-7-0"),
                            .username = STR("user"),
                            .password = STR("pass"),
                            .payload_max = 1000,
                            .n_topics = 2,
                            .topics = {STR("a/up"), STR("a/join")}};
    struct buf b = {0};

    link_put_config(&b, &c);
    assert_int_equal(send(server, b.p, b.n, 0), b.n);
    buf_done(&b);
}

static int setup(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int pair[2];
    char url[64];

    (void)state;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pair[0]);
        close(listener);
        _exit(bridge_run(pair[1]));
    }
    close(pair[1]);
    server = pair[0];
    client = -1;
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", ntohs(at.sin_port));
    server_config(url);
    expect_state(LINK_CONNECTING, "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(server);
    close(client);
    close(listener);
    if (child)
        waitpid(child, NULL, 0);
    buf_done(&in);
    return 0;
}

static void bring_up(void)
{
    char topic[64];

    broker_accept();
    broker_subscribed(1, topic);
    broker_subscribed(1, topic);
    expect_subscribed();
}

/* ---- the claims ---- */

static void the_session_is_persistent_and_named(void **state)
{
    /* clause 3.1: MQTT, level 4; flags: name, password; 30 s; client id */
    static const uint8_t connect[] = "\0\4MQTT\4\xc0\0\x1e\0\x0bheadend-7-0"
                                     "\0\4user\0\4pass";
    char first[64], second[64];

    (void)state;
    client = accept(listener, NULL, NULL);
    assert_int_equal(broker_read(), CONNECT);
    assert_int_equal(packet_n, sizeof connect - 1);
    assert_memory_equal(packet, connect, packet_n);
    broker_write("\x20\2\0\0", 4);
    broker_subscribed(1, first);
    broker_subscribed(1, second);
    assert_string_equal(first, "a/up");
    assert_string_equal(second, "a/join");
    expect_subscribed();
}

static void puback_follows_link_ack(void **state)
{
    uint8_t byte;
    uint64_t id;

    (void)state;
    bring_up();
    broker_publish(11, 20);
    id = expect_frame(20, 20);
    server_ack(id - 1); /* not this one */
    assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
    server_ack(id);
    broker_puback(11);
}

static void many_frames_are_under_way_and_one_ack_answers_them(void **state)
{
    enum { MANY = 200 };
    uint64_t id = 0, before;
    uint8_t byte;

    (void)state;
    bring_up();
    for (uint16_t i = 1; i <= MANY; i++)
        broker_publish(i, i);
    for (uint32_t i = 1; i <= MANY; i++) {
        before = id;
        id = expect_frame(i, i);
        assert_true(id > before);
    }
    assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);
    server_ack(id);
    for (uint16_t i = 1; i <= MANY; i++)
        broker_puback(i);
}

static void no_puback_when_the_server_is_gone(void **state)
{
    (void)state;
    bring_up();
    broker_publish(11, 20);
    expect_frame(20, 20);
    close(server);
    expect_exit(3);
    assert_int_equal(broker_read(), NONE);
    server = -1;
}

static void a_long_message_is_a_sample_with_its_true_size(void **state)
{
    (void)state;
    bring_up();
    broker_publish(1, 1000);
    server_ack(expect_frame(1000, 1000));
    broker_puback(1);
    broker_publish(2, 1001);
    server_ack(expect_frame(1001, FRAME_SAMPLE_MAX));
    broker_puback(2);
    broker_publish(3, 3 * 1000 * 1000);
    server_ack(expect_frame(3 * 1000 * 1000, FRAME_SAMPLE_MAX));
    broker_puback(3);
}

static void a_lost_connection_is_made_again_with_subscriptions(void **state)
{
    (void)state;
    bring_up();
    close(client);
    expect_state(LINK_LOST, "the connection ended");
    bring_up();
    broker_publish(1, 5);
    server_ack(expect_frame(5, 5));
    broker_puback(1);
}

static void a_refused_connection_says_why_and_is_tried_again(void **state)
{
    (void)state;
    client = accept(listener, NULL, NULL);
    assert_int_equal(broker_read(), CONNECT);
    broker_write("\x20\2\0\4", 4);
    expect_state(LINK_LOST, "bad user name or password");
    close(client);
    bring_up();
}

static void a_refused_subscription_says_which_and_is_tried_again(void **state)
{
    char topic[64];

    (void)state;
    broker_accept();
    expect_state(LINK_CONNECTED, "");
    broker_subscribed(1, topic);
    broker_subscribed(0x80, topic);
    expect_state(LINK_LOST, "the broker refuses to subscribe a/join");
    broker_publish(1, 5); /* what is granted flows */
    server_ack(expect_frame(5, 5));
    broker_puback(1);
    broker_subscribed(1, topic); /* on the same connection */
    assert_string_equal(topic, "a/up");
    broker_subscribed(1, topic);
    expect_subscribed();
}

static void a_session_that_resumes_at_once_is_served(void **state)
{
    char topic[64];
    int pubacks = 0;

    (void)state;
    broker_accept();
    expect_state(LINK_CONNECTED, "");
    broker_publish(1, 5); /* the persistent session resumes at once */
    server_ack(expect_frame(5, 5));
    for (int i = 0; i < 3; i++) { /* in either order */
        if (broker_read() == PUBACK)
            pubacks++;
        else
            broker_suback(1, topic);
    }
    assert_int_equal(pubacks, 1);
    expect_subscribed();
}

static void sigterm_disconnects_and_sigint_is_ignored(void **state)
{
    (void)state;
    bring_up();
    kill(child, SIGINT);
    broker_publish(1, 5);
    server_ack(expect_frame(5, 5));
    broker_puback(1);
    kill(child, SIGTERM);
    assert_int_equal(broker_read(), DISCONNECT);
    expect_exit(0);
}

static void sigterm_waits_for_the_frame_under_way(void **state)
{
    uint64_t id;

    (void)state;
    bring_up();
    broker_publish(1, 5);
    id = expect_frame(5, 5);
    kill(child, SIGTERM);
    server_ack(id);
    broker_puback(1);
    expect_exit(0);
}

static void sigterm_acknowledges_nothing_unanswered(void **state)
{
    (void)state;
    bring_up();
    broker_publish(1, 5);
    expect_frame(5, 5);
    kill(child, SIGTERM);
    expect_exit(0);
    assert_int_equal(broker_read(), NONE);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_session_is_persistent_and_named),
        T(puback_follows_link_ack),
        T(many_frames_are_under_way_and_one_ack_answers_them),
        T(no_puback_when_the_server_is_gone),
        T(a_long_message_is_a_sample_with_its_true_size),
        T(a_lost_connection_is_made_again_with_subscriptions),
        T(a_refused_connection_says_why_and_is_tried_again),
        T(a_refused_subscription_says_which_and_is_tried_again),
        T(a_session_that_resumes_at_once_is_served),
        T(sigterm_disconnects_and_sigint_is_ignored),
        T(sigterm_waits_for_the_frame_under_way),
        T(sigterm_acknowledges_nothing_unanswered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
