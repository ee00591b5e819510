/*
 * The API over a store that is played here: pg_call below answers as
 * PostgreSQL would for one tenant with one meter and READINGS captures of two
 * registers, one a minute. A blocking client asks from another thread.
 */
#include "server/api/api.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CAPTURES = 5000, COLUMNS = 11, METER = 7 };
static const int64_t start_us = 1767225600 * US_PER_S; /* 2026-01-01 */
static const char *const registers[] = {"6-0:1.0.0", "6-0:2.0.0"};
static const char hash_of_good[] = /* BLAKE2b-256 of "good" */
    "b372cfc4e0df62d9d3069ad32f08deee3e6258e1e61ba0fa08ce0406546ac170";

static uv_loop_t loop;
static struct http *http;
static struct api *api;
static int64_t now_us;

/* The store. */
static struct {
    int lookups, calls;
    int fail_after; /* calls answered before it fails; -1: never */
    int refuse;     /* what pg_call itself returns */
    char token[80];
    const char *not_ready;
    int64_t pending;
} store;

struct pending {
    struct pg_call call;
    char *values[PG_PARAMS];
    struct ticker *answer;
    struct pg_outcome outcome;
};

static void send_row(struct pending *p, int n, const char *const *values)
{
    static PGresAttDesc columns[COLUMNS];
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_SINGLE_TUPLE);

    for (int i = 0; i < COLUMNS; i++)
        columns[i].name = (char *)"column";
    PQsetResultAttrs(res, n, columns);
    for (int i = 0; i < n; i++)
        PQsetvalue(res, 0, i, (char *)values[i],
                   values[i] ? (int)strlen(values[i]) : -1);
    p->outcome.rows++;
    p->call.row(p->call.arg, res, 0);
    PQclear(res);
}

static int64_t time_of(const char *text, int64_t open)
{
    struct stamp t;

    return stamp_parse(str_of(text), &t) == 0 ? t.us : open;
}

static void answer_token(struct pending *p)
{
    store.lookups++;
    assert_int_equal(p->call.tenant_id, PG_NO_TENANT);
    if (strcmp(p->values[0], store.token) == 0)
        send_row(p, 5, (const char *const[]){"3", "1", "test", "32767", "f"});
}

static void answer_meter(struct pending *p)
{
    assert_int_equal(p->call.tenant_id, 3);
    if (p->call.n != 2 || atoi(p->values[1]) != METER)
        return;
    if (strstr(p->call.sql, "meter_json"))
        send_row(p, 1, (const char *const[]){"{\"meter_id\":7}"});
    else
        send_row(p, 9,
                 (const char *const[]){"7", "A\"1", "heo-g4", "gas", "heo-json",
                                       NULL, "UTC", "in_service", NULL});
}

/* First capture at or after a time, as its number. */
static int64_t capture_at(int64_t us)
{
    return us <= start_us
               ? 0
               : (us - start_us + 60 * US_PER_S - 1) / (60 * US_PER_S);
}

static void answer_window(struct pending *p)
{
    int64_t first = capture_at(time_of(p->values[2], INT64_MIN));
    int64_t end = capture_at(time_of(p->values[3], INT64_MAX / 2));
    int64_t limit = atoll(p->values[4]), n;
    char last[24], count[24];
    int64_t last_us;

    if (end > CAPTURES)
        end = CAPTURES;
    n = end > first ? end - first : 0;
    n = n < limit ? n : limit;
    snprintf(count, sizeof count, "%" PRId64, n);
    last_us = start_us + (first + n - 1) * 60 * US_PER_S;
    snprintf(last, sizeof last, "%" PRId64, last_us);
    send_row(p, 2, (const char *const[]){n ? last : NULL, count});
}

