/*
 * A HEO-JSON session over a journal and a clock that the test moves by hand.
 */
#include "ingest/heo_session.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* */
#include <cmocka.h>

enum { JOBS = 5000 };

/* The journal: keeps what it was given until the test settles it. */
static struct job {
    journal_done_fn *done;
    void *arg;
    int32_t tenant, integration;
    char identity[80];
    struct buf payload;
} jobs[JOBS];
static int n_jobs, settled, refuse;

static struct {
    int n;
    char reason[40];
    uint32_t size;
    struct str payload;
} rejects;

static int64_t now_us, rtt_us;
static struct heo_counts counts;
static struct directory *directory;
static struct heo_session *session;
static int changes;

static int64_t fake_utc(void *arg)
{
    (void)arg;
    return 1768478400 * US_PER_S + now_us; /* 2026-01-15T12:00:00Z */
}

static int64_t fake_mono(void *arg)
{
    (void)arg;
    return now_us;
}

static const struct clock fake_clock = {fake_utc, fake_mono, NULL};

/* The queue of commands: is there one, and how often was it asked? */
static bool has_command;
static int windows;

static bool fake_window(void *arg, int32_t tenant, int32_t meter)
{
    (void)arg;
    windows++;
    return tenant == 1 && meter == 7 && has_command;
}

static const struct ingest_options options = {
    .window = fake_window,
    .tcp_line_max = 1000,
    .tcp_depth_max = 8,
    .tcp_rate = 20,
    .tcp_idle_ms = 120000,
    .tcp_bye_ms = 300,
    .tcp_linger_ms = 5000,
    .clock = &fake_clock,
};

static int fake_journal(void *arg, const struct frame *f, journal_done_fn *done,
                        void *done_arg)
{
    struct job *j = &jobs[n_jobs];

    (void)arg;
    if (refuse)
        return refuse;
    assert_true(n_jobs < JOBS);
    n_jobs++;
    j->done = done;
    j->arg = done_arg;
    j->tenant = f->tenant_id;
    j->integration = f->integration_id;
    snprintf(j->identity, sizeof j->identity, "%.*s", STR_ARGS(f->identity));
    buf_str(&j->payload, f->payload);
    return 0;
}

static void fake_reject(void *arg, const struct frame *f)
{
    (void)arg;
    rejects.n++;
    rejects.size = f->size;
    snprintf(rejects.reason, sizeof rejects.reason, "%s", f->rejected);
}

static void fake_changed(void *arg)
{
    (void)arg;
    changes++;
}

static int64_t fake_rtt(void *arg)
{
    (void)arg;
    return rtt_us;
}

static struct heo_host host = {
    .o = &options,
    .counts = &counts,
    .integration_id = 3,
    .journal = fake_journal,
    .reject = fake_reject,
    .changed = fake_changed,
    .rtt_us = fake_rtt,
};

static void feed(const char *text)
{
    heo_session_feed(session, str_of(text));
}

/* Answers the oldest `n` frames that the journal was given. */
static void settle(int n, int err)
{
    for (; n > 0 && settled < n_jobs; n--, settled++)
        jobs[settled].done(jobs[settled].arg, err);
}

static void pass_ms(int64_t ms)
{
    now_us += ms * 1000;
    heo_session_run(session);
}

/* What the meter hears, since it was last asked. */
static const char *heard(void)
{
    static char text[8192];
    struct buf *out = heo_session_out(session);

    snprintf(text, sizeof text, "%.*s", STR_ARGS(buf_view(out)));
    buf_clear(out);
    return text;
}

static const char HELLO[] = "{\"t\":\"hello\",\"v\":1,\"sn\":\"24000123\"}\n";

