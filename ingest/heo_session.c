/*
 * heo_session.c - see heo_session.h. The story of an object:
 *
 *   feed -> take_next (framed) -> take_object (parsed) -> one of kinds[]
 *        -> add (to the journal, its reply held back) -> ... on_moved
 *        -> release -> out
 */
#include "ingest/heo_session.h"
#include "ingest/quota.h"
#include "ingest/replies.h"
#include "server/base/err.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    PEER_MAX = 64,
    SERIAL_MAX = 64,
    WAITING_MAX = 256 * 1024, /* bytes of objects not yet durable */
    BURST_US = 10 * US_PER_S, /* of objects, at tcp_rate */
    TURN_US = 60 * US_PER_S,  /* most wait for a turn: a line costs, too */
};

enum state {
    HELLO,   /* nobody knows yet who it is */
    TALKING, /* a known meter */
    LINGER,  /* we said bye; closes unless the meter goes on */
    ENDING,  /* nothing more is taken in; replies still leave */
    ENDED,   /* the last reply is in `out` */
};

struct heo_session {
    const struct heo_host *h;
    void *arg;
    enum state state;
    bool eof;
    bool has_data; /* has sent some: a quiet ends with bye */
    bool offered;  /* this quiet, for commands */
    bool held;     /* until we know whether there is one */

    struct buf in; /* from the object in the making; freed when empty */
    struct json_framer framer;
    struct replies *replies;
    struct buf out;

    int32_t tenant_id, meter_id; /* meter 0: not known */
    char *serial;                /* NULL before it said hello */
    int offset_s;                /* of the zone that it told its time in */

    /* All by clock_mono. */
    int64_t born_us, quiet_us; /* since when nothing went either way */
    int64_t rate_us;           /* when the bucket of objects is full again */
    int64_t turn_us;           /* when its tenant may send the next object */
    char peer[];
};

struct object {
    struct str bytes;
    const struct json *root;
    bool has_seq;
    int64_t seq;
    const char *list; /* name of what it brings many of */
};

static void on_moved(void *arg);
static void proceed(struct heo_session *s);

static int64_t now_us(const struct heo_session *s)
{
    return clock_mono(s->h->o->clock);
}

struct heo_session *heo_session_new(const struct heo_host *h, struct str peer,
                                    void *arg)
{
    size_t n = peer.n < PEER_MAX ? peer.n : PEER_MAX;
    struct heo_session *s = mem_alloc(sizeof *s + n + 1);

    s->h = h;
    s->arg = arg;
    s->replies = replies_new(h, on_moved, s);
    s->tenant_id = h->tenant_id;
    s->framer.max_depth = (uint32_t)h->o->tcp_depth_max;
    s->born_us = s->quiet_us = now_us(s);
    memcpy(s->peer, peer.p, n);
    return s;
}

void heo_session_free(struct heo_session *s)
{
    if (!s)
        return;
    replies_free(s->replies);
    buf_done(&s->in);
    buf_done(&s->out);
    free(s->serial);
    free(s);
}

/* ---- what is said ---- */

static struct frame frame_of(const struct heo_session *s, struct str bytes)
{
    return (struct frame){
        .source = SOURCE_HEO,
        .tenant_id = s->tenant_id,
        .integration_id = s->h->integration_id,
        .received_us = clock_utc(s->h->o->clock),
        .count = 1,
        .size = (uint32_t)bytes.n,
        .peer = str_of(s->peer),
        .identity = str_of(s->serial),
        .payload = bytes,
    };
}

static void add(struct heo_session *s, const struct object *o,
                const struct reply *r)
{
    struct frame f = frame_of(s, o->bytes);

    replies_add(s->replies, &f, r);
}

static void put_nak(struct buf *b, const char *code, const struct object *o)
{
    buf_printf(b, "{\"t\":\"nak\",\"code\":\"%s\"", code);
    if (o && o->has_seq)
        buf_printf(b, ",\"seq\":%" PRId64, o->seq);
    buf_z(b, "}\n");
}

static void say_nak(struct heo_session *s, const char *code,
                    const struct object *o)
{
    struct reply r = {0};

    put_nak(&r.text, code, o);
    replies_add(s->replies, NULL, &r);
}

static void say_bye(struct heo_session *s)
{
    struct reply r = {0};

    buf_z(&r.text, "{\"t\":\"bye\"}\n");
    replies_add(s->replies, NULL, &r);
}

static void release(struct heo_session *s);

int heo_session_set_clock(struct heo_session *s, const char *id,
                          int64_t shift_us)
{
    struct reply r = {.ends_now = true,
                      .offset_s = s->offset_s,
                      .shift_us = shift_us + s->h->rtt_us(s->arg) / 2};

    if (s->state != TALKING)
        return ERR_AWAY;
    buf_printf(&r.text,
               "{\"t\":\"cmd\",\"id\":\"%s\",\"op\":\"set_clock\",\"now\":\"",
               id);
    replies_add(s->replies, NULL, &r);
    release(s);
    return 0;
}

