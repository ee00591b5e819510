/*
 * gas.c - see gas.h. One call: dial -> hello -> ack -> each message -> ack ->
 * wait for bye -> hang up -> pause until the next call.
 */
#include "gas.h"
#include "gas_command.h"
#include "options.h"
#include "server/base/err.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>

enum {
    ANSWER_MS = 20000, /* longest wait for an ack or for "bye" */
    BACKFILL = 24,     /* hourly rows told in the first call */
    LINE_MAX_ = 4096,  /* of a server's line */
    MESSAGES = 2,      /* waiting in a meter: rows and an alarm */
    ARCHIVE = 100,     /* most hours told at once */
};
#define HOUR_US (3600 * US_PER_S)

enum phase {
    AWAY,    /* between calls */
    DIALLED, /* connecting, or hello sent and not acknowledged */
    TALKING, /* a message is out and not acknowledged */
    QUIET,   /* all acknowledged; the server may have commands, then "bye" */
    HANGING, /* the socket is closing */
};

/* What the meter has to tell; kept, byte for byte, until it is acknowledged. */
struct message {
    struct buf text;
    int64_t seq;
    uint32_t rows;
    bool told; /* sent before, so this is a repeat */
};

struct caller {
    struct gas *gas;
    struct gas_meter *meter;
    enum phase phase;
    uv_tcp_t tcp;
    uv_connect_t connect_req;
    struct ticker *timer; /* next call, or patience */
    struct backoff pause;
    struct buf in;
    struct message waiting[MESSAGES]; /* [0] is the oldest */
    uint32_t n_waiting;
    int64_t seq;
    bool backfilled, spoken; /* a call came to its good end */
    int64_t at_s, window_s;  /* told when to dial in; window_s 0: not */
};

struct gas {
    struct gas_options options;
    uv_loop_t *loop;
    struct sockaddr_storage address;
    struct caller *callers;
    struct arena *arena;
    struct rng rng;
    uint32_t open; /* sockets not closed */
    bool ending;
    char read_buf[LINE_MAX_];
};

struct send {
    uv_write_t req;
    struct buf text;
};

static void gas_finish(struct gas *g);
static void dial(void *arg);

static int64_t meter_now(const struct caller *c)
{
    return meter_clock_at(&c->meter->clock, c->gas->options.sim->start_us,
                          clock_utc(&clock_system));
}

/* By its own clock, at its slot of each window of UTC. */
static uint64_t until_slot_ms(const struct caller *c)
{
    int64_t window = c->window_s * 1000;
    int64_t into = (meter_now(c) / 1000 - c->at_s * 1000) % window;

    return (uint64_t)(window - (into + window) % window);
}

static void on_hung_up(uv_handle_t *handle)
{
    struct caller *c = handle->data;
    struct sim *sim = c->gas->options.sim;
    uint64_t pause_ms =
        c->window_s ? until_slot_ms(c) : (uint64_t)sim->period_ms;

    c->phase = AWAY;
    c->gas->open--;
    if (c->gas->ending) {
        gas_finish(c->gas);
        return;
    }
    if (c->n_waiting)
        pause_ms = backoff_pause_ms(&c->pause);
    else if (sim->once && c->spoken)
        return;
    ticker_start(c->timer, pause_ms, 0);
}

static void hang_up(struct caller *c)
{
    if (c->phase == AWAY || c->phase == HANGING)
        return;
    ticker_stop(c->timer);
    c->phase = HANGING;
    uv_close((uv_handle_t *)&c->tcp, on_hung_up);
}

static void on_timer(void *arg)
{
    struct caller *c = arg;

    if (c->phase == AWAY)
        dial(c);
    else
        hang_up(c);
}

static void on_sent(uv_write_t *req, int status)
{
    struct send *s = req->data;
    struct caller *c = req->handle->data;

    buf_done(&s->text);
    free(s);
    if (status < 0)
        hang_up(c);
}