static void hello(void)
{
    feed(HELLO);
    settle(1, 0);
    heard();
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

static int setup(void **state)
{
    (void)state;
    n_jobs = settled = refuse = changes = windows = 0;
    has_command = false;
    memset(&rejects, 0, sizeof rejects);
    memset(&counts, 0, sizeof counts);
    now_us = 1000 * US_PER_S;
    rtt_us = 0;
    directory = directory_new();
    directory_put_integrations(directory, NULL, 0);
    put_meter(1, 7, "24000123");
    put_meter(1, 8, "24000999");
    put_meter(2, 9, "24000999");
    host.directory = directory;
    host.arena = arena_new(1024 * 1024);
    host.tenant_id = 1;
    host.quotas = quotas_new(&fake_clock);
    session = heo_session_new(&host, STR("192.0.2.7:40112"), NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    heo_session_free(session);
    settle(JOBS, 0);
    for (int i = 0; i < n_jobs; i++)
        buf_done(&jobs[i].payload);
    arena_free(host.arena);
    quotas_free(host.quotas);
    directory_free(directory);
    return 0;
}

static void hello_is_acknowledged_only_when_durable(void **state)
{
    (void)state;
    feed("{\"t\":\"hello\",\"sn\":\"24000123\","
         "\"clk\":\"2026-01-15T14:59:59+03:00\"}\r\n");
    assert_string_equal(heard(), "");
    assert_int_equal(n_jobs, 1);
    assert_string_equal(jobs[0].identity, "24000123");
    assert_int_equal(jobs[0].tenant, 1);
    assert_int_equal(jobs[0].integration, 3);
    settle(1, 0);
    assert_int_equal(changes, 1);
    assert_string_equal(heard(), "{\"t\":\"ack\",\"ref\":\"hello\",\"now\":"
                                 "\"2026-01-15T15:16:40+03:00\"}\n");
}

static void hello_without_a_zone_is_answered_in_utc(void **state)
{
    (void)state;
    feed("{\"t\":\"hello\",\"sn\":\"24000123\","
         "\"clk\":\"2026-01-15T14:59:59\"}");
    settle(1, 0);
    assert_string_equal(heard(), "{\"t\":\"ack\",\"ref\":\"hello\",\"now\":"
                                 "\"2026-01-15T12:16:40Z\"}\n");
}

static void unknown_serial_is_kept_then_refused(void **state)
{
    (void)state;
    feed("{\"t\":\"hello\",\"sn\":\"nobody\"}\n");
    assert_string_equal(heard(), "");
    assert_false(heo_session_ended(session));
    settle(1, 0);
    assert_string_equal(heard(),
                        "{\"t\":\"nak\",\"code\":\"unknown_device\"}\n");
    assert_true(heo_session_ended(session));
    assert_int_equal(jobs[0].tenant, 1);
    assert_int_equal(counts.acked, 0);
}

static void ambiguous_serial_on_a_shared_listener_is_nobodys(void **state)
{
    (void)state;
    heo_session_free(session);
    host.tenant_id = TENANT_PLATFORM;
    session = heo_session_new(&host, STR("peer"), NULL);
    feed("{\"t\":\"hello\",\"sn\":\"24000999\"}\n");
    settle(1, 0);
    assert_string_equal(heard(),
                        "{\"t\":\"nak\",\"code\":\"ambiguous_device\"}\n");
    assert_int_equal(jobs[0].tenant, TENANT_PLATFORM);
    assert_true(heo_session_ended(session));
}

static void shared_listener_takes_the_tenant_of_the_meter(void **state)
{
    int32_t tenant = 0, meter = 0;

    (void)state;
    put_meter(5, 50, "only-there");
    heo_session_free(session);
    host.tenant_id = TENANT_PLATFORM;
    session = heo_session_new(&host, STR("peer"), NULL);
    feed("{\"t\":\"hello\",\"sn\":\"only-there\"}\n");
    assert_int_equal(jobs[0].tenant, 5);
    assert_true(heo_session_meter(session, &tenant, &meter));
    assert_int_equal(tenant, 5);
    assert_int_equal(meter, 50);
}

static void nothing_is_journaled_before_the_directory_is_there(void **state)
{
    struct directory *empty = directory_new();

    (void)state;
    heo_session_free(session);
    host.directory = empty;
    session = heo_session_new(&host, STR("peer"), NULL);
    feed(HELLO);
    assert_string_equal(heard(), "{\"t\":\"nak\",\"code\":\"try_later\"}\n");
    assert_true(heo_session_ended(session));
    assert_int_equal(n_jobs, 0);
    directory_free(empty);
}

static void replies_leave_in_the_order_of_their_objects(void **state)
{
    (void)state;
    hello();
    feed("{\"t\":\"data\",\"seq\":1,\"rows\":[[1],[2]]}\n"
         "{\"t\":\"data\"}\n"
         "{\"t\":\"alarm\",\"seq\":2,\"items\":[{}]}\n");
    jobs[2].done(jobs[2].arg, 0);
    assert_string_equal(heard(), "");
    jobs[1].done(jobs[1].arg, 0);
    settled = 3;
    assert_string_equal(heard(), "{\"t\":\"ack\",\"seq\":1,\"n\":2}\n"
                                 "{\"t\":\"nak\",\"code\":\"no_seq\"}\n"
                                 "{\"t\":\"ack\",\"seq\":2,\"n\":1}\n");
    assert_int_equal(counts.frames, 3);
    assert_int_equal(counts.acked, 3);
    assert_int_equal(counts.rejected, 1);
}

static void each_type_is_answered_in_its_way(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"t\":\"res\",\"id\":\"c-9\",\"ok\":true}",
         "{\"t\":\"ack\",\"ref\":\"c-9\"}\n"},
        {"{\"t\":\"res\",\"id\":\"c\\\"9\"}",
         "{\"t\":\"ack\",\"ref\":\"c\\\"9\"}\n"},
        {"{\"t\":\"res\",\"id\":\"c-9\",\"seq\":5}",
         "{\"t\":\"ack\",\"seq\":5}\n"},
        {"{\"t\":\"dance\",\"seq\":6}",
         "{\"t\":\"nak\",\"code\":\"unknown_type\",\"seq\":6}\n"},
        {"{\"t\":\"data\",\"seq\":7}", "{\"t\":\"ack\",\"seq\":7,\"n\":0}\n"},
        {"{\"t\":\"data\",\"seq\":1.5}",
         "{\"t\":\"nak\",\"code\":\"no_seq\"}\n"},
        {"{\"seq\":8}", "{\"t\":\"nak\",\"code\":\"no_type\",\"seq\":8}\n"},
    };

    (void)state;
    hello();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        feed(cases[i].in);
        settle(1, 0);
        assert_string_equal(heard(), cases[i].out);
    }
    feed("{\"t\":\"bye\"}{\"t\":\"data\",\"seq\":9}");
    assert_string_equal(heard(), "{\"t\":\"bye\"}\n");
    assert_true(heo_session_ended(session));
    assert_int_equal(n_jobs, 6); /* bye and what follows it are no frames */
}

