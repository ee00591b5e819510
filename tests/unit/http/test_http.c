/*
 * The server in the loop of this thread, a blocking raw-socket client in
 * another. The client's script runs to its end, the loop stops, then the test
 * judges what both saw.
 */
#include "server/base/err.h"
#include "server/base/mem.h"
#include "server/http/http.h"
#include "server/loop/loop.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { BODY_MAX = 1000, STREAM_SIZE = 8 * 1024 * 1024, CHUNK = 1000 };

static uv_loop_t loop;
static struct http *http;
static bool stopped;

/* What the handlers saw. */
static struct {
    int drains, closes, calls;
    size_t made, most_queued;
    struct http_request *held;
    struct ticker *later;
    sem_t paused; /* the producer had to pause; or the request was seen */
} saw;

static void on_hello(struct http_request *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "text/plain", STR("hello"));
}

static void on_item(struct http_request *r, void *arg)
{
    static const char *const known[] = {"q", "r", NULL};
    struct str text = arena_printf(
        http_arena(r), "id=%.*s q=%.*s unknown=%.*s x=%.*s peer=%.*s",
        STR_ARGS(http_param(r, "id")), STR_ARGS(http_query(r, "q")),
        STR_ARGS(http_query_unknown(r, known)),
        STR_ARGS(http_header(r, "x-test")), 10, http_peer(r).p);

    (void)arg;
    http_set_header(r, "X-Answer", "42");
    http_reply(r, 200, "text/plain", text);
}

static void on_echo(struct http_request *r, void *arg)
{
    (void)arg;
    http_reply(r, 200, "text/plain", http_body(r));
}

static void reply_now(void *arg)
{
    http_reply(arg, 200, "text/plain", STR("late"));
    ticker_free(saw.later);
}

static void on_later(struct http_request *r, void *arg)
{
    (void)arg;
    saw.later = ticker_new(&loop, reply_now, r);
    ticker_start(saw.later, 5, 0);
}

static void on_held(struct http_request *r, void *arg)
{
    (void)arg;
    saw.held = r;
    sem_post(&saw.paused);
}

static void produce(void *arg)
{
    static const char chunk[CHUNK] = {'x'};
    struct http_request *r = arg;
    size_t queued = 0;

    while (saw.made < STREAM_SIZE && queued <= HTTP_STREAM_HIGH) {
        queued = http_stream_write(r, (struct str){chunk, CHUNK});
        saw.made += CHUNK;
        if (queued > saw.most_queued)
            saw.most_queued = queued;
    }
    if (saw.made >= STREAM_SIZE)
        http_stream_end(r, true);
    else
        sem_post(&saw.paused);
}

static void on_drain(void *arg)
{
    saw.drains++;
    produce(arg);
}

static void on_close(void *arg)
{
    saw.closes++;
    if (saw.made < STREAM_SIZE) {
        assert_true(http_gone(arg));
        assert_int_equal(http_stream_write(arg, STR("ignored")), 0);
        http_stream_end(arg, false);
    }
}

static void on_stream(struct http_request *r, void *arg)
{
    (void)arg;
    http_stream_begin(r, 200, "text/csv", on_drain, on_close, r);
    produce(r);
}

static void count_close(void *arg)
{
    (void)arg;
    saw.closes++;
}

static void on_broken(struct http_request *r, void *arg)
{
    (void)arg;
    http_stream_begin(r, 200, "text/csv", NULL, count_close, r);
    http_stream_write(r, STR("half a body"));
    http_stream_end(r, false);
}

static void on_problem(struct http_request *r, void *arg)
{
    (void)arg;
    http_problem(r, 400, "limit", "\"%s\" is no number", "a\x01\xff");
}