static void answer_readings(struct pending *p)
{
    int64_t from_us = time_of(p->values[2], INT64_MIN);
    int64_t end = capture_at(time_of(p->values[3], INT64_MAX / 2));
    int64_t left = atoll(p->values[6]);

    for (int64_t i = capture_at(from_us); i < end && i < CAPTURES; i++)
        for (int k = 0; k < 2 && left > 0; k++) {
            int64_t us = start_us + i * 60 * US_PER_S;
            char time[24], value[24];

            if ((p->values[4] && strcmp(p->values[4], registers[k]) != 0) ||
                (p->values[5] && us == from_us &&
                 strcmp(registers[k], p->values[5]) <= 0))
                continue;
            snprintf(time, sizeof time, "%" PRId64, us);
            snprintf(value, sizeof value, "%" PRId64 ".50", i);
            send_row(p, COLUMNS,
                     (const char *const[]){registers[k], "kWh", "cumulative",
                                           time, value, "5", NULL, time, "500",
                                           "0", "99"});
            left--;
        }
}

/* 3000 minutes of one frame each; or their sum. */
static void answer_ledger(struct pending *p)
{
    int64_t limit = p->call.n == 7 ? atoll(p->values[6]) : 0;
    int64_t i = p->call.n == 7 && p->values[5]
                    ? capture_at(time_of(p->values[5], 0)) + 1
                    : 0;
    char time[24];

    if (p->call.n == 3)
        send_row(p, 7,
                 (const char *const[]){NULL, "3000", "0", "1", NULL, "7", "2"});
    for (; i < 3000 && limit > 0; i++, limit--) {
        snprintf(time, sizeof time, "%lld",
                 (long long)(start_us + i * 60 * US_PER_S));
        send_row(p, 7,
                 (const char *const[]){time, "1", "0", "0", "0", "0", "0"});
    }
}

static void answer_reasons(struct pending *p)
{
    send_row(p, 2, (const char *const[]){"unknown_meter", "2"});
    send_row(p, 2, (const char *const[]){"too_\"deep", "1"});
}

static void answer_quarantine(struct pending *p)
{
    const char *row[] = {"99", "1767225600000000", "decode_failed", "why", "7",
                         "A1", "heo-json",         "\\x0102"};

    if (p->call.n == 2 && strcmp(p->values[1], "99") == 0)
        send_row(p, 8, row);
    else if (p->call.n == 13 && !p->values[10])
        send_row(p, 6, row);
}

static void answer(void *arg)
{
    static const struct {
        const char *part;
        void (*answer)(struct pending *p);
    } answers[] = {{"authenticate_key", answer_token},
                   {"FROM reading_current", answer_readings},
                   {"count(*) FROM (SELECT time", answer_window},
                   {"FROM ledger", answer_ledger},
                   {"GROUP BY q.reason", answer_reasons},
                   {"FROM quarantine", answer_quarantine},
                   {"FROM meter m", answer_meter}};
    struct pending *p = arg;

    if (store.fail_after == 0)
        p->outcome.err = ERR_AWAY;
    for (size_t i = 0;
         i < sizeof answers / sizeof *answers && p->outcome.err == 0; i++)
        if (strstr(p->call.sql, answers[i].part)) {
            answers[i].answer(p);
            break;
        }
    if (store.fail_after > 0)
        store.fail_after--;
    p->call.done(p->call.arg, &p->outcome);
    for (int i = 0; i < p->call.n; i++)
        free(p->values[i]);
    ticker_free(p->answer);
    free(p);
}

int pg_call(struct pg_pool *pool, const struct pg_call *c)
{
    struct pending *p;

    assert_null(pool);
    if (store.refuse < 0)
        return store.refuse;
    store.calls++;
    p = mem_alloc(sizeof *p);
    p->call = *c;
    for (int i = 0; i < c->n; i++)
        p->values[i] = mem_strdup(c->values[i]);
    p->answer = ticker_new(&loop, answer, p);
    ticker_start(p->answer, 0, 0);
    return 0;
}

static void metrics(struct buf *out, void *arg)
{
    (void)arg;
    buf_z(out, "headend_frames_pending 3\n");
}

static int64_t pending(int32_t tenant_id, void *arg)
{
    (void)arg;
    return tenant_id == 3 ? store.pending : 0;
}

