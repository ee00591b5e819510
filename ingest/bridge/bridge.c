/*
 * bridge.c - the server's side of a bridge. The main thread reads the socket,
 * signals and what paho reported, and decides when to connect and subscribe;
 * paho's receive thread writes a frame and waits for its LINK_ACK, so one
 * frame is under way and the broker waits with it.
 *
 * Promises: no PUBACK before LINK_ACK; the process ends at once, acknowledging
 * nothing, when the server's end of the socket does; SIGTERM leaves cleanly
 * and keeps the session; SIGINT (a terminal's Ctrl-C goes to the whole group)
 * is the server's business.
 */
#include "ingest/bridge/bridge.h"
#include "ingest/bridge/broker.h"
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
    ANSWER_MS = 60000, /* paho owes an answer; longer: begin all over */
    DRAIN_MS = 1500,   /* SIGTERM: for the frame under way */
    LEAVE_MS = 1000,   /* ... and for the DISCONNECT */
    EXIT_SERVER_GONE = 3,
    EXIT_STUCK = 4,
};

enum stage {
    STAGE_PAUSED,  /* until `due`: then connect, or subscribe again */
    STAGE_WAITING, /* for paho's answer, not past `due` */
    STAGE_UP,      /* subscribed; nothing is due */
    STAGE_DRAIN,   /* told to end: the frame under way, not past `due` */
    STAGE_LEAVE,   /* disconnecting, not past `due` */
};

/* One per process, as paho and signals are. */
static struct bridge {
    int fd, signals, wake;
    uint32_t payload_max;
    struct broker *broker;

    /* Main thread */
    enum stage stage;
    int64_t due_us, since_us; /* monotonic; since: SUBSCRIBED */
    uint64_t sent_before;
    struct backoff pause;
    struct buf in;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t changed;
    uint64_t sent, acked; /* frame ids */
    bool ending;
    enum broker_event event; /* the last one that main has not seen */
    char text[200];

    pthread_mutex_t writing; /* whole records on fd */
} br = {.lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .writing = PTHREAD_MUTEX_INITIALIZER};

static int64_t now_us(void)
{
    return clock_mono(&clock_system);
}

/* ---- writing to the server ---- */

static void write_record(const struct buf *b)
{
    size_t at = 0;

    pthread_mutex_lock(&br.writing);
    while (at < b->n) {
        ssize_t n = send(br.fd, b->p + at, b->n - at, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            _exit(EXIT_SERVER_GONE);
        at += n > 0 ? (size_t)n : 0;
    }
    pthread_mutex_unlock(&br.writing);
}

static void write_state(enum link_state state, const char *text)
{
    struct buf b = {0};

    link_put_state(&b, state, str_of(text));
    write_record(&b);
    buf_done(&b);
}

/* ---- paho's threads ---- */

static void on_happened(enum broker_event event, const char *text)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&br.lock);
    br.event = event;
    snprintf(br.text, sizeof br.text, "%s", text ? text : "");
    pthread_mutex_unlock(&br.lock);
    (void)!write(br.wake, &one, sizeof one);
}

/* A message longer than the server wants goes as a sample with its true size:
 * the server then rejects it durably and acknowledges. */
static void on_arrived(struct str topic, struct str payload)
{
    uint32_t size = (uint32_t)payload.n;
    struct buf b = {0};
    uint64_t id;

    if (payload.n > br.payload_max && payload.n > FRAME_SAMPLE_MAX)
        payload.n = FRAME_SAMPLE_MAX;
    pthread_mutex_lock(&br.lock);
    if (br.ending)
        _exit(0); /* returning would acknowledge */
    id = ++br.sent;
    pthread_mutex_unlock(&br.lock);

    link_put_frame(&b, id, size, topic, payload);
    write_record(&b);
    buf_done(&b);

    pthread_mutex_lock(&br.lock);
    while (br.acked != id)
        pthread_cond_wait(&br.changed, &br.lock);
    pthread_mutex_unlock(&br.lock);
}

/* ---- reading from the server ---- */

static void on_ack(uint64_t id)
{
    pthread_mutex_lock(&br.lock);
    br.acked = id;
    pthread_cond_broadcast(&br.changed);
    pthread_mutex_unlock(&br.lock);
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

static void read_acks(void)
{
    enum link_type type;
    struct bytes body;
    uint64_t id;
    int r;

    read_more();
    while ((r = link_record(buf_view(&br.in), &type, &body)) > 0) {
        if (type != LINK_ACK || link_get_ack(&body, &id) < 0)
            _exit(EXIT_SERVER_GONE);
        on_ack(id);
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

static bool frame_under_way(void)
{
    bool is;

    pthread_mutex_lock(&br.lock);
    is = br.sent != br.acked;
    pthread_mutex_unlock(&br.lock);
    return is;
}

/* Since the last time this was asked, or right now? */
static bool frames_flow(void)
{
    bool flow;

    pthread_mutex_lock(&br.lock);
    flow = br.sent != br.acked || br.sent != br.sent_before;
    br.sent_before = br.sent;
    pthread_mutex_unlock(&br.lock);
    return flow;
}

static void on_event(enum broker_event event, const char *text)
{
    if (br.stage == STAGE_LEAVE && event != BROKER_NOTHING)
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

/* `due` has come. */
static void on_due(void)
{
    switch (br.stage) {
    case STAGE_PAUSED:
        enter(STAGE_WAITING, ANSWER_MS);
        broker_begin(br.broker);
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
    pthread_mutex_lock(&br.lock);
    br.ending = true;
    pthread_mutex_unlock(&br.lock);
    enter(STAGE_DRAIN, DRAIN_MS);
}

/* The frame under way has been answered: nothing more will begin. */
static void maybe_leave(void)
{
    if (br.stage != STAGE_DRAIN || frame_under_way())
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
    on_event(event, text);
}

static _Noreturn void run(void)
{
    struct pollfd at[] = {{.fd = br.fd, .events = POLLIN},
                          {.fd = br.signals, .events = POLLIN},
                          {.fd = br.wake, .events = POLLIN}};

    for (;;) {
        if (poll(at, 3, pause_ms()) < 0) {
            if (errno != EINTR)
                _exit(EXIT_STUCK);
            continue;
        }
        if (at[0].revents)
            read_acks();
        if (at[1].revents)
            on_signal();
        if (at[2].revents)
            take_event();
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
    static const struct broker_hooks hooks = {on_happened, on_arrived};
    struct link_config c;
    int length = 0, r;

    log_set_name("bridge");
    r = process_setup(fd);
    if (r == 0)
        r = read_config(&c, &length);
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
