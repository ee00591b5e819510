/*
 * slot.c - see slot.h.
 *
 * A frame's way: on_read -> next_records -> (its tenant's turn) -> frame_offer
 * -> frame_settled -> settle -> one LINK_ACK for all that settled in this turn
 * of the loop. Frames under way stay in the slot's buffer until the journal has
 * them, and the bridge holds their PUBACKs, so a full journal, or a tenant over
 * its quota, slows the broker down and loses nothing.
 * A slot's way: slot_start -> running -> on_exit_of -> handles closed ->
 * slot_rest: started again, or ended.
 */
#include "ingest/slot.h"
#include "ingest/link.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <signal.h>
#include <stdlib.h>

enum {
    KILL_AFTER_MS = 3000,
    SETTLED_MS = 60000, /* a bridge that lived that long crashed by accident */
    BUFFER_MAX = LINK_WINDOW + LINK_RECORD_MAX + 64 * 1024, /* a bridge sends
                                                               less */
    WAYS_MAX = 1024, /* frames under way */
};

enum phase {
    SLOT_PAUSED,  /* no process; the timer starts one */
    SLOT_RUNNING, /* the timer offers a frame, for its turn or once more */
    SLOT_ENDING,  /* told to end; the timer kills */
    SLOT_ENDED,
};

struct way { /* a record between its arrival and its answer */
    struct slot *slot;
    enum way_state { WAY_OFFERED, WAY_WAITING, WAY_SETTLED } state;
    bool counted;    /* it is in the statistics */
    bool receipt;    /* no frame */
    uint32_t length; /* of its record */
    uint64_t at;     /* where that begins, in all that ever came in */
    uint64_t id;     /* for its acknowledgement; 0: it has none */
    int64_t received_us;
};

struct slot {
    const struct site *site;
    int k;
    enum phase phase;
    uv_process_t process;
    uv_pipe_t pipe;
    int handles;      /* of those two, not closed yet */
    int64_t since_ms; /* start of the process */
    struct buf in;
    uint64_t in_from;          /* where `in` begins, in all that ever came in */
    uint64_t done, parsed;     /* ... what is done with, and what has a way */
    struct way ways[WAYS_MAX]; /* a ring: [first, last) */
    uint32_t first, last;
    uint32_t waiting; /* for so many the journal will call back */
    bool held;        /* one waits: the timer offers it */
    bool connected;
    struct buf lost; /* why, as it was logged; empty when it is not */
    struct backoff restart, retry;
    struct ticker *timer;
    struct ticker *turn; /* this turn's answers have come */
};

static void next_records(struct slot *s);
static void slot_rest(struct slot *s);

/* ---- writing to a bridge ---- */

struct send {
    uv_write_t req;
    struct buf bytes;
};

static void send_done(uv_write_t *req, int status)
{
    struct send *w = req->data;

    (void)status; /* a broken pipe shows itself when reading */
    explicit_bzero(w->bytes.p, w->bytes.n);
    buf_done(&w->bytes);
    free(w);
}

/* Takes the bytes over. */
static void send_bytes(struct slot *s, struct buf *bytes)
{
    struct send *w = mem_alloc(sizeof *w);
    uv_buf_t b = uv_buf_init((char *)bytes->p, (unsigned)bytes->n);

    w->bytes = *bytes;
    w->req.data = w;
    if (uv_write(&w->req, (uv_stream_t *)&s->pipe, &b, 1, send_done) < 0)
        send_done(&w->req, 0);
}

static void send_config(struct slot *s)
{
    const struct setup *u = s->site->setup;
    int64_t most = s->site->options->mqtt_message_max;
    struct link_config c = {
        .url = str_of(u->url),
        .username = str_of(u->username),
        .password = str_of(u->password),
        .ca_file = str_of(u->ca_file),
        .cert_file = str_of(u->cert_file),
        .key_file = str_of(u->key_file),
        .payload_max = most > 0 && most < FRAME_PAYLOAD_MAX ? (uint32_t)most
                                                            : FRAME_PAYLOAD_MAX,
    };
    struct buf id = {0}, topics[LINK_TOPICS] = {0}, record = {0};

    buf_printf(&id, "headend-%d-%d", u->integration_id, s->k);
    c.client_id = buf_view(&id);
    for (uint32_t i = 0; u->topics[i]; i++) {
        if (u->slots > 1)
            buf_printf(&topics[i], "$share/headend-%d/", u->integration_id);
        buf_printf(&topics[i], "%s%s", u->prefix, u->topics[i]);
        c.topics[i] = buf_view(&topics[i]);
        c.n_topics++;
    }
    link_put_config(&record, &c);
    send_bytes(s, &record);
    for (uint32_t i = 0; i < c.n_topics; i++)
        buf_done(&topics[i]);
    buf_done(&id);
}