static int setup_with(int connections, int idle_s)
{
    struct http_options o = {.listen = "127.0.0.1:0",
                             .connections = connections,
                             .idle_s = idle_s,
                             .body_max = BODY_MAX};

    memset(&saw, 0, sizeof saw);
    sem_init(&saw.paused, 0, 0);
    stopped = false;
    uv_loop_init(&loop);
    if (http_listen(&loop, &o, &http) < 0)
        return -1;
    http_route(http, "GET", "/", on_hello, NULL);
    http_route(http, "GET", "/hello", on_hello, NULL);
    http_route(http, "GET", "/items/{id}/show", on_item, NULL);
    http_route(http, "POST", "/echo", on_echo, NULL);
    http_route(http, "DELETE", "/echo", on_echo, NULL);
    http_route(http, "GET", "/later", on_later, NULL);
    http_route(http, "GET", "/held", on_held, NULL);
    http_route(http, "GET", "/stream", on_stream, NULL);
    http_route(http, "GET", "/broken", on_broken, NULL);
    http_route(http, "GET", "/problem", on_problem, NULL);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(100, 10);
}

static void on_stopped(void *arg)
{
    (void)arg;
    stopped = true;
}

static void stop(uint64_t grace_ms)
{
    http_stop(http, grace_ms, on_stopped, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(stopped);
    http_free(http);
    http = NULL;
}

static int teardown(void **state)
{
    (void)state;
    if (http)
        stop(1000);
    sem_destroy(&saw.paused);
    return uv_loop_close(&loop);
}

/* The client. */
struct client {
    void (*script)(struct client *c);
    const char *request;
    size_t got_n;
    char *got;  /* NUL-terminated */
    int end;    /* 0: orderly end, else errno of the last recv */
    bool alone; /* nobody waits for its end */
    uv_async_t over;
};

static int dial(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_port(http)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(fd, (void *)&at, sizeof at) < 0)
        abort();
    return fd;
}

static int dial_and_ask(struct client *c)
{
    int fd = dial();

    if (send(fd, c->request, strlen(c->request), MSG_NOSIGNAL) < 0)
        abort();
    return fd;
}

static void read_to_the_end(struct client *c, int fd)
{
    size_t cap = STREAM_SIZE * 2;
    ssize_t n;

    c->got = mem_alloc(cap + 1);
    while ((n = recv(fd, c->got + c->got_n, cap - c->got_n, 0)) > 0)
        c->got_n += (size_t)n;
    c->end = n < 0 ? errno : 0;
    close(fd);
}

static void ask_and_read(struct client *c)
{
    read_to_the_end(c, dial_and_ask(c));
}

/* Reads nothing before the producer had to pause. */
static void ask_and_read_late(struct client *c)
{
    int fd = dial_and_ask(c);

    sem_wait(&saw.paused);
    read_to_the_end(c, fd);
}

static void ask_and_leave(struct client *c)
{
    int fd = dial_and_ask(c);

    sem_wait(&saw.paused);
    close(fd);
}

static void *client_main(void *arg)
{
    struct client *c = arg;

    c->script(c);
    if (!c->alone)
        uv_async_send(&c->over);
    return NULL;
}

