/*
 * Listeners and sessions over loopback sockets, with a real journal in a
 * temporary directory. The clients are plain sockets; between their reads the
 * loop is run by hand.
 */
#include "ingest/tcp.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* */
#include <cmocka.h>

enum { PATIENCE_S = 10, TENANT = 4, INTEGRATION = 11 };

static uv_loop_t loop;
static char dir[64];
static struct journal *journal;
static struct directory *directory;
static struct ingest_options options;
static struct tcp *tcp;
static bool done;

static void on_done(void *arg)
{
    (void)arg;
    done = true;
}

static void put_meter(int32_t tenant, int32_t meter, const char *serial)
{
    struct meter_entry m = {.tenant_id = tenant,
                            .meter_id = meter,
                            .serial = str_of(serial),
                            .codec = "heo-json",
                            .zone = "Europe/Moscow"};

    directory_put_meter(directory, &m);
}

/* One listener of a tenant, at `port`; enabled or not. */
static void put_integration(int port, bool enabled, int64_t revision)
{
    struct integration *i = mem_alloc(sizeof *i);
    char url[40];

    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    *i = (struct integration){.tenant_id = TENANT,
                              .integration_id = INTEGRATION,
                              .kind = INTEGRATION_HEO,
                              .name = mem_strdup("gas"),
                              .enabled = enabled,
                              .url = mem_strdup(url),
                              .topic_prefix = mem_strdup(""),
                              .bridges = 1,
                              .revision = revision};
    directory_put_integrations(directory, i, 1);
}

static void apply(void)
{
    uint32_t n = 0;
    const struct integration *list = directory_integrations(directory, &n);

    tcp_apply(tcp, list, n);
}

static int setup(void **state)
{
    struct journal_options o = {.dir = dir,
                                .segment_size = 1024 * 1024,
                                .quota = 64 * 1024 * 1024,
                                .clock = &clock_system};
    struct journal_recovery found;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof dir, "/tmp/headend-test-tcp-XXXXXX");
    assert_non_null(mkdtemp(dir));
    uv_loop_init(&loop);
    assert_string_equal(err_name(journal_open(&loop, &o, &journal, &found)),
                        "ok");
    options = (struct ingest_options){.tcp_listen = "127.0.0.1:0",
                                      .tcp_line_max = 64 * 1024,
                                      .tcp_depth_max = 16,
                                      .tcp_rate = 1000,
                                      .tcp_idle_ms = 60000,
                                      .tcp_bye_ms = 30000,
                                      .tcp_linger_ms = 1000,
                                      .tcp_sessions = 50,
                                      .clock = &clock_system};
    directory = directory_new();
    put_meter(TENANT, 1, "24000123");
    put_meter(5, 2, "other-tenants");
    put_integration(0, true, 1);
    tcp = tcp_new(&loop, journal, directory, &options);
    apply();
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag,
                        struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void run_until_done(void)
{
    while (!done)
        uv_run(&loop, UV_RUN_ONCE);
    done = false;
}

static int teardown(void **state)
{
    (void)state;
    if (tcp) {
        tcp_stop(tcp, on_done, NULL);
        run_until_done();
        tcp_free(tcp);
        tcp = NULL;
    }
    journal_close(journal, on_done, NULL);
    run_until_done();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    directory_free(directory);
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* ---- a meter ---- */

struct client {
    int fd;
    char text[4096]; /* heard and not yet looked at */
    size_t n;
    bool closed;
};

static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    poll(NULL, 0, 1); /* the pool syncs meanwhile */
}

#define run_while(condition)                                                   \
    for (uint64_t end_ = uv_hrtime() + PATIENCE_S * 1000000000ULL;             \
         (condition) && uv_hrtime() < end_;)                                   \
    turn()

static struct client dial(int32_t integration)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    int port = tcp_port(tcp, integration);

    assert_true(port > 0);
    a.sin_port = htons((uint16_t)port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    return c;
}