int slot_publish(struct slot *s, struct str topic, struct str payload)
{
    struct buf record = {0};

    if (s->phase != SLOT_RUNNING || !s->connected)
        return ERR_AWAY;
    link_put_publish(&record, topic, payload);
    send_bytes(s, &record);
    return 0;
}

/* ---- frames under way ---- */

static struct way *way_at(struct slot *s, uint32_t i)
{
    return &s->ways[i % WAYS_MAX];
}

/* The bytes of `in` from a place on. */
static struct str in_at(const struct slot *s, uint64_t at)
{
    size_t n = (size_t)(at - s->in_from);

    return (struct str){(const char *)s->in.p + n, s->in.n - n};
}

static void drop_done(struct slot *s)
{
    size_t n = (size_t)(s->done - s->in_from);

    if (n < s->in.n && n < LINK_WINDOW / 4)
        return; /* not worth the move */
    s->in.n -= n;
    if (s->in.n)
        memmove(s->in.p, s->in.p + n, s->in.n);
    s->in_from = s->done;
}

/* What has settled from the front on is acknowledged in one. */
static void settle(void *arg)
{
    struct slot *s = arg;
    struct buf record = {0};
    uint64_t id = 0;

    if (s->phase == SLOT_PAUSED || uv_is_closing((uv_handle_t *)&s->process))
        return;
    for (; s->first != s->last; s->first++) {
        const struct way *w = way_at(s, s->first);

        if (w->state != WAY_SETTLED)
            break;
        s->done = w->at + w->length;
        if (w->id && !w->receipt)
            s->site->totals->acked[0]++;
        id = w->id ? w->id : id;
    }
    if (id) {
        link_put_ack(&record, id);
        send_bytes(s, &record);
        backoff_reset(&s->retry);
    }
    drop_done(s);
    next_records(s);
}

/* Not taken by the journal: the bridge goes on waiting, we try again. */
static void frame_later(struct way *w, int err)
{
    static struct log_limit limit;
    struct slot *s = w->slot;

    w->state = WAY_WAITING;
    if (s->held || s->phase != SLOT_RUNNING)
        return; /* told already; or the broker keeps it */
    s->held = true;
    if (log_allowed(&limit))
        log_warning("mqtt frame waits",
                    "tenant=%d integration=%d bridge=%d err=%s",
                    s->site->setup->tenant_id, s->site->setup->integration_id,
                    s->k, err_name(err));
    ticker_start(s->timer, backoff_pause_ms(&s->retry), 0);
}

static void frame_settled(void *arg, int err)
{
    struct way *w = arg;
    struct slot *s = w->slot;

    s->waiting--;
    if (uv_is_closing((uv_handle_t *)&s->process)) { /* it died meanwhile */
        if (s->handles == 0 && s->waiting == 0)
            slot_rest(s);
        return;
    }
    if (err < 0) {
        frame_later(w, err);
        return;
    }
    w->state = WAY_SETTLED;
    if (!ticker_active(s->turn))
        ticker_start(s->turn, 0, 0);
}

/* Counts a frame once, however often it is offered. */
static void count(struct way *w, int64_t *counter)
{
    if (!w->counted)
        ++*counter;
    w->counted = true;
}

static void frame_offer(struct way *w)
{
    struct slot *s = w->slot;
    const struct setup *u = s->site->setup;
    struct frame f = {.source = u->source,
                      .tenant_id = u->tenant_id,
                      .integration_id = u->integration_id,
                      .received_us = w->received_us,
                      .count = 1,
                      .peer = str_of(u->url)};
    enum link_type type;
    struct bytes body;
    int r = ERR_RANGE;

    link_record(in_at(s, w->at), &type, &body);
    link_get_frame(&body, &w->id, &f.size, &f.topic, &f.payload);
    w->state = WAY_OFFERED;
    s->waiting++;
    if (f.size == f.payload.n)
        r = admit_frame(s->site->journal, &f, frame_settled, w);
    if (r == 0) {
        count(w, &s->site->totals->frames[0]);
    } else if (r == ERR_RANGE) {
        f.rejected = "too_large";
        count(w, &s->site->totals->rejected[0]);
        admit_reject(s->site->door, &f, frame_settled, w);
    } else {
        s->waiting--;
        frame_later(w, r);
    }
}

/* When its tenant's turn has come. */
static void frame_begin(struct way *w)
{
    struct slot *s = w->slot;
    int64_t now = clock_mono(s->site->options->clock), turn;

    quotas_turn(s->site->quotas, s->site->setup->tenant_id, INT64_MAX, &turn);
    if (turn <= now) {
        frame_offer(w);
        return;
    }
    w->state = WAY_WAITING;
    s->held = true;
    if (s->phase == SLOT_RUNNING)
        ticker_start(s->timer, (uint64_t)(turn - now + 999) / 1000, 0);
}