/* Takes the text over. */
static void say(struct caller *c, struct buf *text)
{
    struct send *s = mem_alloc(sizeof(*s));
    uv_buf_t out;
    int r;

    s->text = *text;
    s->req.data = s;
    *text = (struct buf){0};
    out = uv_buf_init((char *)s->text.p, (unsigned)s->text.n);
    r = uv_write(&s->req, (uv_stream_t *)&c->tcp, &out, 1, on_sent);
    if (r < 0) {
        buf_done(&s->text);
        free(s);
        hang_up(c);
        return;
    }
    ticker_start(c->timer, ANSWER_MS, 0);
}

static void say_hello(struct caller *c)
{
    struct gas_meter *m = c->meter;
    struct buf out = {0};

    buf_printf(&out,
               "{\"t\":\"hello\",\"v\":1,\"sn\":\"%08u\",\"model\":\"HEO-G%s\","
               "\"fw\":\"1.4.2\",\"clk\":",
               m->serial, m->model + strlen("heo-g"));
    gas_time(m, meter_now(c), &out);
    buf_printf(&out,
               ",\"bat\":%u,\"batv\":3.%02u,\"rssi\":-%u,"
               "\"valve\":\"%s\"}\n",
               60 + m->serial % 40, 30 + m->serial % 30, 60 + m->serial % 40,
               m->valve_closed ? "closed" : "open");
    say(c, &out);
}

static struct message *message_new(struct caller *c)
{
    struct message *m = &c->waiting[c->n_waiting++];

    *m = (struct message){.seq = ++c->seq};
    return m;
}

/* `n` rows, the newest at `last`: one of now, or hours of the archive. */
static void note_rows(struct caller *c, int64_t last, uint32_t n, bool hours)
{
    struct message *m = message_new(c);

    m->rows = n;
    buf_printf(&m->text,
               "{\"t\":\"data\",\"seq\":%lld,\"kind\":\"%s\",\"cols\":[\"ts\","
               "\"p_kpa\",\"t_c\",\"w\",\"v_work\",\"v_std\",\"sum_v_work\","
               "\"sum_v_std\"],\"unit\":\"m3\",\"rows\":[",
               (long long)m->seq, hours ? "hour" : "current");
    for (uint32_t i = 0; i < m->rows; i++) {
        if (i > 0)
            buf_z(&m->text, ",");
        gas_row(c->meter, last - i * HOUR_US, &m->text);
    }
    buf_z(&m->text, "]}\n");
    c->gas->options.sim->counts.rows += n;
}

static void note_alarm(struct caller *c, const char *code)
{
    struct message *m = message_new(c);

    buf_printf(&m->text, "{\"t\":\"alarm\",\"seq\":%lld,\"items\":[{\"ts\":",
               (long long)m->seq);
    gas_time(c->meter, meter_now(c), &m->text);
    buf_printf(&m->text, ",\"code\":\"%s\",\"state\":1}]}\n", code);
}

/* Half a message and a dropped line: what a weak modem does. */
static void make_noise(struct caller *c)
{
    struct buf out = {0};

    buf_printf(&out, "{\"t\":\"data\",\"seq\":%lld,\"rows\":[[\"\xff\xfe\n",
               (long long)c->seq + 1);
    say(c, &out);
    c->gas->options.sim->counts.gas_broken++;
}

/* Says the oldest message that is not acknowledged, or falls quiet. */
static void talk(struct caller *c)
{
    struct sim *sim = c->gas->options.sim;
    struct message *m = &c->waiting[0];
    struct buf copy = {0};

    if (c->n_waiting == 0) {
        c->phase = QUIET;
        c->spoken = true;
        backoff_reset(&c->pause);
        ticker_start(c->timer, ANSWER_MS, 0);
        return;
    }
    c->phase = TALKING;
    sim->counts.gas_sent++;
    sim->counts.gas_repeats += m->told;
    buf_str(&copy, buf_view(&m->text));
    say(c, &copy);
    if (!m->told && rng_chance(&c->gas->rng, sim->faults.cut))
        ticker_start(c->timer, 0, 0); /* hangs up before the ack can come */
    m->told = true;
}

static void on_greeted(struct caller *c)
{
    struct sim *sim = c->gas->options.sim;

    if (rng_chance(&c->gas->rng, sim->faults.noise)) {
        make_noise(c);
        return;
    }
    talk(c);
}