static void examine(struct str record, struct str codec, struct arena *a,
                    struct api_examined *ret, void *arg)
{
    (void)a;
    (void)arg;
    assert_true(str_is(record, "\x01\x02"));
    *ret = (struct api_examined){.payload = STR("\x1e\x04"),
                                 .codec = codec,
                                 .error = STR("record cut off"),
                                 .offset = 1};
}

static const char *not_ready(void *arg)
{
    (void)arg;
    return store.not_ready;
}

static int64_t fake_now(void *arg)
{
    (void)arg;
    return now_us;
}

static int setup(void **state)
{
    static const struct clock clock = {fake_now, fake_now, NULL};
    struct http_options o = {.listen = "127.0.0.1:0",
                             .connections = 20,
                             .idle_s = 10,
                             .body_max = 1000};
    struct api_deps deps = {.loop = &loop,
                            .clock = &clock,
                            .metrics = metrics,
                            .not_ready = not_ready,
                            .pending = pending,
                            .examine = examine};

    (void)state;
    memset(&store, 0, sizeof store);
    store.fail_after = -1;
    snprintf(store.token, sizeof store.token, "%s", hash_of_good);
    now_us = start_us;
    uv_loop_init(&loop);
    if (http_listen(&loop, &o, &http) < 0)
        return -1;
    deps.http = http;
    return api_new(&deps, &api);
}

static void nothing(void *arg)
{
    (void)arg;
}