static void hang_up(struct client *c)
{
    close(c->fd);
}

static void say(struct client *c, const char *text)
{
    assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL),
                     strlen(text));
}

static bool has_line(struct client *c)
{
    ssize_t r =
        recv(c->fd, c->text + c->n, sizeof c->text - 1 - c->n, MSG_DONTWAIT);

    if (r > 0)
        c->n += (size_t)r;
    if (r == 0)
        c->closed = true;
    c->text[c->n] = 0;
    return strchr(c->text, '\n');
}

/* The next line, without its end; "closed", or "nothing" after PATIENCE_S. */
static const char *line(struct client *c)
{
    static char out[4096];
    char *end;

    run_while(!has_line(c) && !c->closed);
    end = strchr(c->text, '\n');
    if (!end)
        return c->closed ? "closed" : "nothing";
    *end = 0;
    strcpy(out, c->text);
    c->n -= (size_t)(end + 1 - c->text);
    memmove(c->text, end + 1, c->n + 1);
    return out;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static const char HELLO[] = "{\"t\":\"hello\",\"sn\":\"24000123\"}\n";
static const char DATA[] = "{\"t\":\"data\",\"seq\":417,\"rows\":[[1],[2]]}\n";
static const char HELLO_ACK[] = "{\"t\":\"ack\",\"ref\":\"hello\"";
static const char DATA_ACK[] = "{\"t\":\"ack\",\"seq\":417,\"n\":2}";

static struct client dial_as(int32_t integration, const char *serial)
{
    struct client c = dial(integration);
    char text[200];

    snprintf(text, sizeof text, "{\"t\":\"hello\",\"sn\":\"%s\"}", serial);
    say(&c, text);
    assert_true(starts(line(&c), HELLO_ACK));
    return c;
}

/* ---- what is durable ---- */

/* How many durable frames have this payload; *last is the last of them. */
static int durable(const char *payload, struct frame *last)
{
    static struct journal_chunk chunk;
    int found = 0;

    journal_chunk_done(&chunk);
    assert_string_equal(
        err_name(journal_read(journal, journal_first(journal),
                              journal_end(journal), 8 << 20, 10000, &chunk)),
        "ok");
    for (uint32_t i = 0; i < chunk.n; i++) {
        struct frame f;

        assert_string_equal(err_name(frame_decode(chunk.records[i].bytes, &f)),
                            "ok");
        if (!str_eq(str_trim(f.payload), str_trim(str_of(payload))))
            continue;
        found++;
        if (last) {
            *last = f;
            last->rejected = mem_strdup(f.rejected);
        }
    }
    if (!last)
        journal_chunk_done(&chunk);
    return found;
}

static struct ingest_stats stats(void)
{
    struct ingest_stats s = {0};

    tcp_stats(tcp, &s);
    return s;
}

/* ---- claims ---- */

static void acknowledged_frame_is_in_the_journal(void **state)
{
    struct client c = dial_as(INTEGRATION, "24000123");
    struct frame f = {0};

    (void)state;
    say(&c, DATA);
    assert_string_equal(line(&c), DATA_ACK);
    assert_int_equal(durable(DATA, &f), 1);
    assert_int_equal(f.source, SOURCE_HEO);
    assert_int_equal(f.tenant_id, TENANT);
    assert_int_equal(f.integration_id, INTEGRATION);
    assert_true(str_is(f.identity, "24000123"));
    assert_int_equal(strncmp(f.peer.p, "127.0.0.1:", 10), 0);
    assert_null(f.rejected);
    assert_int_equal(stats().frames[1], 2);
    assert_int_equal(stats().acked[1], 2);
    durable("", NULL);
    hang_up(&c);
}

static void meter_that_was_cut_off_repeats_and_is_acknowledged(void **state)
{
    struct client c = dial(INTEGRATION);

    (void)state;
    say(&c, HELLO);
    say(&c, DATA);
    hang_up(&c); /* before any answer */
    run_while(durable(DATA, NULL) < 1);
    c = dial_as(INTEGRATION, "24000123");
    say(&c, DATA);
    assert_string_equal(line(&c), DATA_ACK);
    assert_int_equal(durable(DATA, NULL),
                     2); /* the pipeline tells them apart */
    hang_up(&c);
}

static void newer_session_replaces_the_older(void **state)
{
    struct client a = dial_as(INTEGRATION, "24000123");
    struct client b = dial_as(0, "24000123"); /* the same meter, shared */

    (void)state;
    assert_string_equal(line(&a), "{\"t\":\"nak\",\"code\":\"replaced\"}");
    assert_string_equal(line(&a), "closed");
    say(&b, DATA);
    assert_string_equal(line(&b), DATA_ACK);
    hang_up(&a);
    run_while(stats().sessions > 1);
    assert_int_equal(stats().sessions, 1);
    say(&b, DATA); /* the end of the older one does not touch it */
    assert_string_equal(line(&b), DATA_ACK);
    hang_up(&b);
}

static void listener_of_a_tenant_knows_only_its_meters(void **state)
{
    static const char hello[] = "{\"t\":\"hello\",\"sn\":\"other-tenants\"}";
    struct client c = dial(INTEGRATION);
    struct frame f = {0};

    (void)state;
    say(&c, hello);
    assert_string_equal(line(&c),
                        "{\"t\":\"nak\",\"code\":\"unknown_device\"}");
    assert_string_equal(line(&c), "closed");
    assert_int_equal(durable(hello, &f), 1);
    assert_int_equal(f.tenant_id, TENANT);
    hang_up(&c);
    c = dial_as(0, "other-tenants");
    assert_int_equal(durable(hello, &f), 2);
    assert_int_equal(f.tenant_id, 5);
    assert_int_equal(f.integration_id, 0);
    durable("", NULL);
    hang_up(&c);
}

static void garbage_is_sampled_refused_and_closed(void **state)
{
    static const char garbage[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct client c = dial(INTEGRATION);
    struct frame f = {0};

    (void)state;
    say(&c, garbage);
    assert_string_equal(line(&c), "{\"t\":\"nak\",\"code\":\"not_json\"}");
    assert_string_equal(line(&c), "closed");
    run_while(durable(garbage, NULL) < 1);
    assert_int_equal(durable(garbage, &f), 1);
    assert_int_equal(f.source, SOURCE_TCP);
    assert_string_equal(f.rejected, "not_json");
    assert_int_equal(stats().rejected[1], 1);
    free((char *)f.rejected);
    durable("", NULL);
    hang_up(&c);
}

/* Sends `byte` for ever; returns what the server says to it. */
static const char *flood(struct client *c, char byte)
{
    static char block[64 * 1024];
    size_t sent = 0;

    memset(block, byte, sizeof block);
    while (!has_line(c) && !c->closed && sent < 64u << 20) {
        ssize_t r =
            send(c->fd, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += r > 0 ? (size_t)r : 0;
        turn();
    }
    return line(c);
}

static void endless_line_is_refused(void **state)
{
    struct client c = dial_as(INTEGRATION, "24000123");

    (void)state;
    say(&c, "{\"");
    assert_string_equal(flood(&c, 'x'),
                        "{\"t\":\"nak\",\"code\":\"line_too_long\"}");
    hang_up(&c);
}

static void ten_thousand_levels_are_refused(void **state)
{
    struct client c = dial_as(INTEGRATION, "24000123");
    char deep[10000 + 1];

    (void)state;
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    say(&c, "{\"t\":");
    say(&c, deep);
    assert_string_equal(line(&c), "{\"t\":\"nak\",\"code\":\"too_deep\"}");
    assert_string_equal(line(&c), "closed");
    hang_up(&c);
}

static void many_objects_in_one_go_are_all_acknowledged(void **state)
{
    enum { N = 2000 };
    struct client c = dial_as(INTEGRATION, "24000123");
    char text[100];
    int next = 0;

    (void)state;
    for (int sent = 0; next < N;) {
        while (sent < N && sent - next < 100) {
            snprintf(text, sizeof text, "{\"t\":\"alarm\",\"seq\":%d}", sent++);
            say(&c, text);
        }
        snprintf(text, sizeof text, "{\"t\":\"ack\",\"seq\":%d,\"n\":0}",
                 next++);
        assert_string_equal(line(&c), text);
    }
    assert_int_equal(stats().acked[1], N + 1);
    hang_up(&c);
}

static void half_closed_meter_still_gets_its_acks(void **state)
{
    struct client c = dial(INTEGRATION);

    (void)state;
    say(&c, HELLO);
    say(&c, DATA);
    shutdown(c.fd, SHUT_WR);
    assert_true(starts(line(&c), HELLO_ACK));
    assert_string_equal(line(&c), DATA_ACK);
    assert_string_equal(line(&c), "closed");
    hang_up(&c);
}

static void one_session_too_many_is_told_so(void **state)
{
    struct client all[50], last;

    (void)state;
    for (int i = 0; i < 50; i++)
        all[i] = dial(INTEGRATION);
    run_while(stats().sessions < 50);
    last = dial(INTEGRATION);
    assert_string_equal(line(&last), "{\"t\":\"nak\",\"code\":\"busy\"}");
    assert_string_equal(line(&last), "closed");
    assert_int_equal(stats().sessions_refused, 1);
    hang_up(&last);
    hang_up(&all[0]);
    run_while(stats().sessions > 49);
    last = dial_as(INTEGRATION, "24000123");
    hang_up(&last);
    for (int i = 1; i < 50; i++)
        hang_up(&all[i]);
}

static void quiet_meter_is_told_bye_then_closed(void **state)
{
    struct client c;

    (void)state;
    tcp_stop(tcp, on_done, NULL);
    run_until_done();
    tcp_free(tcp);
    options.tcp_bye_ms = 50;
    options.tcp_linger_ms = 50;
    tcp = tcp_new(&loop, journal, directory, &options);
    apply();
    c = dial_as(INTEGRATION, "24000123");
    say(&c, DATA);
    assert_string_equal(line(&c), DATA_ACK);
    assert_string_equal(line(&c), "{\"t\":\"bye\"}");
    assert_string_equal(line(&c), "closed");
    hang_up(&c);
    run_while(stats().sessions > 0);
    assert_int_equal(stats().sessions, 0);
}

static void taken_port_is_tried_again(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    int other = socket(AF_INET, SOCK_STREAM, 0);
    struct client c;

    (void)state;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(other, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&a, &n), 0);
    put_integration(ntohs(a.sin_port), true, 2);
    apply();
    assert_int_equal(stats().listeners_down, 1);
    assert_string_equal(err_name(tcp_port(tcp, INTEGRATION)), "ERR_UNKNOWN");
    close(other);
    run_while(tcp_port(tcp, INTEGRATION) < 0);
    assert_int_equal(tcp_port(tcp, INTEGRATION), ntohs(a.sin_port));
    c = dial_as(INTEGRATION, "24000123");
    hang_up(&c);
}

static void disabled_listener_ends_its_sessions_only(void **state)
{
    struct client mine = dial_as(INTEGRATION, "24000123");
    struct client other = dial_as(0, "other-tenants");

    (void)state;
    put_integration(0, false, 2);
    apply();
    assert_string_equal(line(&mine), "closed");
    assert_string_equal(err_name(tcp_port(tcp, INTEGRATION)), "ERR_UNKNOWN");
    say(&other, DATA);
    assert_string_equal(line(&other), DATA_ACK);
    hang_up(&mine);
    hang_up(&other);
}

static void changed_listener_binds_the_same_port_again(void **state)
{
    int port = tcp_port(tcp, INTEGRATION);
    struct client c = dial_as(INTEGRATION, "24000123");

    (void)state;
    put_integration(port, true, 2);
    apply();
    assert_int_equal(tcp_port(tcp, INTEGRATION), port);
    assert_string_equal(line(&c), "closed");
    hang_up(&c);
    c = dial_as(INTEGRATION, "24000123");
    hang_up(&c);
}

static void bad_urls_are_down_not_fatal(void **state)
{
    static const char *const urls[] = {"",          "tcp://",     ":",
                                       "here:1",    "1.2.3.4",    "[::1:5",
                                       "::1:99999", "1.2.3.4:x5", "1.2.3.4:5x"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct integration one = {.tenant_id = TENANT,
                                  .integration_id = INTEGRATION,
                                  .kind = INTEGRATION_HEO,
                                  .enabled = true,
                                  .url = (char *)urls[i],
                                  .revision = 10 + (int64_t)i};

        tcp_apply(tcp, &one, 1);
        assert_int_equal(stats().listeners_down, 1);
    }
}

static void stop_answers_what_is_under_way(void **state)
{
    struct client c = dial_as(INTEGRATION, "24000123");
    int64_t before = stats().frames[1];

    (void)state;
    say(&c, DATA);
    run_while(stats().frames[1] == before);
    tcp_stop(tcp, on_done, NULL);
    assert_false(done); /* not inside the call */
    assert_string_equal(line(&c), DATA_ACK);
    assert_string_equal(line(&c), "closed");
    hang_up(&c);
    run_until_done();
    tcp_free(tcp);
    tcp = NULL;
}

static void stop_does_not_wait_for_a_meter_that_never_closes(void **state)
{
    struct client c = dial_as(INTEGRATION, "24000123");
    uint64_t start = uv_hrtime();

    (void)state;
    tcp_stop(tcp, on_done, NULL);
    run_until_done();
    assert_true(uv_hrtime() - start < 3000000000ULL);
    hang_up(&c);
    tcp_free(tcp);
    tcp = NULL;
}

static void ingest_opens_its_listeners_and_closes_them(void **state)
{
    struct ingest_stats s;
    struct ingest *in;

    (void)state;
    put_integration(0, true, 2);
    assert_string_equal(
        err_name(ingest_new(&loop, journal, directory, &options, &in)), "ok");
    ingest_apply(in);
    assert_true(ingest_listener_port(in, 0) > 0);
    assert_true(ingest_listener_port(in, INTEGRATION) > 0);
    ingest_stats(in, &s);
    assert_int_equal(s.listeners_down, 0);
    ingest_stop(in, on_done, NULL);
    run_until_done();
    ingest_free(in);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(acknowledged_frame_is_in_the_journal),
        CLAIM(meter_that_was_cut_off_repeats_and_is_acknowledged),
        CLAIM(newer_session_replaces_the_older),
        CLAIM(listener_of_a_tenant_knows_only_its_meters),
        CLAIM(garbage_is_sampled_refused_and_closed),
        CLAIM(endless_line_is_refused),
        CLAIM(ten_thousand_levels_are_refused),
        CLAIM(many_objects_in_one_go_are_all_acknowledged),
        CLAIM(half_closed_meter_still_gets_its_acks),
        CLAIM(one_session_too_many_is_told_so),
        CLAIM(quiet_meter_is_told_bye_then_closed),
        CLAIM(taken_port_is_tried_again),
        CLAIM(disabled_listener_ends_its_sessions_only),
        CLAIM(changed_listener_binds_the_same_port_again),
        CLAIM(bad_urls_are_down_not_fatal),
        CLAIM(stop_answers_what_is_under_way),
        CLAIM(stop_does_not_wait_for_a_meter_that_never_closes),
        CLAIM(ingest_opens_its_listeners_and_closes_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
