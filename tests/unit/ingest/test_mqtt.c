/*
 * Claims of ingest/mqtt.h. This program is also its own `headend bridge`: the
 * integration's username tells the child how to behave. The journal is played
 * by the test, so that it can refuse, wait and fail.
 */
#include "ingest/admit.h"
#include "ingest/link.h"
#include "ingest/mqtt.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the child ---- */

static struct buf child_in;

static void child_write(const struct buf *b)
{
    if (write(3, b->p, b->n) != (ssize_t)b->n)
        _exit(20);
}

static enum link_type child_read(struct bytes *body)
{
    static int last;
    enum link_type type;
    int r;

    child_in.n -= (size_t)last;
    if (child_in.n)
        memmove(child_in.p, child_in.p + last, child_in.n);
    while ((r = link_record(buf_view(&child_in), &type, body)) == 0) {
        ssize_t n = read(3, buf_room(&child_in, 4096), 4096);
        if (n <= 0)
            _exit(21);
        child_in.n += (size_t)n;
    }
    last = r;
    return type;
}

static void child_state(enum link_state state, const char *text)
{
    struct buf b = {0};

    link_put_state(&b, state, str_of(text));
    child_write(&b);
    buf_done(&b);
}

static void child_frame(uint64_t id, uint32_t size, const char *topic,
                        struct str payload)
{
    struct buf b = {0};

    link_put_frame(&b, id, size, str_of(topic), payload);
    child_write(&b);
    buf_done(&b);
}

static void child_send(uint64_t id, const char *payload)
{
    child_frame(id, (uint32_t)strlen(payload), "t/up", str_of(payload));
}

static void child_await(uint64_t id)
{
    struct bytes body;
    uint64_t got = 0;

    if (child_read(&body) != LINK_ACK || link_get_ack(&body, &got) < 0 ||
        got != id)
        _exit(22);
}

static void child_three_frames(void)
{
    child_state(LINK_SUBSCRIBED, "");
    for (uint64_t id = 1; id <= 3; id++) {
        child_send(id, id == 1 ? "one" : id == 2 ? "two" : "three");
        child_await(id);
    }
}

static void child_crash(void)
{
    child_send(1, "again");
    child_await(1);
    _exit(9);
}

static void child_die_unanswered(void)
{
    child_send(1, "unanswered");
    _exit(9);
}

static void child_large(void)
{
    child_frame(1, 1000000, "t/up", STR("sample"));
    child_await(1);
    child_send(2, "small");
    child_await(2);
}

static void child_garbage(void)
{
    if (write(3, "\1\0\0\0\7", 5) == 5)
        pause();
}

static void child_stubborn(void)
{
    signal(SIGTERM, SIG_IGN);
    child_send(1, "stubborn");
    child_await(1);
}

/* Says what it was told, as a frame. */
static struct link_config told;
static void child_echo(void)
{
    struct buf b = {0};

    buf_printf(&b, "%.*s|%.*s|%u", STR_ARGS(told.url), STR_ARGS(told.password),
               told.payload_max);
    for (uint32_t i = 0; i < told.n_topics; i++)
        buf_printf(&b, "|%.*s", STR_ARGS(told.topics[i]));
    buf_printf(&b, "|%s", getenv("HEADEND_SECRET") ? "leaked" : "clean");
    buf_u8(&b, 0);
    child_frame(1, (uint32_t)b.n - 1,
                mem_strndup(told.client_id.p, told.client_id.n),
                (struct str){(char *)b.p, b.n - 1});
    child_await(1);
}

static int child_main(void)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } ways[] = {{"three", child_three_frames},
                {"crash", child_crash},
                {"unanswered", child_die_unanswered},
                {"large", child_large},
                {"garbage", child_garbage},
                {"stubborn", child_stubborn},
                {"echo", child_echo}};
    struct bytes body;

    if (child_read(&body) != LINK_CONFIG || link_get_config(&body, &told) < 0)
        return 23;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (str_is(told.username, ways[i].name))
            ways[i].fn();
    for (;;)
        pause();
}

/* ---- the journal, as the test plays it ---- */

static struct seen {
    char *payload, *topic, *peer;
    struct frame f;
    int64_t at_ms;
} seen[32];
static int n_seen, n_rejected;

