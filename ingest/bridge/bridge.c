/*
 * bridge.c - the server's side of a bridge. The main thread reads the socket,
 * signals, the gate and what paho reported, passes frames on as they gather,
 * and decides when to connect and subscribe. paho's receive thread only leaves
 * its frames in `out`, many at a time; the gate (gate.h) lets no byte of paho's
 * out to the broker while a frame that it could acknowledge waits for its
 * LINK_ACK.
 *
 * Promises: no PUBACK before LINK_ACK; the process ends at once, acknowledging
 * nothing, when the server's end of the socket does; SIGTERM leaves cleanly
 * and keeps the session; SIGINT (a terminal's Ctrl-C goes to the whole group)
 * is the server's business.
 */
#include "ingest/bridge/bridge.h"
#include "ingest/bridge/broker.h"
#include "ingest/bridge/gate.h"
#include "ingest/link.h"
#include "schema/frame.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PAUSE_FIRST_MS = 250,
    PAUSE_MOST_MS = 30000,
    STEADY_MS = 30000, /* a connection that held that long was a good one */
    DIAL_MS = 10000,   /* for the broker to answer at all */
    ANSWER_MS = 60000, /* paho owes an answer; longer: begin all over */
    DRAIN_MS = 1500,   /* SIGTERM: for the frames under way */
    LEAVE_MS = 1000,   /* ... and for the DISCONNECT */
    EXIT_SERVER_GONE = 3,
    EXIT_STUCK = 4,
};

enum stage {
    STAGE_PAUSED,   /* until `due`: then connect, or subscribe again */
    STAGE_DIALLING, /* the gate is, not past `due` */
    STAGE_WAITING,  /* for paho's answer, not past `due` */
    STAGE_UP,       /* subscribed; nothing is due */
    STAGE_DRAIN,    /* told to end: the frames under way, not past `due` */
    STAGE_LEAVE,    /* disconnecting, not past `due` */
};

/* One per process, as paho and signals are. */
static struct bridge {
    int fd, signals, wake;
    uint32_t payload_max;
    struct broker *broker;
    struct gate *gate;

    /* Main thread */
    enum stage stage;
    int64_t due_us, since_us; /* monotonic; since: SUBSCRIBED */
    uint64_t sent_before;
    struct backoff pause;
    struct buf in, passing; /* passing: frames on their way to the server */
    uint64_t acked_seen;    /* `acked`, without the lock */

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t changed;
    struct buf out;          /* frames that paho handed over, as records */
    uint64_t sent, acked;    /* ids, which count bytes: the last frame that paho
                                handed over, the last that is durable */
    enum broker_event event; /* the last one that main has not seen */
    char text[200];
} br = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int64_t now_us(void)
{
    return clock_mono(&clock_system);
}

/* ---- writing to the server ---- */