int heo_session_set_slot(struct heo_session *s, int32_t at_s, int32_t window_s)
{
    struct reply r = {0};

    if (s->state != TALKING)
        return ERR_AWAY;
    buf_printf(&r.text,
               "{\"t\":\"cmd\",\"id\":\"slot-%d\",\"op\":"
               "\"set_schedule\",\"at_s\":%d,\"window_s\":%d}\n",
               at_s, at_s, window_s);
    replies_add(s->replies, NULL, &r);
    release(s);
    return 0;
}

int heo_session_command(struct heo_session *s, struct str line)
{
    struct reply r = {0};

    if (s->state != TALKING)
        return ERR_AWAY;
    buf_str(&r.text, line);
    buf_z(&r.text, "\n");
    s->held = s->offered = false;
    replies_add(s->replies, NULL, &r);
    release(s);
    return 0;
}

void heo_session_no_command(struct heo_session *s)
{
    s->held = false;
}

bool heo_session_listens(const struct heo_session *s)
{
    return s->state == TALKING && replies_empty(s->replies) && s->in.n == 0;
}

static void release(struct heo_session *s)
{
    if (replies_release(s->replies, &s->out) > 0)
        s->quiet_us = now_us(s);
    if (s->state == ENDING && replies_empty(s->replies))
        s->state = ENDED;
}

/* From here on nothing is taken in. */
static void ending(struct heo_session *s)
{
    if (s->state < ENDING)
        s->state = ENDING;
    buf_done(&s->in);
}

void heo_session_end(struct heo_session *s, const char *code)
{
    if (s->state >= ENDING)
        return;
    if (code)
        say_nak(s, code, NULL);
    ending(s);
    release(s);
}

/* The meter repeats what it got no reply to, on its next call. */
static void give_up(struct heo_session *s)
{
    static struct log_limit limit;
    uint32_t frames = replies_drop(s->replies);
    int n = log_allowed(&limit);

    if (n)
        log_warning("session ended, the journal takes nothing",
                    "tenant=%d meter=%d peer=%s frames=%u more=%d",
                    s->tenant_id, s->meter_id, s->peer, frames, n - 1);
    say_nak(s, "try_later", NULL);
    ending(s);
}

static void retry(struct heo_session *s)
{
    if (replies_retry(s->replies) < 0)
        give_up(s);
    proceed(s);
}

static void on_moved(void *arg)
{
    struct heo_session *s = arg;

    proceed(s);
    s->h->changed(s->arg);
}

/* ---- objects ---- */

enum after { GO_ON, END };

static void reject(struct heo_session *s, const struct object *o,
                   const char *reason, enum after after)
{
    struct frame f = frame_of(s, o->bytes);

    f.source = SOURCE_TCP;
    f.rejected = reason;
    s->h->counts->rejected++;
    s->h->reject(s->h->arg, &f);
    say_nak(s, reason, o);
    if (after == END)
        ending(s);
}

/* Kept, as somebody may register this meter yet; and sent away. */
static void take_stranger(struct heo_session *s, const struct object *o,
                          const char *code)
{
    static struct log_limit limit;
    struct reply r = {0};
    int n = log_allowed(&limit);

    if (n)
        log_info("meter refused",
                 "tenant=%d integration=%d serial=%s peer=%s code=%s more=%d",
                 s->tenant_id, s->h->integration_id, s->serial, s->peer, code,
                 n - 1);
    put_nak(&r.text, code, o);
    add(s, o, &r);
    ending(s);
}

static void take_meter(struct heo_session *s, const struct object *o,
                       const struct meter_entry *m)
{
    struct reply r = {.is_ack = true, .ends_now = true};
    struct stamp clk;

    s->tenant_id = m->tenant_id;
    s->meter_id = m->meter_id;
    s->state = TALKING;
    if (stamp_parse(json_str(json_get(o->root, "clk")), &clk) == 0 &&
        clk.has_zone)
        s->offset_s = r.offset_s = clk.offset_s;
    buf_z(&r.text, "{\"t\":\"ack\",\"ref\":\"hello\",\"now\":\"");
    add(s, o, &r);
}

static void take_hello(struct heo_session *s, const struct object *o)
{
    struct str serial = json_str(json_get(o->root, "sn"));
    const struct meter_entry *m = NULL;
    int r;

    if (serial.n == 0 || serial.n > SERIAL_MAX) {
        reject(s, o, "bad_serial", END);
        return;
    }
    if (s->meter_id && !str_is(serial, s->serial)) {
        reject(s, o, "other_serial", END);
        return;
    }
    if (!directory_loaded(s->h->directory)) {
        heo_session_end(s, "try_later");
        return;
    }
    if (!s->serial) /* frames under way point to it */
        s->serial = mem_strndup(serial.p, serial.n);
    r = directory_by_serial(s->h->directory, s->h->tenant_id, serial, &m);
    if (r == 0)
        take_meter(s, o, m);
    else
        take_stranger(
            s, o, r == ERR_CONFLICT ? "ambiguous_device" : "unknown_device");
}