/* What a network server tells of downlinks is no meter's word: it passes the
 * journal by, and is done with where it is none of ours. */
static void receipt_begin(struct way *w, struct str topic, struct str document)
{
    struct slot *s = w->slot;
    const struct setup *u = s->site->setup;
    const struct ingest_options *o = s->site->options;
    struct receipt r;

    w->receipt = true;
    if (!o->receipt ||
        receipt_read(u->source, u->tenant_id, topic, document, &r) < 0)
        return; /* settled */
    w->state = WAY_OFFERED;
    s->waiting++;
    o->receipt(o->command_arg, u->tenant_id, &r, frame_settled, w);
}

static void offer_again(struct slot *s)
{
    s->held = false;
    for (uint32_t i = s->first; i != s->last && !s->held; i++)
        if (way_at(s, i)->state == WAY_WAITING)
            frame_offer(way_at(s, i));
    if (!s->held)
        next_records(s);
}

/* ---- what a bridge says ---- */

/* Logs when it was lost (again for another reason), and when it is back. */
static void on_state(struct slot *s, enum link_state state, struct str text)
{
    const struct setup *u = s->site->setup;
    bool was = s->connected;

    s->connected = state == LINK_SUBSCRIBED;
    if (s->connected && !was) {
        s->lost.n = 0;
        log_info("mqtt subscribed",
                 "tenant=%d integration=%d bridge=%d broker=%s", u->tenant_id,
                 u->integration_id, s->k, u->url);
    } else if (state == LINK_LOST && !str_eq(text, buf_view(&s->lost))) {
        buf_clear(&s->lost);
        buf_str(&s->lost, text);
        log_warning("mqtt lost",
                    "tenant=%d integration=%d bridge=%d broker=%s text=%.*s",
                    u->tenant_id, u->integration_id, s->k, u->url,
                    STR_ARGS(text));
    }
}

/* ERR_FORMAT for what no bridge may send. */
static int take_record(struct slot *s, enum link_type type, struct bytes body,
                       int length)
{
    struct way *w = way_at(s, s->last);
    enum link_state state;
    struct str topic, text;
    uint32_t size;

    *w = (struct way){.slot = s,
                      .state = WAY_SETTLED,
                      .length = (uint32_t)length,
                      .at = s->parsed};
    if (type == LINK_STATE && link_get_state(&body, &state, &text) == 0)
        on_state(s, state, text);
    else if (type != LINK_FRAME ||
             link_get_frame(&body, &w->id, &size, &topic, &text) < 0)
        return ERR_FORMAT;
    s->parsed += (uint64_t)length;
    s->last++;
    if (type == LINK_FRAME && receipt_topic(s->site->setup->source, topic)) {
        receipt_begin(w, topic, text);
    } else if (type == LINK_FRAME) {
        w->received_us = clock_utc(s->site->options->clock);
        frame_begin(w);
    }
    return 0;
}

/* Sends all records on their way that have come whole. */
static void next_records(struct slot *s)
{
    enum link_type type;
    struct bytes body;
    int r = 0;

    while (!s->held && s->last - s->first < WAYS_MAX &&
           (r = link_record(in_at(s, s->parsed), &type, &body)) > 0) {
        r = take_record(s, type, body, r);
        if (r < 0)
            break;
    }
    if (r < 0) {
        log_error("mqtt bridge broke its protocol", "integration=%d bridge=%d",
                  s->site->setup->integration_id, s->k);
        uv_read_stop((uv_stream_t *)&s->pipe);
        uv_process_kill(&s->process, SIGKILL);
        s->held = true; /* nothing more of it */
    } else if (s->first != s->last &&
               way_at(s, s->first)->state == WAY_SETTLED &&
               !ticker_active(s->turn)) {
        ticker_start(s->turn, 0, 0); /* said, and done with */
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct slot *s = handle->data;

    (void)suggested;
    *ret = s->in.n < BUFFER_MAX + LINK_WINDOW / 4
               ? uv_buf_init((char *)buf_room(&s->in, 65536), 65536)
               : uv_buf_init(NULL, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct slot *s = stream->data;

    (void)buf;
    if (n < 0) { /* its end is closed, or it sends beyond all bounds */
        uv_read_stop(stream);
        uv_process_kill(&s->process, SIGKILL);
        return;
    }
    s->in.n += (size_t)n;
    if (n > 0)
        next_records(s);
}

/* ---- the life of a bridge ---- */

/* The environment without our own settings: some of them are secrets. */
static char **child_environment(void)
{
    extern char **environ;
    size_t n = 0;
    char **env;

    while (environ[n])
        n++;
    env = mem_grow(NULL, n + 1, sizeof *env);
    n = 0;
    for (char **e = environ; *e; e++)
        if (strncmp(*e, "HEADEND_", 8) != 0)
            env[n++] = *e;
    env[n] = NULL;
    return env;
}

static void on_closed(uv_handle_t *handle)
{
    struct slot *s = handle->data;

    if (--s->handles == 0 && s->waiting == 0)
        slot_rest(s);
}

static void close_both(struct slot *s)
{
    ticker_stop(s->timer);
    ticker_stop(s->turn);
    s->connected = false;
    uv_close((uv_handle_t *)&s->process, on_closed);
    uv_close((uv_handle_t *)&s->pipe, on_closed);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct slot *s = process->data;
    const struct setup *u = s->site->setup;

    if (s->phase == SLOT_RUNNING)
        log_error("mqtt bridge ended",
                  "tenant=%d integration=%d bridge=%d status=%d signal=%d",
                  u->tenant_id, u->integration_id, s->k, (int)status, signal);
    close_both(s);
}

static int spawn(struct slot *s)
{
    char *argv[] = {"headend", "bridge", NULL};
    char **env = child_environment();
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&s->pipe},
    };
    uv_process_options_t o = {.exit_cb = on_exit_of,
                              .file = s->site->options->program,
                              .args = argv,
                              .env = env,
                              .stdio_count = 4,
                              .stdio = stdio};
    int r = uv_spawn(s->site->loop, &s->process, &o);

    free(env);
    return r;
}