static int teardown(void **state)
{
    (void)state;
    http_stop(http, 1000, nothing, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    http_free(http);
    api_free(api);
    return uv_loop_close(&loop);
}

/* The client. */
struct client {
    const char *request;
    char *got;
    size_t n;
    int end; /* 0: orderly, else errno */
    uv_async_t over;
};

static void *client_main(void *arg)
{
    struct client *c = arg;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_port(http)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t cap = 4 * 1024 * 1024;
    ssize_t n = -1;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    c->got = mem_alloc(cap + 1);
    if (connect(fd, (void *)&at, sizeof at) == 0 &&
        send(fd, c->request, strlen(c->request), MSG_NOSIGNAL) > 0)
        while ((n = recv(fd, c->got + c->n, cap - c->n, 0)) > 0)
            c->n += (size_t)n;
    c->end = n < 0 ? errno : 0;
    close(fd);
    uv_async_send(&c->over);
    return NULL;
}

static void on_over(uv_async_t *async)
{
    uv_close((uv_handle_t *)async, NULL);
    uv_stop(async->loop);
}

/* HTTP/1.0, so that the body comes as it is. */
static struct client ask(const char *target, const char *headers)
{
    char request[512];
    struct client c = {.request = request};
    pthread_t thread;

    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n%s\r\n", target,
             headers);
    uv_async_init(&loop, &c.over, on_over);
    assert_int_equal(pthread_create(&thread, NULL, client_main, &c), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return c;
}

static const char good[] = "Authorization: Bearer good\r\n";

static void assert_answer(struct client c, int status, const char *part)
{
    assert_int_equal(c.end, 0);
    if (atoi(c.got + 9) != status || !strstr(c.got, part))
        fail_msg("not %d with \"%s\": %s", status, part, c.got);
    free(c.got);
}

static void a_request_without_a_token_is_401(void **state)
{
    (void)state;
    assert_answer(ask("/api/v1/meters", ""), 401,
                  "WWW-Authenticate: Bearer\r\n");
    assert_answer(ask("/api/v1/meters", "Authorization: Basic eDp5\r\n"), 401,
                  "");
    assert_answer(ask("/api/v1/meters", "Authorization: Bearer bad\r\n"), 401,
                  "invalid_token");
    assert_int_equal(store.lookups, 1);
}

static void a_token_is_looked_up_again_after_five_seconds(void **state)
{
    (void)state;
    assert_answer(ask("/api/v1/meters", good), 200, "\"meters\":[]");
    now_us += 4 * US_PER_S;
    assert_answer(ask("/api/v1/meters", "authorization: bearer good\r\n"), 200,
                  "");
    assert_int_equal(store.lookups, 1);
    store.token[0] = 'x'; /* taken back */
    now_us += 2 * US_PER_S;
    assert_answer(ask("/api/v1/meters", good), 401, "");
    assert_int_equal(store.lookups, 2);
}

static void a_store_that_is_away_is_503_with_retry_after(void **state)
{
    (void)state;
    store.refuse = ERR_FULL;
    assert_answer(ask("/api/v1/meters", good), 503, "Retry-After: 5\r\n");
    store.refuse = 0;
    for (int calls = 0; calls < 4; calls++) {
        store.fail_after = calls;
        now_us += 10 * US_PER_S;
        assert_answer(ask("/api/v1/meters/7/readings", good), 503,
                      "Retry-After: 5\r\n");
    }
}

static void a_bad_parameter_is_400_and_named(void **state)
{
    static const struct {
        const char *target, *field;
    } bad[] = {
        {"/api/v1/meters?limits=3", "limits"},
        {"/api/v1/meters/7?limit=3", "limit"},
        {"/api/v1/meters?limit=0", "limit"},
        {"/api/v1/meters?limit=10001", "limit"},
        {"/api/v1/meters?limit=", "limit"},
        {"/api/v1/meters?limit=-1", "limit"},
        {"/api/v1/meters?limit=1.5", "limit"},
        {"/api/v1/meters?limit=99999999999999999999", "limit"},
        {"/api/v1/meters?after=%3D", "after"},
        {"/api/v1/meters?after=", "after"},
        {"/api/v1/meters?after=MQ", "after"},             /* "1" */
        {"/api/v1/meters/7/readings?after=My4", "after"}, /* "3." */
        {"/api/v1/frames?after=My4", "after"},
        {"/api/v1/meters/7/readings?from=2026-01-01", "from"},
        {"/api/v1/meters/7/readings?from=2026-01-01T00:00:00", "from"},
        {"/api/v1/meters/7/readings?to=now", "to"},
        {"/api/v1/meters/7/readings?from=2026-01-01T00:00:00Z"
         "&to=2026-01-01T00:00:00Z",
         "to"},
        {"/api/v1/meters/7/readings?register=1.x", "register"},
        {"/api/v1/meters/7/readings?format=xml", "format"},
        {"/api/v1/frames?fate=lost", "fate"},
        {"/api/v1/frames?meter_id=x", "meter_id"},
        {"/api/v1/ledger?by=week", "by"},
        {"/api/v1/ledger?tenant=1", "tenant"},
        {"/api/v1/ledger?by=total&after=MS4", "after"}, /* "1." */
        {"/api/v1/quarantine?fate=stored", "fate"},
        {"/api/v1/quarantine?after=My4", "after"},
        {"/api/v1/quarantine?source=sea", "source"},
        {"/api/v1/quarantine?from=2026-01-01T00:00:00Z"
         "&to=2026-01-01T00:00:00Z",
         "to"},
    };
    char field[64];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(field, sizeof field, "\"field\":\"%s\"", bad[i].field);
        assert_answer(ask(bad[i].target, good), 400, field);
    }
}

static void what_the_tenant_does_not_have_is_404(void **state)
{
    (void)state;
    assert_answer(ask("/api/v1/meters/8", good), 404, "problem");
    assert_answer(ask("/api/v1/meters/8/readings", good), 404, "");
    assert_answer(ask("/api/v1/meters/0", good), 404, "");
    assert_answer(ask("/api/v1/meters/seven", good), 404, "");
    assert_answer(ask("/api/v1/frames/12", good), 404, "");
    assert_answer(ask("/api/v1/meters/7", good), 200, "{\"meter_id\":7}\n");
}