static void on_over(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void nothing(uv_handle_t *handle)
{
    (void)handle;
}

static void client_run(struct client *c)
{
    pthread_t thread;

    if (!c->script)
        c->script = ask_and_read;
    uv_async_init(&loop, &c->over, on_over);
    assert_int_equal(pthread_create(&thread, NULL, client_main, c), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
    uv_close((uv_handle_t *)&c->over, nothing);
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* The whole answer; the caller frees it. */
static char *ask(const char *request)
{
    struct client c = {.request = request};

    client_run(&c);
    return c.got;
}

static char *get(const char *target)
{
    char request[512];

    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
             "X-Test: yes\r\n\r\n",
             target);
    return ask(request);
}

static void assert_has(const char *text, const char *part)
{
    int n = (int)strlen(text);

    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%.*s\"", part, n, text);
}

static void assert_answer(char *got, const char *line, const char *part)
{
    assert_memory_equal(got, line, strlen(line));
    assert_has(got, part);
    free(got);
}

static void path_and_query_arrive_decoded(void **state)
{
    char *got = get("/items/a%2Fb%20+/show?q=%2b1+2%26&&r=&zone=x");

    (void)state;
    assert_has(got, "HTTP/1.1 200 OK\r\n");
    assert_has(got, "id=a/b + q=+1 2& unknown=zone x=yes peer=127.0.0.1:");
    assert_has(got, "X-Answer: 42\r\n");
    assert_has(got, "X-Content-Type-Options: nosniff\r\n");
    assert_has(got, "Cache-Control: no-store\r\n");
    free(got);
    assert_answer(get("http://h:80/items/7/show?q=1"), "HTTP/1.1 200", "id=7");
    assert_answer(get("/"), "HTTP/1.1 200", "hello");
}

static void what_is_not_there_is_404_and_another_method_405(void **state)
{
    (void)state;
    assert_answer(get("/nothing"), "HTTP/1.1 404", "\"status\":404");
    assert_answer(get("/hello/"), "HTTP/1.1 404", "nosniff");
    assert_answer(get("/items//show"), "HTTP/1.1 404", "");
    assert_answer(get("/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q"), "HTTP/1.1 414",
                  "");
    assert_answer(get("/echo"), "HTTP/1.1 405", "Allow: POST, DELETE\r\n");
    assert_answer(ask("PUT /hello HTTP/1.1\r\nHost: h\r\n"
                      "Content-Length: 0\r\nConnection: close\r\n\r\n"),
                  "HTTP/1.1 405", "Allow: GET, HEAD\r\n");
}

static void a_target_that_is_no_text_is_400(void **state)
{
    static const char *const bad[] = {
        "/hello?q=%",      "/hello?q=%4",    "/hello?q=%zz", "/hello?q=%00",
        "/items/%ff/show", "/hello?a=1&a=2", "hello",        "http://h"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_answer(get(bad[i]), "HTTP/1.1 400", "problem+json");
}

static void a_body_of_untold_length_is_refused(void **state)
{
    (void)state;
    assert_answer(ask("GET /nothing HTTP/1.1\r\nHost: h\r\n"
                      "Transfer-Encoding: 0\r\n\r\nbody"),
                  "HTTP/1.1 400", "length");
    assert_answer(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                  "HTTP/1.1 400", "length");
}

static void head_gets_the_headers_alone(void **state)
{
    char *got = ask("HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n"
                    "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n"
                    "GET /hello HTTP/1.1\r\nHost: h\r\n"
                    "Connection: close\r\n\r\n");
    char *end = strstr(got, "\r\n\r\n");

    (void)state;
    assert_has(got, "Content-Length: 5\r\n");
    assert_memory_equal(end, "\r\n\r\nHTTP/1.1 200 OK\r\n", 21);
    assert_has(got, "text/csv");
    assert_memory_equal(got + strlen(got) - 9, "\r\n\r\nhello", 9);
    assert_int_equal(saw.closes, 1);
    free(got);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    char *got = ask("GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
                    "GET /items/2/show HTTP/1.1\r\nHost: h\r\n\r\n"
                    "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"
                    "GET /hello HTTP/1.1\r\nHost: h\r\n"
                    "Connection: close\r\n\r\n");
    char *late = strstr(got, "late"), *item = strstr(got, "id=2"),
         *none = strstr(got, "404"), *hello = strstr(got, "hello");

    (void)state;
    assert_non_null(late);
    assert_true(late < item && item < none && none < hello);
    free(got);
}

static void a_body_is_collected_up_to_its_limit(void **state)
{
    char request[4096], body[BODY_MAX + 2];

    (void)state;
    assert_answer(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
                      "Connection: close\r\n\r\nfour"),
                  "HTTP/1.1 200", "\r\n\r\nfour");
    assert_answer(ask("POST /echo HTTP/1.1\r\nHost: h\r\n"
                      "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                      "2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n"),
                  "HTTP/1.1 200", "\r\n\r\nfour");
    assert_answer(ask("DELETE /echo HTTP/1.1\r\nHost: h\r\n"
                      "Content-Length: 4\r\nConnection: close\r\n\r\nfour"),
                  "HTTP/1.1 200", "Content-Length: 0");
    memset(body, 'b', sizeof body);
    body[BODY_MAX + 1] = '\0';
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
             BODY_MAX + 1);
    assert_answer(ask(request), "HTTP/1.1 413", "1000 bytes");
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
             "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
             BODY_MAX + 1, body);
    assert_answer(ask(request), "HTTP/1.1 413", "1000 bytes");
}