static void slot_start(struct slot *s)
{
    int r;

    uv_pipe_init(s->site->loop, &s->pipe, 0);
    s->pipe.data = s->process.data = s;
    s->handles = 2;
    s->in_from = s->done = s->parsed = 0;
    s->first = s->last = 0;
    s->held = false;
    s->phase = SLOT_RUNNING;
    s->since_ms = (int64_t)uv_now(s->site->loop);
    backoff_reset(&s->retry);
    buf_clear(&s->in);
    r = spawn(s);
    if (r < 0) {
        log_error("mqtt bridge cannot start", "integration=%d bridge=%d err=%s",
                  s->site->setup->integration_id, s->k, err_name(r));
        close_both(s);
        return;
    }
    send_config(s);
    uv_read_start((uv_stream_t *)&s->pipe, on_room, on_read);
}

/* Nothing of the process is left, and the journal holds no frame's callback. */
static void slot_rest(struct slot *s)
{
    int64_t lived = (int64_t)uv_now(s->site->loop) - s->since_ms;
    bool first = s->restart.next_ms == 0 || lived >= SETTLED_MS;
    uint32_t pause;

    if (s->phase == SLOT_ENDING) {
        s->phase = SLOT_ENDED;
        s->site->slot_ended(s->site->arg);
        return;
    }
    if (first)
        backoff_reset(&s->restart);
    pause = backoff_pause_ms(&s->restart);
    s->phase = SLOT_PAUSED;
    s->site->totals->bridge_restarts++;
    ticker_start(s->timer, first ? 0 : pause, 0);
}

static void on_timer(void *arg)
{
    struct slot *s = arg;

    if (s->phase == SLOT_PAUSED)
        slot_start(s);
    else if (s->phase == SLOT_ENDING)
        uv_process_kill(&s->process, SIGKILL);
    else
        offer_again(s);
}

void slot_end(struct slot *s)
{
    ticker_stop(s->timer);
    if (s->phase == SLOT_PAUSED) {
        s->phase = SLOT_ENDED;
        return;
    }
    s->phase = SLOT_ENDING;
    if (uv_is_closing((uv_handle_t *)&s->process))
        return; /* it has ended by itself just now */
    uv_process_kill(&s->process, SIGTERM);
    ticker_start(s->timer, KILL_AFTER_MS, 0);
}

struct slot *slot_new(const struct site *site, int k)
{
    struct slot *s = mem_alloc(sizeof *s);

    s->site = site;
    s->k = k;
    s->restart = (struct backoff){250, 30000, 0};
    s->retry = (struct backoff){50, 2000, 0};
    s->timer = ticker_new(site->loop, on_timer, s);
    s->turn = ticker_new(site->loop, settle, s);
    slot_start(s);
    return s;
}

bool slot_ended(const struct slot *s)
{
    return s->phase == SLOT_ENDED;
}

void slot_free(struct slot *s)
{
    if (!s)
        return;
    ticker_free(s->timer);
    ticker_free(s->turn);
    buf_done(&s->in);
    buf_done(&s->lost);
    free(s);
}

void slot_stats(const struct slot *s, struct ingest_stats *stats)
{
    stats->bridges += s->phase == SLOT_RUNNING;
    stats->bridges_connected += s->connected;
}