/* Follows `line` after `line` of a CSV body. */
static void assert_all_readings(const char *body, int first, int count)
{
    const char *line = strstr(body, "\r\n") + 2;

    for (int i = 2 * first; i < 2 * (first + count); i++) {
        char want[128], time[TIME_TEXT];

        time_text(start_us + i / 2 * 60 * US_PER_S, time);
        snprintf(want, sizeof want,
                 "%s,kWh,cumulative,%s,%d.50,5,,%s,500,0,99\r\n",
                 registers[i % 2], time, i / 2, time);
        if (strncmp(line, want, strlen(want)) != 0)
            fail_msg("row %d is not %s but %.60s", i, want, line);
        line += strlen(want);
    }
    assert_string_equal(line, "");
}

static void csv_holds_every_reading_once_across_pages(void **state)
{
    struct client c = ask("/api/v1/meters/7/readings?format=csv", good);
    const char *body = strstr(c.got, "\r\n\r\n") + 4;

    (void)state;
    assert_non_null(strstr(c.got, "Content-Type: text/csv"));
    assert_memory_equal(body, "register,unit,kind,time,value,quality,", 38);
    assert_all_readings(body, 0, CAPTURES);
    free(c.got);
    assert_in_range(store.calls, CAPTURES / 500, CAPTURES / 100);
}

static void a_period_is_open_at_its_end(void **state)
{
    struct client c = ask("/api/v1/meters/7/readings?"
                          "from=2026-01-01T02:01:00+02:00&"
                          "to=2026-01-01T00:03:00Z",
                          "Accept: text/csv\r\n"
                          "Authorization: Bearer good\r\n");

    (void)state;
    assert_all_readings(strstr(c.got, "\r\n\r\n") + 4, 1, 2);
    free(c.got);
}

static void a_json_page_goes_on_where_its_cursor_points(void **state)
{
    char target[256] = "/api/v1/meters/7/readings?limit=777", after[64];
    int rows = 0, pages = 0;

    (void)state;
    for (;;) {
        struct client c = ask(target, good);
        const char *at = c.got, *next = strstr(c.got, "],\"next\":");

        assert_non_null(next);
        for (; (at = strstr(at, "\"value\":\"")); rows++, at++)
            assert_int_equal(atoi(at + 9), rows / 2);
        pages++;
        if (sscanf(next, "],\"next\":\"%60[^\"]\"}", after) != 1) {
            assert_string_equal(next, "],\"next\":null}\n");
            free(c.got);
            break;
        }
        snprintf(target, sizeof target,
                 "/api/v1/meters/7/readings?limit=777&after=%s", after);
        free(c.got);
    }
    assert_int_equal(rows, 2 * CAPTURES);
    assert_int_equal(pages, (2 * CAPTURES + 776) / 777);
}

static void a_json_reading_says_all_it_knows(void **state)
{
    (void)state;
    assert_answer(
        ask("/api/v1/meters/7/readings?limit=1&register=6-0:2.0.0", good), 200,
        "{\"meter_id\":7,\"serial\":\"A\\\"1\",\"readings\":["
        "{\"register\":\"6-0:2.0.0\",\"unit\":\"kWh\",\"kind\":\"cumulative\","
        "\"time\":\"2026-01-01T00:00:00Z\",\"value\":\"0.50\",\"quality\":5,"
        "\"flags\":[\"no_meter_time\",\"time_shifted\"],\"meter_time\":null,"
        "\"received_at\":\"2026-01-01T00:00:00Z\",\"uncertainty_ms\":500,"
        "\"revision\":0,\"frame_id\":\"99\"}],\"next\":\"");
}

static void a_list_that_fails_half_way_is_cut(void **state)
{
    struct client c;

    (void)state;
    store.fail_after = 8;
    c = ask("/api/v1/meters/7/readings?format=csv", good);
    assert_string_equal(uv_err_name(-c.end), "ECONNRESET");
    free(c.got);
}