static void write_record(const struct buf *b)
{
    size_t at = 0;

    while (at < b->n) {
        ssize_t n = send(br.fd, b->p + at, b->n - at, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            _exit(EXIT_SERVER_GONE);
        at += n > 0 ? (size_t)n : 0;
    }
}

static void write_state(enum link_state state, const char *text)
{
    struct buf b = {0};

    link_put_state(&b, state, str_of(text));
    write_record(&b);
    buf_done(&b);
}

/* What has gathered, in one go. */
static void pass_on(void)
{
    struct buf empty = br.passing;

    pthread_mutex_lock(&br.lock);
    br.passing = br.out;
    br.out = empty;
    pthread_mutex_unlock(&br.lock);
    write_record(&br.passing);
    buf_clear(&br.passing);
}

/* ---- paho's threads ---- */

static void wake_main(void)
{
    const uint64_t one = 1;

    (void)!write(br.wake, &one, sizeof one);
}

static void on_happened(enum broker_event event, const char *text)
{
    pthread_mutex_lock(&br.lock);
    br.event = event;
    snprintf(br.text, sizeof br.text, "%s", text ? text : "");
    pthread_mutex_unlock(&br.lock);
    wake_main();
}

/* A message longer than the server wants goes as a sample with its true size:
 * the server then rejects it durably and acknowledges. */
static void on_arrived(struct str topic, struct str payload)
{
    uint32_t size = (uint32_t)payload.n;
    uint64_t space;
    bool first;

    if (payload.n > br.payload_max && payload.n > FRAME_SAMPLE_MAX)
        payload.n = FRAME_SAMPLE_MAX;
    space = topic.n + payload.n + LINK_FRAME_HEAD;
    pthread_mutex_lock(&br.lock);
    while (br.sent != br.acked && br.sent + space - br.acked > LINK_WINDOW)
        pthread_cond_wait(&br.changed, &br.lock);
    first = br.out.n == 0;
    br.sent += space;
    link_put_frame(&br.out, br.sent, size, topic, payload);
    pthread_mutex_unlock(&br.lock);
    if (first)
        wake_main();
}

static void on_unsent(const char *topic, const char *text)
{
    log_warning("downlink not published", "topic=%s text=%s", topic, text);
}

/* ---- reading from the server ---- */

static void on_ack(uint64_t id)
{
    pthread_mutex_lock(&br.lock);
    if (id > br.sent) /* then nothing it says can be believed */
        _exit(EXIT_SERVER_GONE);
    br.acked = id;
    pthread_cond_signal(&br.changed);
    pthread_mutex_unlock(&br.lock);
    br.acked_seen = id;
    gate_durable(br.gate, id);
}

/* Blocks. Ends the process when the server is gone. */
static void read_more(void)
{
    ssize_t n = recv(br.fd, buf_room(&br.in, 4096), 4096, 0);

    if (n == 0 || (n < 0 && errno != EINTR))
        _exit(EXIT_SERVER_GONE);
    br.in.n += n > 0 ? (size_t)n : 0;
}

static void drop(int n)
{
    br.in.n -= (size_t)n;
    memmove(br.in.p, br.in.p + n, br.in.n);
}

static int read_config(struct link_config *c, int *length)
{
    enum link_type type;
    struct bytes body;
    int r;

    while ((r = link_record(buf_view(&br.in), &type, &body)) == 0)
        read_more();
    if (r > 0)
        *length = r;
    if (r > 0 && type != LINK_CONFIG)
        r = ERR_FORMAT;
    return r < 0 ? r : link_get_config(&body, c);
}

static int take_record(enum link_type type, struct bytes body)
{
    struct str topic, payload;
    uint64_t id;
    int r = ERR_FORMAT;

    if (type == LINK_ACK && (r = link_get_ack(&body, &id)) == 0)
        on_ack(id);
    else if (type == LINK_PUBLISH &&
             (r = link_get_publish(&body, &topic, &payload)) == 0 &&
             broker_publish(br.broker, topic, payload) < 0)
        log_warning("downlink not published, too many wait", "topic=%.*s",
                    STR_ARGS(topic));
    return r;
}

static void read_records(void)
{
    enum link_type type;
    struct bytes body;
    int r;

    read_more();
    while ((r = link_record(buf_view(&br.in), &type, &body)) > 0) {
        if (take_record(type, body) < 0)
            _exit(EXIT_SERVER_GONE);
        drop(r);
    }
    if (r < 0)
        _exit(EXIT_SERVER_GONE);
}

/* ---- what to do and when ---- */

static void enter(enum stage stage, int64_t ms)
{
    br.stage = stage;
    br.due_us = now_us() + ms * 1000;
}

static uint64_t sent_last(void)
{
    uint64_t id;

    pthread_mutex_lock(&br.lock);
    id = br.sent;
    pthread_mutex_unlock(&br.lock);
    return id;
}

/* Since the last time this was asked, or right now? */
static bool frames_flow(void)
{
    uint64_t sent = sent_last();
    bool flow = sent != br.acked_seen || sent != br.sent_before;

    br.sent_before = sent;
    return flow;
}

static void on_event(enum broker_event event, const char *text)
{
    if (br.stage == STAGE_LEAVE && event != BROKER_NOTHING &&
        !gate_is_open(br.gate))
        _exit(0); /* left, or lost, which is as good */
    if (br.stage >= STAGE_DRAIN || event == BROKER_NOTHING)
        return;
    if (event == BROKER_CONNECTED) {
        write_state(LINK_CONNECTED, text);
        enter(STAGE_WAITING, ANSWER_MS);
    } else if (event == BROKER_SUBSCRIBED) {
        br.since_us = now_us();
        write_state(LINK_SUBSCRIBED, text);
        enter(STAGE_UP, 0);
    } else {
        if (br.stage == STAGE_UP &&
            now_us() - br.since_us >= STEADY_MS * INT64_C(1000))
            backoff_reset(&br.pause);
        write_state(LINK_LOST, text);
        enter(STAGE_PAUSED, backoff_pause_ms(&br.pause));
    }
}

static void begin(void)
{
    enter(STAGE_WAITING, ANSWER_MS);
    broker_begin(br.broker, gate_proxy(br.gate));
}

/* What the gate loses while paho has it, paho notices. In the end paho's
 * DISCONNECT has to be through. */
static void on_gate(enum gate_event event)
{
    if (br.stage == STAGE_LEAVE && event == GATE_CLOSED)
        _exit(0);
    if (br.stage != STAGE_DIALLING)
        return;
    if (event == GATE_OPENED)
        begin();
    else if (event == GATE_CLOSED)
        on_event(BROKER_LOST, gate_text(br.gate));
}

/* `due` has come. */
static void on_due(void)
{
    switch (br.stage) {
    case STAGE_PAUSED:
        if (gate_is_open(br.gate)) { /* only a subscription is missing */
            begin();
        } else {
            enter(STAGE_DIALLING, DIAL_MS);
            gate_open(br.gate);
        }
        break;
    case STAGE_DIALLING:
        on_event(BROKER_LOST, "the broker does not answer");
        break;
    case STAGE_WAITING: /* frames come before the answer, and may block */
        if (!frames_flow())
            _exit(EXIT_STUCK);
        enter(STAGE_WAITING, ANSWER_MS);
        break;
    case STAGE_UP:
        break;
    case STAGE_DRAIN:
    case STAGE_LEAVE:
        _exit(0);
    }
}

static void on_signal(void)
{
    struct signalfd_siginfo info;

    if (read(br.signals, &info, sizeof info) != sizeof info ||
        br.stage >= STAGE_DRAIN)
        return;
    gate_shut(br.gate);
    enter(STAGE_DRAIN, DRAIN_MS);
}

/* The frames under way have been answered: hardly any more will begin. */
static void maybe_leave(void)
{
    if (br.stage != STAGE_DRAIN || sent_last() != br.acked_seen)
        return;
    enter(STAGE_LEAVE, LEAVE_MS);
    broker_leave(br.broker);
}

static int pause_ms(void)
{
    int64_t us = br.due_us - now_us();

    if (br.stage == STAGE_UP)
        return -1;
    return us < 0 ? 0 : (int)(us / 1000) + 1;
}

static void take_event(void)
{
    char text[sizeof br.text];
    enum broker_event event;
    uint64_t n;

    (void)!read(br.wake, &n, sizeof n);
    pthread_mutex_lock(&br.lock);
    event = br.event;
    br.event = BROKER_NOTHING;
    memcpy(text, br.text, sizeof text);
    pthread_mutex_unlock(&br.lock);
    pass_on();
    on_event(event, text);
}

static _Noreturn void run(void)
{
    enum { SERVER, SIGNALS, WAKE, GATE };
    struct pollfd at[GATE + GATE_POLLS] = {
        [SERVER] = {.fd = br.fd, .events = POLLIN},
        [SIGNALS] = {.fd = br.signals, .events = POLLIN},
        [WAKE] = {.fd = br.wake, .events = POLLIN}};

    for (;;) {
        gate_poll(br.gate, at + GATE);
        if (poll(at, GATE + GATE_POLLS, pause_ms()) < 0) {
            if (errno != EINTR)
                _exit(EXIT_STUCK);
            continue;
        }
        if (at[SERVER].revents)
            read_records();
        if (at[SIGNALS].revents)
            on_signal();
        if (at[WAKE].revents)
            take_event();
        on_gate(gate_turn(br.gate, at + GATE, sent_last, br.acked_seen));
        if (br.stage != STAGE_UP && now_us() >= br.due_us)
            on_due();
        maybe_leave();
    }
}

/* Before paho starts its threads: they inherit the mask. */
static int process_setup(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    sigset_t term;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &term, NULL) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || flags < 0 ||
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    br.fd = fd;
    br.signals = signalfd(-1, &term, SFD_CLOEXEC);
    br.wake = eventfd(0, EFD_CLOEXEC);
    return br.signals < 0 || br.wake < 0 ? -errno : 0;
}

int bridge_run(int fd)
{
    static const struct broker_hooks hooks = {on_happened, on_arrived,
                                              on_unsent};
    struct link_config c;
    int length = 0, r;

    log_set_name("bridge");
    r = process_setup(fd);
    if (r == 0)
        r = read_config(&c, &length);
    if (r == 0)
        r = gate_new(c.url, &br.gate);
    if (r == 0)
        r = broker_new(&c, &hooks, &br.broker);
    if (r < 0) {
        log_error("bridge cannot start", "err=%s", err_name(r));
        return 1;
    }
    br.payload_max = c.payload_max;
    br.pause = (struct backoff){PAUSE_FIRST_MS, PAUSE_MOST_MS, 0};
    explicit_bzero(br.in.p, (size_t)length); /* a password lies there */
    drop(length);
    write_state(LINK_CONNECTING, "");
    enter(STAGE_PAUSED, 0);
    run();
}