/* data and alarm: what is acknowledged is how many rows or items there are. */
static void take_list(struct heo_session *s, const struct object *o)
{
    const struct json *list = json_get(o->root, o->list);
    struct reply r = {.is_ack = true};

    if (!o->has_seq) {
        reject(s, o, "no_seq", GO_ON);
        return;
    }
    buf_printf(&r.text, "{\"t\":\"ack\",\"seq\":%" PRId64 ",\"n\":%u}\n",
               o->seq, list && list->type == JSON_ARRAY ? list->count : 0);
    add(s, o, &r);
    s->has_data = true;
}

static void take_res(struct heo_session *s, const struct object *o)
{
    struct reply r = {.is_ack = true};

    buf_z(&r.text, "{\"t\":\"ack\",");
    if (o->has_seq) {
        buf_printf(&r.text, "\"seq\":%" PRId64, o->seq);
    } else {
        buf_z(&r.text, "\"ref\":");
        buf_json_str(&r.text, json_str(json_get(o->root, "id")));
    }
    buf_z(&r.text, "}\n");
    add(s, o, &r);
}

static void take_bye(struct heo_session *s, const struct object *o)
{
    (void)o;
    say_bye(s);
    ending(s);
}

/* What we do not know a later codec may: it is kept, but not acknowledged. */
static void take_unknown(struct heo_session *s, const struct object *o)
{
    struct reply r = {0};

    put_nak(&r.text, "unknown_type", o);
    add(s, o, &r);
}

static const struct kind {
    const char *t, *list;
    void (*take)(struct heo_session *s, const struct object *o);
} kinds[] = {
    {"data", "rows", take_list}, {"alarm", "items", take_list},
    {"res", NULL, take_res},     {"hello", NULL, take_hello},
    {"bye", NULL, take_bye},     {NULL, NULL, take_unknown},
};

static const char *parse_reason(int err, struct str bytes)
{
    if (err == ERR_FULL)
        return "too_many_values"; /* the framer has looked at the depth */
    return str_utf8(bytes) ? "not_json" : "invalid_utf8";
}

static void take_object(struct heo_session *s, struct str bytes)
{
    struct json_limits limits = {.depth = (uint32_t)s->h->o->tcp_depth_max};
    const struct kind *k = kinds;
    struct object o = {.bytes = bytes};
    struct json_error error;
    struct json *root;
    struct str t;
    int r;

    arena_reset(s->h->arena);
    r = json_parse(s->h->arena, bytes, limits, &root, &error);
    if (r < 0) {
        reject(s, &o, parse_reason(r, bytes), END);
        return;
    }
    o.root = root;
    o.has_seq = json_int(json_get(root, "seq"), &o.seq);
    t = json_str(json_get(root, "t"));
    if (s->state == HELLO && !str_is(t, "hello")) {
        reject(s, &o, "no_hello", END);
        return;
    }
    if (t.n == 0) {
        reject(s, &o, "no_type", GO_ON);
        return;
    }
    while (k->t && !str_is(t, k->t))
        k++;
    o.list = k->list;
    k->take(s, &o);
}

/* ---- the stream ---- */

/* A bucket that holds BURST_US of objects, kept as the time when it is full. */
static void spend(struct heo_session *s)
{
    int64_t now = now_us(s), rate = s->h->o->tcp_rate;

    if (rate > 0)
        s->rate_us = (s->rate_us > now ? s->rate_us : now) + US_PER_S / rate;
}

static bool may_take(const struct heo_session *s)
{
    return s->state < ENDING && !replies_stuck(s->replies) &&
           replies_bytes(s->replies) < WAITING_MAX &&
           s->rate_us <= now_us(s) + BURST_US && s->turn_us <= now_us(s);
}

/* Each object is paid for when it is known whose it is, and the next one waits
 * until it was its tenant's turn. That wait is ours: no silence of the meter.
 */
static void take_turn(struct heo_session *s)
{
    if (!s->h->quotas || s->state >= ENDING || s->tenant_id == TENANT_PLATFORM)
        return;
    if (quotas_turn(s->h->quotas, s->tenant_id, TURN_US, &s->turn_us) < 0)
        heo_session_end(s, "try_later");
    else if (s->turn_us > s->quiet_us)
        s->quiet_us = s->turn_us;
}

static struct str trim_left(struct str b)
{
    while (b.n && memchr(" \t\r\n", b.p[0], 4))
        b.p++, b.n--;
    return b;
}