static uv_loop_t loop;
static int refuse; /* so many offers get ERR_FULL */
static int fail;   /* so many appends end with ENOSPC */
static bool hold;  /* durable only after release() */
static struct {
    journal_done_fn *fn;
    void *arg;
} held[8];
static int n_held;
static struct ticker *durable;

struct door {
    int unused;
};

struct door *door_new(uv_loop_t *l, struct journal *j, const struct clock *c)
{
    (void)l, (void)j, (void)c;
    return mem_alloc(sizeof(struct door));
}

void door_free(struct door *d)
{
    free(d);
}

static void on_durable(void *arg)
{
    (void)arg;
    while (n_held > 0) {
        n_held--;
        held[n_held].fn(held[n_held].arg, fail-- > 0 ? UV_ENOSPC : 0);
    }
}

static void release(void)
{
    hold = false;
    ticker_start(durable, 0, 0);
}

static void note(const struct frame *f, journal_done_fn *done, void *arg)
{
    assert_true(n_held < 8);
    held[n_held].fn = done;
    held[n_held++].arg = arg;
    if (n_seen < 32)
        seen[n_seen++] = (struct seen){mem_strndup(f->payload.p, f->payload.n),
                                       mem_strndup(f->topic.p, f->topic.n),
                                       mem_strndup(f->peer.p, f->peer.n), *f,
                                       (int64_t)uv_now(&loop)};
    if (!hold)
        ticker_start(durable, 0, 0);
}

int admit_frame(struct journal *j, const struct frame *f, journal_done_fn *done,
                void *arg)
{
    (void)j;
    if (refuse > 0) {
        refuse--;
        return ERR_FULL;
    }
    note(f, done, arg);
    return 0;
}

void admit_reject(struct door *d, const struct frame *f, journal_done_fn *done,
                  void *arg)
{
    (void)d;
    n_rejected++;
    note(f, done, arg);
}

/* ---- the tests ---- */

static struct mqtt *m;
static struct quotas *quotas;
static struct ingest_options options = {.mqtt_message_max = 65536,
                                        .clock = &clock_system};
static bool stopped, late;
static struct ticker *guard;

static void on_late(void *arg)
{
    (void)arg;
    late = true;
}

static void on_stopped(void *arg)
{
    (void)arg;
    stopped = true;
    uv_stop(&loop); /* this turn need not wait for more */
}

/* Runs the loop until `condition`, at most 20 s. */
#define AWAIT(condition)                                                       \
    do {                                                                       \
        late = false;                                                          \
        ticker_start(guard, 20000, 0);                                         \
        while (!(condition) && !late)                                          \
            uv_run(&loop, UV_RUN_ONCE);                                        \
        ticker_stop(guard);                                                    \
        assert_true(condition);                                                \
    } while (0)

static struct ingest_stats stats(void)
{
    struct ingest_stats s = {0};

    mqtt_stats(m, &s);
    return s;
}

static struct integration an_integration(int32_t id, char *way)
{
    return (struct integration){.tenant_id = 3,
                                .integration_id = id,
                                .kind = INTEGRATION_CHIRPSTACK,
                                .enabled = true,
                                .url = "mqtt://u:secret@broker.example:1883",
                                .username = way,
                                .password = "p4ss",
                                .topic_prefix = "",
                                .bridges = 1,
                                .revision = 1};
}

static int setup(void **state)
{
    static char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

    (void)state;
    assert_true(n > 0);
    options.program = program;
    uv_loop_init(&loop);
    quotas = quotas_new(&clock_system);
    m = mqtt_new(&loop, NULL, quotas, &options);
    durable = ticker_new(&loop, on_durable, NULL);
    guard = ticker_new(&loop, on_late, NULL);
    refuse = fail = n_seen = n_rejected = 0;
    hold = stopped = false;
    n_held = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (n_held)
        release();
    if (!stopped)
        mqtt_stop(m, on_stopped, NULL);
    AWAIT(stopped);
    mqtt_free(m);
    quotas_free(quotas);
    ticker_free(durable);
    ticker_free(guard);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (int i = 0; i < n_seen; i++) {
        free(seen[i].payload);
        free(seen[i].topic);
        free(seen[i].peer);
    }
    return 0;
}