static void on_ack(struct caller *c, int64_t seq)
{
    struct counts *counts = &c->gas->options.sim->counts;

    if (c->phase != TALKING || seq != c->waiting[0].seq)
        return;
    counts->gas_acked++;
    counts->rows_acked += c->waiting[0].rows;
    buf_done(&c->waiting[0].text);
    memmove(&c->waiting[0], &c->waiting[1],
            (MESSAGES - 1) * sizeof(c->waiting[0]));
    c->waiting[MESSAGES - 1] = (struct message){0};
    c->n_waiting--;
    talk(c);
}

/* The whole hours of that span that it keeps, newest first. */
static void note_archive(struct caller *c, const struct obeyed *o)
{
    int64_t now = meter_now(c), to = o->to_us < now ? o->to_us : now;
    int64_t last = to / HOUR_US, first = (o->from_us + HOUR_US - 1) / HOUR_US;

    if (last - first >= ARCHIVE)
        first = last - ARCHIVE + 1;
    if (last >= first)
        note_rows(c, last * HOUR_US, (uint32_t)(last - first + 1), true);
}

/* Says that it has done so; what there is to tell of it comes behind. */
static void on_command(struct caller *c, const struct json *command)
{
    struct str id = json_str(json_get(command, "id"));
    struct buf out = {0};
    struct obeyed o;

    gas_obey(c->meter, command, meter_now(c), &o);
    c->gas->options.sim->counts.commands++;
    buf_z(&out, "{\"t\":\"res\",\"id\":");
    buf_json_str(&out, id);
    buf_printf(&out, ",\"ok\":%s", o.err ? "false" : "true");
    if (o.err)
        buf_printf(&out, ",\"err\":\"%s\"", o.err);
    buf_z(&out, "}\n");
    say(c, &out);
    if (o.window_s) {
        c->at_s = o.at_s;
        c->window_s = o.window_s;
        c->gas->options.sim->counts.slots++;
    }
    if (o.moved && c->n_waiting < MESSAGES)
        note_alarm(c, c->meter->valve_closed ? "valve_closed" : "valve_open");
    if (o.from_us != TIME_NONE && c->n_waiting < MESSAGES)
        note_archive(c, &o);
    if (c->phase == QUIET && c->n_waiting)
        talk(c);
    if (o.restarts) /* once the answer is on its way */
        ticker_start(c->timer, 200, 0);
}