static void the_ledgers_last_row_is_what_is_pending(void **state)
{
    (void)state;
    store.pending = 4;
    assert_answer(ask("/api/v1/ledger?by=minute&limit=10000", good), 200,
                  "{\"received\":1,\"period\":\"2026-01-03T01:59:00Z\","
                  "\"stored\":1,\"duplicate\":0,\"quarantined\":0,"
                  "\"rejected\":0,\"pending\":0,\"missing\":0,\"late\":0},"
                  "{\"received\":4,\"period\":null,\"stored\":0,"
                  "\"duplicate\":0,\"quarantined\":0,\"rejected\":0,"
                  "\"pending\":4,\"missing\":0,\"late\":0}],\"next\":null}\n");
    assert_answer(ask("/api/v1/ledger?by=minute&limit=2999", good), 200,
                  "\"pending\":0,\"missing\":0,\"late\":0}],\"next\":\"");
    assert_answer(ask("/api/v1/ledger?by=total", good), 200,
                  "{\"by\":\"total\",\"ledger\":[{\"received\":3005,"
                  "\"period\":null,\"stored\":3000,\"duplicate\":0,"
                  "\"quarantined\":1,\"rejected\":0,\"pending\":4,"
                  "\"missing\":7,\"late\":2}],"
                  "\"next\":null}\n");
    assert_answer(ask("/api/v1/ledger?by=total&to=2026-01-02T00:00:00Z", good),
                  200, "\"received\":3001");
    store.pending = -1;
    assert_answer(ask("/api/v1/ledger?by=total", good), 200,
                  "\"pending\":null,\"missing\":7,\"late\":2}]");
}

static void quarantine_counts_by_reason_and_shows_one(void **state)
{
    static const char frame[] =
        "{\"frame_id\":\"99\",\"received_at\":\"2026-01-01T00:00:00Z\","
        "\"reason\":\"decode_failed\",\"detail\":\"why\","
        "\"meter_id\":7,\"serial\":\"A1\"";
    char want[640];

    (void)state;
    snprintf(want, sizeof want,
             "{\"reasons\":[{\"reason\":\"unknown_meter\",\"frames\":2},"
             "{\"reason\":\"too_\\\"deep\",\"frames\":1}],"
             "\"quarantine\":[%s}],\"next\":null}\n",
             frame);
    assert_answer(ask("/api/v1/quarantine", good), 200, want);
    snprintf(want, sizeof want,
             "%s,\"device\":null,\"payload\":\"1e04\","
             "\"payload_text\":\"\\u001e\\u0004\","
             "\"codec\":\"heo-json\",\"decoded\":null,"
             "\"error\":\"record cut off\",\"error_offset\":1}\n",
             frame);
    assert_answer(ask("/api/v1/quarantine/99", good), 200, want);
    assert_answer(ask("/api/v1/quarantine/98", good), 404, "");
}

static void health_needs_no_token(void **state)
{
    (void)state;
    assert_answer(ask("/healthz", ""), 200, "\r\n\r\nok\n");
    assert_answer(ask("/readyz", ""), 200, "\r\n\r\nready\n");
    store.not_ready = "the journal is full";
    assert_answer(ask("/readyz", ""), 503, "\r\n\r\nthe journal is full\n");
    assert_answer(ask("/metrics", ""), 200,
                  "\r\n\r\nheadend_frames_pending 3\n");
    assert_answer(ask("/", ""), 200, "\"meters\":\"/api/v1/meters\"");
    assert_int_equal(store.calls, 0);
}

#define api_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        api_test(a_request_without_a_token_is_401),
        api_test(a_token_is_looked_up_again_after_five_seconds),
        api_test(a_store_that_is_away_is_503_with_retry_after),
        api_test(a_bad_parameter_is_400_and_named),
        api_test(what_the_tenant_does_not_have_is_404),
        api_test(csv_holds_every_reading_once_across_pages),
        api_test(a_period_is_open_at_its_end),
        api_test(a_json_page_goes_on_where_its_cursor_points),
        api_test(a_json_reading_says_all_it_knows),
        api_test(a_list_that_fails_half_way_is_cut),
        api_test(the_ledgers_last_row_is_what_is_pending),
        api_test(quarantine_counts_by_reason_and_shows_one),
        api_test(health_needs_no_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