static void objects_are_journaled_as_they_came_wherever_cut(void **state)
{
    static const char stream[] =
        "{\"t\":\"hello\",\"sn\":\"24000123\"}{\"t\":\"data\" ,\"seq\":1,"
        "\"rows\":[[\"}{\\\"\",1.000]]}\r\n\n  {\"t\":\"alarm\",\"seq\":2,"
        "\"items\":[]}\n{\"t\":\"res\",\n\"id\":\"a\"}{\"t\":\"bye\"}";
    static const char *const objects[] = {
        "{\"t\":\"hello\",\"sn\":\"24000123\"}",
        "{\"t\":\"data\" ,\"seq\":1,\"rows\":[[\"}{\\\"\",1.000]]}",
        "{\"t\":\"alarm\",\"seq\":2,\"items\":[]}",
        "{\"t\":\"res\",\n\"id\":\"a\"}",
    };

    for (size_t cut = 0; cut < sizeof stream; cut++) {
        heo_session_feed(session, (struct str){stream, cut});
        heo_session_feed(session,
                         (struct str){stream + cut, sizeof stream - 1 - cut});
        assert_int_equal(n_jobs, 4);
        for (int i = 0; i < 4; i++)
            assert_true(str_is(buf_view(&jobs[i].payload), objects[i]));
        settle(4, 0);
        assert_true(heo_session_ended(session));
        teardown(state);
        setup(state);
    }
    for (size_t i = 0; i < sizeof stream - 1; i++)
        heo_session_feed(session, (struct str){stream + i, 1});
    settle(4, 0);
    assert_int_equal(counts.acked, 4);
}

static void what_is_no_frame_ends_the_session_with_a_reason(void **state)
{
    static char deep[10000], line[3000], nuls[3] = {0};
    const struct {
        const char *reason;
        bool after_hello;
        struct str in;
    } cases[] = {
        {"not_json", false, STR("GET / HTTP/1.0\r\n\r\n")},
        {"not_json", false, STR("\x16\x03\x01\x02")},
        {"not_json", false, {nuls, 3}},
        {"not_json", true, STR("[1]")},
        {"not_json", true, STR("{\"t\":}\n")},
        {"not_json", true, STR("{]")},
        {"not_json", true, STR("{\"t\":\"a\",\"t\":\"b\"}")},
        {"invalid_utf8", true, STR("{\"t\":\"\xff\"}")},
        {"too_deep", true, {deep, sizeof deep}},
        {"line_too_long", true, {line, sizeof line}},
        {"no_hello", false, STR("{\"t\":\"data\",\"seq\":1}")},
        {"no_hello", false, STR("{}")},
        {"bad_serial", false, STR("{\"t\":\"hello\"}")},
        {"bad_serial", false, STR("{\"t\":\"hello\",\"sn\":\"\"}")},
        {"bad_serial", false, STR("{\"t\":\"hello\",\"sn\":24000123}")},
        {"other_serial", true, STR("{\"t\":\"hello\",\"sn\":\"24000999\"}")},
    };
    char nak[80];

    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    memset(line, 'x', sizeof line);
    memcpy(line, "{\"", 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].after_hello)
            hello();
        heo_session_feed(session, cases[i].in);
        heo_session_eof(session);
        assert_string_equal(rejects.reason, cases[i].reason);
        snprintf(nak, sizeof nak, "{\"t\":\"nak\",\"code\":\"%s\"",
                 cases[i].reason);
        assert_int_equal(strncmp(heard(), nak, strlen(nak)), 0);
        assert_true(heo_session_ended(session));
        assert_int_equal(n_jobs, cases[i].after_hello);
        teardown(state);
        setup(state);
    }
}