static void an_endless_body_is_cut(void **state)
{
    static char request[8192];
    int n = snprintf(request, sizeof request,
                     "POST /echo HTTP/1.1\r\nHost: h\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n");
    struct client c = {.request = request};

    (void)state;
    for (int i = 0; i < 300; i++)
        n += snprintf(request + n, sizeof request - (size_t)n,
                      "a\r\n0123456789\r\n");
    client_run(&c);
    assert_int_equal(c.got_n, 0);
    free(c.got);
}

static void a_slow_client_gets_all_of_a_stream_within_bounded_memory(
    void **state)
{
    static const char request[] = "GET /stream HTTP/1.0\r\n\r\n";
    struct client c = {.script = ask_and_read_late, .request = request};
    char *body;

    (void)state;
    client_run(&c);
    body = strstr(c.got, "\r\n\r\n") + 4;
    assert_int_equal(c.got_n - (size_t)(body - c.got), saw.made);
    assert_in_range(saw.made, STREAM_SIZE, STREAM_SIZE + CHUNK);
    assert_in_range(saw.most_queued, 1, HTTP_STREAM_HIGH + CHUNK);
    assert_in_range(saw.drains, 1, 1000);
    assert_int_equal(saw.closes, 1);
    free(c.got);
}

static void a_client_that_leaves_ends_its_stream_once(void **state)
{
    static const char request[] = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";
    struct client c = {.script = ask_and_leave, .request = request};

    (void)state;
    client_run(&c);
    while (saw.closes == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(saw.closes, 1);
    assert_in_range(saw.made, 1, STREAM_SIZE - 1);
    free(get("/hello"));
    assert_int_equal(saw.closes, 1);
}

static void a_failed_stream_is_seen_to_be_incomplete(void **state)
{
    static const char *const requests[] = {
        "GET /broken HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /broken HTTP/1.0\r\n\r\n"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct client c = {.request = requests[i]};

        client_run(&c);
        assert_string_equal(uv_err_name(-c.end), "ECONNRESET");
        assert_int_equal(saw.closes, i + 1);
        free(c.got);
    }
}

static void a_problem_is_json_whatever_its_text(void **state)
{
    (void)state;
    assert_answer(get("/problem"), "HTTP/1.1 400",
                  "{\"type\":\"about:blank\",\"title\":\"Bad Request\","
                  "\"status\":400,\"detail\":\"\\\"a\\u0001\xef\xbf\xbd\\\" is "
                  "no number\",\"field\":\"limit\"}\n");
}

static void a_silent_connection_is_cut(void **state)
{
    struct client c = {.request = "GET / HT"};

    (void)state;
    assert_int_equal(setup_with(100, 1), 0);
    client_run(&c);
    assert_int_equal(c.end, 0);
    free(c.got);
}

/* The 41st waits in the backlog until one of the 40 ends. */
static void fill_up(struct client *c)
{
    static int fds[40];

    for (int i = 0; i < 40; i++)
        fds[i] = dial_and_ask(c);
    for (int i = 0; i < 39; i++)
        close(fds[i]);
    read_to_the_end(c, fds[39]);
}

static void more_connections_than_the_limit_wait_their_turn(void **state)
{
    static const char request[] =
        "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    struct client c = {.script = fill_up, .request = request};

    (void)state;
    assert_int_equal(setup_with(4, 10), 0);
    client_run(&c);
    assert_has(c.got, "hello");
    free(c.got);
}

static void a_stop_lets_an_answer_finish(void **state)
{
    static const char request[] = "GET /later HTTP/1.1\r\nHost: h\r\n\r\n";
    struct client c = {.script = ask_and_read, .request = request};
    pthread_t thread;

    (void)state;
    c.alone = true;
    pthread_create(&thread, NULL, client_main, &c);
    while (!saw.later)
        uv_run(&loop, UV_RUN_ONCE);
    stop(5000);
    pthread_join(thread, NULL);
    assert_has(c.got, "Connection: close\r\n");
    assert_has(c.got, "late");
    free(c.got);
}

static void a_stop_cuts_what_outlasts_its_grace(void **state)
{
    static const char request[] = "GET /held HTTP/1.1\r\nHost: h\r\n\r\n";
    struct client c = {.script = ask_and_leave, .request = request};

    (void)state;
    client_run(&c);
    stop(10);
    assert_true(http_gone(saw.held));
    assert_int_equal(http_header(saw.held, "Host").n, 0);
    http_stream_begin(saw.held, 200, NULL, NULL, count_close, NULL);
    assert_int_equal(saw.closes, 0);
    http_stream_end(saw.held, true);
    assert_int_equal(saw.closes, 1);
}

static void a_stop_with_a_paused_stream_closes_it(void **state)
{
    static const char request[] = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";
    struct client c = {.script = ask_and_leave, .request = request};

    (void)state;
    client_run(&c);
    stop(10);
    assert_int_equal(saw.closes, 1);
}

static void an_address_that_cannot_be_used_is_told(void **state)
{
    struct http_options o = {.listen = "127.0.0.1:0",
                             .connections = 10,
                             .idle_s = 10,
                             .body_max = BODY_MAX};
    static const char *const bad[] = {"",      "127.0.0.1", "localhost:80",
                                      ":80",   "1.2.3.4:x", "1.2.3.4:65536",
                                      "[::1:", "[::1]",     "1.2.3.4:8 "};
    struct http *other = NULL;
    char taken[32];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.listen = bad[i];
        assert_string_equal(err_name(http_listen(&loop, &o, &other)),
                            "ERR_FORMAT");
    }
    snprintf(taken, sizeof taken, "127.0.0.1:%d", http_port(http));
    o.listen = taken;
    assert_string_equal(err_name(http_listen(&loop, &o, &other)), "EADDRINUSE");
    assert_null(other);
}

#define server_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define own_server_test(name)                                                  \
    cmocka_unit_test_setup_teardown(name, NULL, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(path_and_query_arrive_decoded),
        server_test(what_is_not_there_is_404_and_another_method_405),
        server_test(a_target_that_is_no_text_is_400),
        server_test(a_body_of_untold_length_is_refused),
        server_test(head_gets_the_headers_alone),
        server_test(pipelined_requests_are_answered_in_order),
        server_test(a_body_is_collected_up_to_its_limit),
        server_test(an_endless_body_is_cut),
        server_test(a_slow_client_gets_all_of_a_stream_within_bounded_memory),
        server_test(a_client_that_leaves_ends_its_stream_once),
        server_test(a_failed_stream_is_seen_to_be_incomplete),
        server_test(a_problem_is_json_whatever_its_text),
        own_server_test(a_silent_connection_is_cut),
        own_server_test(more_connections_than_the_limit_wait_their_turn),
        server_test(a_stop_lets_an_answer_finish),
        server_test(a_stop_cuts_what_outlasts_its_grace),
        server_test(a_stop_with_a_paused_stream_closes_it),
        server_test(an_address_that_cannot_be_used_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