static void frames_arrive_with_their_owner(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().acked[0] == 3);
    assert_int_equal(n_seen, 3);
    assert_string_equal(seen[0].payload, "one");
    assert_string_equal(seen[2].payload, "three");
    assert_string_equal(seen[0].topic, "t/up");
    assert_string_equal(seen[0].peer, "mqtt://broker.example:1883");
    assert_int_equal(seen[0].f.source, SOURCE_CHIRPSTACK);
    assert_int_equal(seen[0].f.tenant_id, 3);
    assert_int_equal(seen[0].f.integration_id, 7);
    assert_int_equal(seen[0].f.size, 3);
    assert_int_equal(seen[0].f.count, 1);
    assert_true(seen[0].f.received_us > 0);
    assert_int_equal(stats().frames[0], 3);
    assert_int_equal(stats().bridges, 1);
    assert_int_equal(stats().bridges_connected, 1);
}

static void nothing_is_acknowledged_before_it_is_durable(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    hold = true;
    mqtt_apply(m, &in, 1);
    AWAIT(n_seen == 1);
    assert_int_equal(stats().acked[0], 0);
    release();
    AWAIT(n_seen == 2); /* the child sends the second after the first's ack */
    assert_true(stats().acked[0] >= 1);
}

static void a_refused_frame_is_offered_again(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    refuse = 3;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().acked[0] == 3);
    assert_int_equal(n_seen, 3);
    assert_string_equal(seen[0].payload, "one");
    assert_int_equal(stats().frames[0], 3);
    assert_int_equal(stats().bridge_restarts, 0);
}

static void a_failed_append_is_offered_again(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    fail = 2;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().acked[0] == 3);
    assert_int_equal(n_seen, 5);
    assert_string_equal(seen[2].payload, "one");
    assert_string_equal(seen[3].payload, "two");
    assert_true(seen[2].f.received_us == seen[0].f.received_us);
    assert_int_equal(stats().frames[0], 3); /* counted once */
}

static void a_crashed_bridge_starts_again_first_at_once(void **state)
{
    struct integration in = an_integration(7, "crash");

    (void)state;
    mqtt_apply(m, &in, 1);
    AWAIT(n_seen >= 3);
    assert_int_equal(stats().bridge_restarts, 2);
    /* The third start waits for a pause of 125 ms at least. */
    assert_true(seen[2].at_ms - seen[1].at_ms >= 125);
}

static void a_frame_of_a_dead_bridge_holds_its_successor(void **state)
{
    struct integration in = an_integration(7, "unanswered");

    (void)state;
    hold = true;
    mqtt_apply(m, &in, 1);
    AWAIT(n_seen == 1);
    release();
    AWAIT(n_seen == 2);
    assert_string_equal(seen[1].payload, "unanswered");
    assert_true(stats().bridge_restarts >= 1);
}

static void too_large_is_rejected_with_a_sample(void **state)
{
    struct integration in = an_integration(7, "large");

    (void)state;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().acked[0] == 2);
    assert_int_equal(n_rejected, 1);
    assert_string_equal(seen[0].f.rejected, "too_large");
    assert_int_equal(seen[0].f.size, 1000000);
    assert_string_equal(seen[0].payload, "sample");
    assert_null(seen[1].f.rejected);
    assert_int_equal(stats().rejected[0], 1);
    assert_int_equal(stats().frames[0], 1);
}

static void a_bridge_that_breaks_the_protocol_is_replaced(void **state)
{
    struct integration in = an_integration(7, "garbage");

    (void)state;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().bridge_restarts == 2);
    assert_int_equal(n_seen, 0);
}

static void a_missing_program_is_tried_again(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    options.program = "/nonexistent/headend";
    mqtt_apply(m, &in, 1);
    AWAIT(stats().bridge_restarts == 2);
    assert_int_equal(stats().bridges, 0);
}

static void the_config_goes_over_the_socket(void **state)
{
    struct integration in = an_integration(7, "echo");

    (void)state;
    setenv("HEADEND_SECRET", "x", 1);
    in.topic_prefix = "pre/";
    mqtt_apply(m, &in, 1);
    AWAIT(n_seen == 1);
    unsetenv("HEADEND_SECRET");
    assert_string_equal(seen[0].topic, "headend-7-0");
    assert_string_equal(seen[0].payload,
                        "mqtt://broker.example:1883|p4ss|65536|"
                        "pre/application/+/device/+/event/up|"
                        "pre/application/+/device/+/event/join|"
                        "pre/application/+/device/+/event/txack|"
                        "pre/application/+/device/+/event/ack|clean");
}