static void blanks_take_no_memory_and_are_no_frames(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++)
        feed(" \r\n\t");
    assert_int_equal(rejects.n, 0);
    feed(HELLO);
    assert_int_equal(n_jobs, 1);
}

static void full_journal_pauses_and_is_tried_again(void **state)
{
    (void)state;
    hello();
    refuse = ERR_FULL;
    feed("{\"t\":\"data\",\"seq\":1}{\"t\":\"data\",\"seq\":2}");
    assert_false(heo_session_wants_bytes(session));
    assert_int_equal(n_jobs, 1);
    pass_ms(20000);
    assert_string_equal(heard(), "");
    refuse = 0;
    pass_ms(250);
    assert_true(heo_session_wants_bytes(session));
    assert_int_equal(n_jobs, 3);
    settle(2, 0);
    assert_string_equal(heard(), "{\"t\":\"ack\",\"seq\":1,\"n\":0}\n"
                                 "{\"t\":\"ack\",\"seq\":2,\"n\":0}\n");
    assert_int_equal(counts.frames, 3);
}

static void failed_write_is_repeated_without_the_meter(void **state)
{
    (void)state;
    hello();
    feed("{\"t\":\"data\",\"seq\":1}{\"t\":\"data\",\"seq\":2}");
    settle(1, UV_EIO);
    settle(1, 0); /* the second is durable, but must wait for the first */
    assert_string_equal(heard(), "");
    assert_false(heo_session_wants_bytes(session));
    pass_ms(250);
    assert_int_equal(n_jobs, 4);
    assert_true(
        str_is(buf_view(&jobs[3].payload), "{\"t\":\"data\",\"seq\":1}"));
    settle(1, 0);
    assert_string_equal(heard(), "{\"t\":\"ack\",\"seq\":1,\"n\":0}\n"
                                 "{\"t\":\"ack\",\"seq\":2,\"n\":0}\n");
    assert_int_equal(counts.frames, 3);
}

static void lasting_failure_asks_to_try_later(void **state)
{
    (void)state;
    hello();
    feed("{\"t\":\"data\",\"seq\":1}");
    refuse = UV_ENOSPC;
    settle(1, UV_ENOSPC);
    for (int i = 0; i < 119; i++)
        pass_ms(250);
    assert_false(heo_session_ended(session));
    pass_ms(500);
    assert_string_equal(heard(), "{\"t\":\"nak\",\"code\":\"try_later\"}\n");
    assert_true(heo_session_ended(session));
    assert_int_equal(counts.acked, 1); /* the hello */
}

static void what_waits_for_the_journal_is_bounded(void **state)
{
    int before;

    (void)state;
    hello();
    now_us += 1000 * US_PER_S;
    for (int i = 0; i < JOBS && heo_session_wants_bytes(session); i++) {
        char text[1000];

        memset(text, ' ', sizeof text);
        memcpy(text, "{\"t\":\"res\"", 10);
        text[998] = '}';
        text[999] = 0;
        now_us += US_PER_S;
        feed(text);
    }
    assert_true(n_jobs < 300);
    before = n_jobs;
    feed("{\"t\":\"data\",\"seq\":1}{\"t\":\"bye\"}");
    assert_int_equal(n_jobs, before);
    settle(JOBS, 0);
    assert_int_equal(n_jobs, before + 1); /* taken up from where it paused */
    settle(1, 0);
    assert_true(heo_session_ended(session));
}