/* Takes the object at the start of *b, and it off *b. false: stop here. */
static bool take_next(struct heo_session *s, struct str *b)
{
    struct object o;
    int r;

    if (!s->framer.started)
        *b = trim_left(*b);
    r = json_framer_scan(&s->framer, b->p, b->n);
    o = (struct object){.bytes = {b->p, r > 0 ? (size_t)r : b->n}};
    if (r < 0)
        reject(s, &o, r == ERR_FULL ? "too_deep" : "not_json", END);
    else if (o.bytes.n > (size_t)s->h->o->tcp_line_max)
        reject(s, &o, "line_too_long", END);
    if (r == 0 || s->state >= ENDING)
        return false;
    b->p += r;
    b->n -= (size_t)r;
    json_framer_next(&s->framer);
    spend(s);
    take_object(s, o.bytes);
    take_turn(s);
    return s->state < ENDING;
}

/* Takes in what it may of what is there, says what may be said. */
static void proceed(struct heo_session *s)
{
    struct str b = buf_view(&s->in);

    release(s); /* makes room */
    while (may_take(s) && take_next(s, &b))
        ;
    if (s->eof && may_take(s)) /* no whole object is left */
        ending(s);
    if (s->state < ENDING && b.n > 0)
        memmove(s->in.p, b.p, b.n);
    if (s->state < ENDING)
        s->in.n = b.n;
    if (s->in.n == 0)
        buf_done(&s->in);
    release(s);
}

void heo_session_feed(struct heo_session *s, struct str bytes)
{
    if (s->state >= ENDING)
        return;
    if (s->state == LINGER)
        s->state = TALKING;
    s->quiet_us = now_us(s);
    s->offered = s->held = false;
    buf_str(&s->in, bytes);
    proceed(s);
}

void heo_session_eof(struct heo_session *s)
{
    s->eof = true;
    proceed(s);
}

bool heo_session_wants_bytes(const struct heo_session *s)
{
    return !s->eof && may_take(s);
}

struct buf *heo_session_out(struct heo_session *s)
{
    return &s->out;
}

bool heo_session_ended(const struct heo_session *s)
{
    return s->state == ENDED;
}

bool heo_session_meter(const struct heo_session *s, int32_t *tenant,
                       int32_t *meter)
{
    if (s->meter_id == 0)
        return false;
    *tenant = s->tenant_id;
    *meter = s->meter_id;
    return true;
}

/* ---- time ---- */

static void linger(struct heo_session *s)
{
    say_bye(s);
    s->state = LINGER;
    release(s);
}

static void offer(struct heo_session *s)
{
    const struct ingest_options *o = s->h->o;

    s->offered = true;
    s->held = o->window && o->window(o->command_arg, s->tenant_id, s->meter_id);
}

static void hang_up(struct heo_session *s)
{
    heo_session_end(s, NULL);
}

struct deadline {
    int64_t at_us;
    void (*act)(struct heo_session *s);
};

/* What happens next if nothing comes. While replies are held back, it is the
 * journal that comes. */
static struct deadline next_deadline(const struct heo_session *s)
{
    const struct ingest_options *o = s->h->o;
    struct deadline idle = {s->quiet_us + o->tcp_idle_ms * 1000, hang_up};
    int64_t quiet_us;

    if (replies_stuck(s->replies))
        return (struct deadline){replies_retry_us(s->replies), retry};
    if (!replies_empty(s->replies) || s->state >= ENDING)
        return (struct deadline){INT64_MAX, NULL};
    if (!may_take(s)) {
        int64_t rate_us = s->rate_us - BURST_US;
        return (struct deadline){rate_us > s->turn_us ? rate_us : s->turn_us,
                                 proceed};
    }
    if (s->state == HELLO) /* whatever it sends meanwhile */
        return (struct deadline){s->born_us + o->tcp_idle_ms * 1000, hang_up};
    if (s->state == LINGER)
        return (struct deadline){s->quiet_us + o->tcp_linger_ms * 1000,
                                 hang_up};
    if (s->held || s->in.n > 0 || (s->offered && !s->has_data))
        return idle;
    /* Not before what was on its way when our ack left can be here. */
    quiet_us = s->quiet_us + o->tcp_bye_ms * 1000 + 4 * s->h->rtt_us(s->arg);
    if (quiet_us >= idle.at_us)
        return idle;
    return (struct deadline){quiet_us, s->offered ? linger : offer};
}

int64_t heo_session_due(const struct heo_session *s)
{
    return next_deadline(s).at_us;
}

void heo_session_run(struct heo_session *s)
{
    struct deadline d;

    proceed(s); /* the rate may allow it now */
    while (d = next_deadline(s), d.at_us <= now_us(s))
        d.act(s);
}