static void several_bridges_share_the_subscription(void **state)
{
    struct integration in = an_integration(9, "echo");
    char want[32];

    (void)state;
    in.kind = INTEGRATION_TTS;
    in.bridges = 2;
    mqtt_apply(m, &in, 1);
    AWAIT(n_seen == 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen[i].f.source, SOURCE_TTS);
        assert_non_null(strstr(seen[i].payload,
                               "|$share/headend-9/v3/+/devices/+/up|"
                               "$share/headend-9/v3/+/devices/+/join|"));
    }
    assert_string_not_equal(seen[0].topic, seen[1].topic);
    snprintf(want, sizeof want, "headend-9-%d",
             strcmp(seen[0].topic, "headend-9-0") == 0 ? 1 : 0);
    assert_string_equal(seen[1].topic, want);
}

static void a_new_revision_ends_the_old_bridge_first(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().acked[0] == 3);
    mqtt_apply(m, &in, 1); /* unchanged: nothing happens */
    assert_int_equal(stats().bridges, 1);
    in.revision = 2;
    in.username = "echo";
    mqtt_apply(m, &in, 1);
    assert_int_equal(stats().bridges, 0); /* ending */
    AWAIT(n_seen == 4);
    assert_string_equal(seen[3].topic, "headend-7-0");
    assert_int_equal(stats().bridge_restarts, 0);
}

static void disabled_and_foreign_integrations_do_not_run(void **state)
{
    struct integration in[2] = {an_integration(7, "three"),
                                an_integration(8, "three")};

    (void)state;
    in[1].kind = INTEGRATION_HEO;
    mqtt_apply(m, in, 2);
    assert_int_equal(stats().bridges, 1);
    AWAIT(stats().acked[0] == 3);
    in[0].enabled = false;
    mqtt_apply(m, in, 2);
    assert_int_equal(stats().bridges, 0);
    in[0].enabled = true; /* again, while the old one is still ending */
    mqtt_apply(m, in, 2);
    AWAIT(stats().acked[0] == 6);
}

static void a_stubborn_bridge_is_killed(void **state)
{
    struct integration in = an_integration(7, "stubborn");

    (void)state;
    mqtt_apply(m, &in, 1);
    AWAIT(stats().acked[0] == 1);
    mqtt_stop(m, on_stopped, NULL);
    AWAIT(stopped);
}

static void stopping_waits_for_the_frame_under_way(void **state)
{
    struct integration in = an_integration(7, "three");

    (void)state;
    hold = true;
    mqtt_apply(m, &in, 1);
    AWAIT(n_seen == 1);
    mqtt_stop(m, on_stopped, NULL);
    AWAIT(stats().bridges == 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_false(stopped);
    release();
    AWAIT(stopped);
}

static void stopping_nothing_still_answers_later(void **state)
{
    (void)state;
    mqtt_stop(m, on_stopped, NULL);
    assert_false(stopped);
    AWAIT(stopped);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(frames_arrive_with_their_owner),
        T(nothing_is_acknowledged_before_it_is_durable),
        T(a_refused_frame_is_offered_again),
        T(a_failed_append_is_offered_again),
        T(a_crashed_bridge_starts_again_first_at_once),
        T(a_frame_of_a_dead_bridge_holds_its_successor),
        T(too_large_is_rejected_with_a_sample),
        T(a_bridge_that_breaks_the_protocol_is_replaced),
        T(a_missing_program_is_tried_again),
        T(the_config_goes_over_the_socket),
        T(several_bridges_share_the_subscription),
        T(a_new_revision_ends_the_old_bridge_first),
        T(disabled_and_foreign_integrations_do_not_run),
        T(a_stubborn_bridge_is_killed),
        T(stopping_waits_for_the_frame_under_way),
        T(stopping_nothing_still_answers_later),
    };

    if (argc == 2 && strcmp(argv[1], "bridge") == 0)
        return child_main();
    signal(SIGPIPE, SIG_IGN); /* as ingest.c does */
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