static void flood_is_paused_and_loses_nothing(void **state)
{
    enum { SENT = 300 }; /* 20 a second, a burst of 200 */
    int64_t wait;

    (void)state;
    hello();
    for (int i = 0; i < SENT; i++)
        feed("{\"t\":\"res\"}");
    settle(JOBS, 0);
    assert_in_range(n_jobs, 199, 202);
    assert_false(heo_session_wants_bytes(session));
    wait = heo_session_due(session) - now_us;
    assert_in_range(wait, 1, 100000);
    for (int i = 0; i < 51; i++) {
        pass_ms(100);
        settle(JOBS, 0);
    }
    assert_int_equal(n_jobs, SENT + 1);
    assert_true(heo_session_wants_bytes(session));
}

static void tenant_over_its_quota_waits_for_its_turn_and_is_not_cut(
    void **state)
{
    (void)state;
    quotas_set(host.quotas, 1, 60); /* one a second, a burst of 10 */
    hello();
    for (int i = 0; i < 60; i++)
        feed("{\"t\":\"res\"}");
    settle(JOBS, 0);
    assert_int_equal(n_jobs,
                     12); /* the burst, and what has paid for its turn */
    assert_false(heo_session_wants_bytes(session));
    for (int i = 0; i < 60; i++) {
        pass_ms(1000);
        settle(JOBS, 0);
    }
    assert_int_equal(n_jobs, 61);
    assert_false(heo_session_ended(session));
    assert_true(heo_session_wants_bytes(session));
}

static void turn_too_far_away_is_said_and_what_was_taken_is_answered(
    void **state)
{
    int64_t at;

    (void)state;
    quotas_set(host.quotas, 1, 60);
    for (int i = 0; i < 100; i++)
        quotas_turn(host.quotas, 1, INT64_MAX, &at);
    feed("{\"t\":\"hello\",\"sn\":\"24000123\"}{\"t\":\"data\",\"seq\":1}");
    settle(JOBS, 0);
    assert_int_equal(n_jobs, 1);
    assert_non_null(
        strstr(heard(), "{\"t\":\"nak\",\"code\":\"try_later\"}\n"));
    assert_true(heo_session_ended(session));
}

static void bye_is_said_after_quiet_and_four_round_trips(void **state)
{
    (void)state;
    hello();
    rtt_us = 1000 * 1000;
    feed("{\"t\":\"data\",\"seq\":1}");
    pass_ms(60000); /* pending: no bye */
    settle(1, 0);
    heard();
    pass_ms(4299);
    assert_string_equal(heard(), "");
    pass_ms(1);
    assert_string_equal(heard(), "{\"t\":\"bye\"}\n");
    pass_ms(4999);
    assert_false(heo_session_ended(session));
    pass_ms(1);
    assert_true(heo_session_ended(session));
    assert_string_equal(heard(), "");
}

static void a_quiet_is_offered_once_and_held_for_a_command(void **state)
{
    (void)state;
    has_command = true;
    hello();
    assert_false(windows);
    assert_true(heo_session_listens(session));
    feed("{\"t\":\"data\",\"seq\":1}");
    assert_false(heo_session_listens(session)); /* not durable yet */
    settle(1, 0);
    heard();
    pass_ms(299);
    assert_int_equal(windows, 0);
    pass_ms(1);
    assert_int_equal(windows, 1);
    pass_ms(60000); /* held: neither asked again nor told bye */
    assert_int_equal(windows, 1);
    assert_string_equal(heard(), "");
    assert_int_equal(heo_session_command(session, STR("{\"t\":\"cmd\"}")), 0);
    assert_string_equal(heard(), "{\"t\":\"cmd\"}\n");
    pass_ms(300); /* said: is there another one? */
    assert_int_equal(windows, 2);
    heo_session_no_command(session);
    pass_ms(0);
    assert_string_equal(heard(), "{\"t\":\"bye\"}\n");
    assert_int_equal(heo_session_command(session, STR("{}")), ERR_AWAY);
}

static void a_meter_that_only_said_hello_listens_on(void **state)
{
    (void)state;
    hello();
    heard();
    pass_ms(300);
    assert_int_equal(windows, 1);
    pass_ms(100000);
    assert_int_equal(windows, 1);
    assert_string_equal(heard(), "");
    assert_true(heo_session_listens(session));
    assert_int_equal(heo_session_command(session, STR("{}")), 0);
    assert_string_equal(heard(), "{}\n");
}