static void on_line(struct caller *c, struct str line)
{
    struct json *doc;
    struct json_error error;
    struct str type;
    int64_t seq;

    arena_reset(c->gas->arena);
    if (json_parse(c->gas->arena, line, (struct json_limits){0}, &doc, &error) <
        0) {
        log_warning("server sent no JSON", "meter=%08u error=\"%s\"",
                    c->meter->serial, error.text);
        hang_up(c);
        return;
    }
    type = json_str(json_get(doc, "t"));
    if (str_is(type, "ack") && json_int(json_get(doc, "seq"), &seq))
        on_ack(c, seq);
    else if (str_is(type, "ack") && c->phase == DIALLED)
        on_greeted(c);
    else if (str_is(type, "cmd"))
        on_command(c, doc);
    else if (str_is(type, "bye"))
        hang_up(c);
    else if (str_is(type, "nak")) {
        c->gas->options.sim->counts.naks++;
        hang_up(c);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct caller *c = handle->data;

    (void)size;
    *buf = uv_buf_init(c->gas->read_buf, sizeof(c->gas->read_buf));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct caller *c = stream->data;
    size_t at = 0;
    uint8_t *end;

    if (n < 0 || c->in.n > LINE_MAX_) {
        hang_up(c);
        return;
    }
    buf_put(&c->in, buf->base, (size_t)n);
    while (c->phase != HANGING && at < c->in.n &&
           (end = memchr(c->in.p + at, '\n', c->in.n - at))) {
        size_t next = (size_t)(end - c->in.p) + 1;

        on_line(c, (struct str){(char *)c->in.p + at, next - at});
        at = next;
    }
    memmove(c->in.p, c->in.p + at, c->in.n - at);
    c->in.n -= at;
}

static void on_dialled(uv_connect_t *req, int status)
{
    struct caller *c = req->data;

    if (status == 0)
        status = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (status < 0)
        hang_up(c);
    else
        say_hello(c);
}

/* Hours before now in the first call, then one row per call. */
static void note_news(struct caller *c)
{
    static const char *const codes[] = {
        "battery_cover_open", "magnet",      "gas_leak",   "flow_reverse",
        "valve_closed",       "battery_low", "signal_low",
    };
    int64_t now = meter_now(c) / US_PER_S * US_PER_S;

    if (c->backfilled)
        note_rows(c, now, 1, false);
    else
        note_rows(c, now / HOUR_US * HOUR_US, BACKFILL, true);
    c->backfilled = true;
    if (rng_chance(&c->gas->rng, c->gas->options.sim->faults.alarm))
        note_alarm(c, codes[rng_below(&c->gas->rng, 7)]);
}

static void dial(void *arg)
{
    struct caller *c = arg;
    struct sim *sim = c->gas->options.sim;

    if (sim->stopping && !c->n_waiting)
        return;
    if (!c->n_waiting)
        note_news(c);
    sim->counts.calls++;
    buf_clear(&c->in);
    c->phase = DIALLED;
    c->gas->open++;
    uv_tcp_init(c->gas->loop, &c->tcp);
    c->tcp.data = c;
    c->connect_req.data = c;
    ticker_start(c->timer, ANSWER_MS, 0);
    if (uv_tcp_connect(&c->connect_req, &c->tcp,
                       (const struct sockaddr *)&c->gas->address,
                       on_dialled) < 0)
        hang_up(c);
}

int gas_new(uv_loop_t *loop, const struct gas_options *o, struct gas **ret)
{
    struct sim *sim = o->sim;
    struct gas *g = mem_alloc(sizeof(*g));
    uint32_t n = o->fleet->n_gas;

    *g = (struct gas){
        .options = *o, .loop = loop, .rng = {~(uint64_t)sim->start_us}};
    if (parse_address(o->server, &g->address) < 0) {
        free(g);
        return ERR_FORMAT;
    }
    g->arena = arena_new(64 * 1024);
    g->callers = mem_alloc((n + 1) * sizeof(*g->callers));
    for (uint32_t i = 0; i < n; i++) {
        struct caller *c = &g->callers[i];

        c->gas = g;
        c->meter = &o->fleet->gas[i];
        c->pause = (struct backoff){.first_ms = 500, .most_ms = 15000};
        c->seq = sim->start_us / US_PER_S * 1000; /* grows from run to run */
        c->timer = ticker_new(loop, on_timer, c);
        ticker_start(c->timer, (uint64_t)(sim->period_ms * i / n), 0);
    }
    *ret = g;
    return 0;
}

bool gas_idle(const struct gas *g)
{
    const struct sim *sim = g->options.sim;

    for (uint32_t i = 0; i < g->options.fleet->n_gas; i++) {
        const struct caller *c = &g->callers[i];

        if (c->n_waiting || (!sim->stopping && !(sim->once && c->spoken)))
            return false;
    }
    return true;
}

/* The last socket that closes takes the rest along. */
static void gas_finish(struct gas *g)
{
    if (g->open)
        return;
    for (uint32_t i = 0; i < g->options.fleet->n_gas; i++) {
        struct caller *c = &g->callers[i];

        ticker_free(c->timer);
        buf_done(&c->in);
        for (uint32_t k = 0; k < MESSAGES; k++)
            buf_done(&c->waiting[k].text);
    }
    arena_free(g->arena);
    free(g->callers);
    free(g);
}

void gas_free(struct gas *g)
{
    if (!g)
        return;
    g->ending = true;
    for (uint32_t i = 0; i < g->options.fleet->n_gas; i++) {
        ticker_stop(g->callers[i].timer);
        hang_up(&g->callers[i]);
    }
    gas_finish(g);
}