static void new_bytes_cancel_the_linger(void **state)
{
    (void)state;
    hello();
    feed("{\"t\":\"alarm\",\"seq\":1}");
    settle(1, 0);
    pass_ms(300);
    heard();
    pass_ms(4999);
    feed("{\"t\":");
    pass_ms(100000);
    assert_false(heo_session_ended(session));
    feed("\"data\",\"seq\":2}");
    settle(1, 0);
    assert_string_equal(heard(), "{\"t\":\"ack\",\"seq\":2,\"n\":0}\n");
    pass_ms(300);
    assert_string_equal(heard(), "{\"t\":\"bye\"}\n");
}

static void silence_ends_a_session_without_data(void **state)
{
    (void)state;
    hello();
    pass_ms(119999);
    assert_false(heo_session_ended(session));
    assert_string_equal(heard(), ""); /* no bye: it has sent no data */
    pass_ms(1);
    assert_true(heo_session_ended(session));
}

static void dribbling_does_not_prolong_the_wait_for_a_hello(void **state)
{
    (void)state;
    feed("{\"t\":\"hello\",\"sn\":\"");
    for (int i = 0; i < 120; i++) {
        assert_false(heo_session_ended(session));
        pass_ms(1000);
        feed("1");
    }
    assert_true(heo_session_ended(session));
    assert_int_equal(n_jobs, 0);
}

static void end_of_input_is_answered_before_the_end(void **state)
{
    (void)state;
    feed(HELLO);
    feed("{\"t\":\"data\",\"seq\":1}{\"t\":\"da");
    heo_session_eof(session);
    assert_false(heo_session_wants_bytes(session));
    assert_false(heo_session_ended(session));
    settle(2, 0);
    assert_true(heo_session_ended(session));
    assert_int_equal(counts.acked, 2);
    assert_int_equal(rejects.n, 0); /* a cut call is no fault of the meter */
}

static void replaced_session_says_so_last(void **state)
{
    (void)state;
    hello();
    feed("{\"t\":\"data\",\"seq\":1}");
    heo_session_end(session, "replaced");
    feed("{\"t\":\"data\",\"seq\":2}");
    assert_false(heo_session_ended(session));
    settle(1, 0);
    assert_string_equal(heard(), "{\"t\":\"ack\",\"seq\":1,\"n\":0}\n"
                                 "{\"t\":\"nak\",\"code\":\"replaced\"}\n");
    assert_true(heo_session_ended(session));
    assert_int_equal(n_jobs, 2);
}

static void freed_session_hears_no_more_of_the_journal(void **state)
{
    (void)state;
    feed(HELLO);
    feed("{\"t\":\"data\",\"seq\":1}{\"t\":\"data\",\"seq\":2}");
    heo_session_free(session);
    session = NULL;
    settle(3, UV_EIO);
    assert_int_equal(changes, 0);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(hello_is_acknowledged_only_when_durable),
        CLAIM(hello_without_a_zone_is_answered_in_utc),
        CLAIM(unknown_serial_is_kept_then_refused),
        CLAIM(ambiguous_serial_on_a_shared_listener_is_nobodys),
        CLAIM(shared_listener_takes_the_tenant_of_the_meter),
        CLAIM(nothing_is_journaled_before_the_directory_is_there),
        CLAIM(replies_leave_in_the_order_of_their_objects),
        CLAIM(each_type_is_answered_in_its_way),
        CLAIM(objects_are_journaled_as_they_came_wherever_cut),
        CLAIM(what_is_no_frame_ends_the_session_with_a_reason),
        CLAIM(blanks_take_no_memory_and_are_no_frames),
        CLAIM(full_journal_pauses_and_is_tried_again),
        CLAIM(failed_write_is_repeated_without_the_meter),
        CLAIM(lasting_failure_asks_to_try_later),
        CLAIM(what_waits_for_the_journal_is_bounded),
        CLAIM(flood_is_paused_and_loses_nothing),
        CLAIM(tenant_over_its_quota_waits_for_its_turn_and_is_not_cut),
        CLAIM(turn_too_far_away_is_said_and_what_was_taken_is_answered),
        CLAIM(bye_is_said_after_quiet_and_four_round_trips),
        CLAIM(a_quiet_is_offered_once_and_held_for_a_command),
        CLAIM(a_meter_that_only_said_hello_listens_on),
        CLAIM(new_bytes_cancel_the_linger),
        CLAIM(silence_ends_a_session_without_data),
        CLAIM(dribbling_does_not_prolong_the_wait_for_a_hello),
        CLAIM(end_of_input_is_answered_before_the_end),
        CLAIM(replaced_session_says_so_last),
        CLAIM(freed_session_hears_no_more_of_the_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
