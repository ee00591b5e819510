/*
 * lorawan.c - see lorawan.h. Documents after ChirpStack v4's integration
 * messages (protocol notes lorawan.md, section 1): lowerCamelCase, "+00:00",
 * default values of gateway fields left out.
 */
#include "lorawan.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>

enum { HELD_MAX = 64, CLOCK_EVERY = 24, WINDOW = 2000, TICK_MS = 10 };
#define APPLICATION "6d5d7c0e-1f43-4c49-9d4b-5a0f5c1e2a10"

/* A message that a gateway keeps for a while. */
struct held {
    int64_t due_us;
    struct buf topic, payload;
};

struct lorawan {
    struct lorawan_options options;
    struct publisher *publisher;
    struct ticker *tick;
    struct arena *arena;
    struct rng rng;
    struct buf topic, payload, telegram;
    struct held held[HELD_MAX];
    int64_t begun_us, sent; /* joins and uplinks of the schedule */
};

static int64_t now_us(void)
{
    return clock_utc(&clock_system);
}

static void put_uuid(struct lorawan *l, struct buf *out)
{
    uint64_t a = rng_next(&l->rng), b = rng_next(&l->rng);

    buf_printf(out, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
               (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
               (unsigned)(b >> 48 & 0x3fff) | 0x8000,
               (unsigned long long)(b & 0xffffffffffff));
}

/* A new session with every run: the counters begin at 0 again. */
static uint32_t dev_addr(const struct lorawan *l, const struct heat_meter *m)
{
    struct rng r = {m->dev_eui ^ (uint64_t)l->options.sim->start_us << 20};
    return (uint32_t)rng_next(&r) & 0x01ffffff;
}

static void put_topic(struct lorawan *l, uint64_t eui, const char *event)
{
    buf_clear(&l->topic);
    buf_printf(&l->topic, "application/" APPLICATION "/device/%016llx/event/%s",
               (unsigned long long)eui, event);
}

static void put_head(struct lorawan *l, const struct heat_meter *m,
                     uint64_t eui, int64_t utc_us)
{
    char text[TIME_TEXT];
    struct buf *out = &l->payload;

    time_text(utc_us, text);
    text[strlen(text) - 1] = 0; /* "Z": ChirpStack writes +00:00 */
    buf_clear(out);
    buf_z(out, "{\"deduplicationId\":\"");
    put_uuid(l, out);
    buf_printf(out,
               "\",\"time\":\"%s+00:00\",\"deviceInfo\":{\"tenantId\":"
               "\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\":"
               "\"sim\",\"applicationId\":\"" APPLICATION "\","
               "\"applicationName\":\"heat\",\"deviceName\":\"%08u\","
               "\"devEui\":\"%016llx\",\"deviceClassEnabled\":\"CLASS_A\","
               "\"tags\":{}},\"devAddr\":\"%08x\"",
               text, m->serial, (unsigned long long)eui, dev_addr(l, m));
}

static void put_uplink(struct lorawan *l, const struct heat_meter *m,
                       uint64_t eui, int64_t utc_us)
{
    struct str data = base64_encode(l->arena, buf_view(&l->telegram));
    int rssi = -60 - (int)rng_below(&l->rng, 60);
    int snr = (int)rng_below(&l->rng, 200) - 80;

    put_head(l, m, eui, utc_us);
    buf_printf(&l->payload,
               ",\"adr\":true,\"dr\":5,\"fCnt\":%u,\"fPort\":2,\"confirmed\":"
               "false,\"data\":\"%.*s\",\"rxInfo\":[{\"gatewayId\":"
               "\"0016c001f153a14c\",\"uplinkId\":%u,\"rssi\":%d,"
               "\"snr\":%s%d.%d,\"channel\":2,\"crcStatus\":\"CRC_OK\"}],"
               "\"txInfo\":{\"frequency\":868100000,\"modulation\":{\"lora\":{"
               "\"bandwidth\":125000,\"spreadingFactor\":7,\"codeRate\":"
               "\"CR_4_5\"}}},\"regionConfigId\":\"eu868\"}",
               m->counter, STR_ARGS(data), rng_below(&l->rng, 1u << 31), rssi,
               snr < 0 ? "-" : "", abs(snr) / 10, abs(snr) % 10);
    arena_reset(l->arena);
}

/* The schedule asks for room before it begins, with some to spare for the
 * mishaps of one uplink. */
static void publish(struct lorawan *l)
{
    publisher_send(l->publisher, buf_view(&l->topic), buf_view(&l->payload));
}

static void hold(struct lorawan *l, struct held *h, int64_t now)
{
    h->due_us = now + (5 + rng_below(&l->rng, 25)) * US_PER_S;
    buf_str(&h->topic, buf_view(&l->topic));
    buf_str(&h->payload, buf_view(&l->payload));
    l->options.sim->counts.late++;
}

static bool complete(const struct lorawan *l)
{
    const struct lorawan_options *o = &l->options;
    return o->limit && l->sent >= o->fleet->n_heat + o->limit;
}

/* Publishes what was held long enough; at the end, all of it. */
static void release_held(struct lorawan *l, int64_t now)
{
    bool all = l->options.sim->stopping || complete(l);

    for (int i = 0; i < HELD_MAX; i++) {
        struct held *h = &l->held[i];

        if (!h->topic.n || (h->due_us > now && !all) ||
            publisher_room(l->publisher) == 0)
            continue;
        publisher_send(l->publisher, buf_view(&h->topic),
                       buf_view(&h->payload));
        buf_clear(&h->topic);
        buf_clear(&h->payload);
    }
}

static struct held *free_held(struct lorawan *l)
{
    for (int i = 0; i < HELD_MAX; i++)
        if (!l->held[i].topic.n)
            return &l->held[i];
    return NULL;
}

/* What breaks between a meter and us: a telegram cut short, a document that is
 * none, a meter that nobody registered. Extra to the meter's own uplinks. */
static void break_something(struct lorawan *l, struct heat_meter *m,
                            int64_t now)
{
    struct sim *sim = l->options.sim;
    size_t whole = l->telegram.n;

    if (rng_chance(&l->rng, sim->faults.truncated)) {
        l->telegram.n = 3 + rng_below(&l->rng, 4); /* in the first record */
        m->counter++;
        put_uplink(l, m, m->dev_eui, now);
        l->telegram.n = whole;
        publish(l);
        sim->counts.broken++;
    }
    if (rng_chance(&l->rng, sim->faults.stranger)) {
        uint64_t eui = 0x0badc0de00000000 | rng_below(&l->rng, 1000);

        put_uplink(l, m, eui, now);
        put_topic(l, eui, "up");
        publish(l);
        sim->counts.broken++;
    }
    if (rng_chance(&l->rng, sim->faults.garbage)) {
        put_topic(l, m->dev_eui, "up");
        l->payload.n /= 2;
        publish(l);
        sim->counts.broken++;
    }
}

static void send_join(struct lorawan *l, struct heat_meter *m, int64_t now)
{
    put_topic(l, m->dev_eui, "join");
    put_head(l, m, m->dev_eui, now);
    buf_z(&l->payload, ",\"regionConfigId\":\"eu868\"}");
    publish(l);
    l->options.sim->counts.joins++;
}

static void send_uplink(struct lorawan *l, struct heat_meter *m, int64_t now)
{
    struct sim *sim = l->options.sim;
    struct held *h = free_held(l);

    buf_clear(&l->telegram);
    if (m->counter % CLOCK_EVERY == 1)
        heat_clock_telegram(m, meter_clock_at(&m->clock, sim->start_us, now),
                            &l->telegram);
    else
        heat_telegram(m, now, &l->telegram);
    put_topic(l, m->dev_eui, "up");
    put_uplink(l, m, m->dev_eui, now);
    sim->counts.uplinks++;
    if (h && rng_chance(&l->rng, sim->faults.late)) {
        hold(l, h, now);
    } else {
        publish(l);
        if (rng_chance(&l->rng, sim->faults.repeat_event)) {
            publish(l);
            sim->counts.repeats++;
        }
        if (rng_chance(&l->rng, sim->faults.repeat_frame)) {
            put_uplink(l, m, m->dev_eui, now);
            publish(l);
            sim->counts.repeats++;
        }
        break_something(l, m, now);
    }
    m->counter++;
}

/* The schedule: one join per meter, then uplinks in turn. */
static int64_t due(const struct lorawan *l)
{
    const struct lorawan_options *o = &l->options;
    int64_t joins = o->fleet->n_heat, n = INT64_MAX;

    if (o->rate > 0) {
        double s = (double)(clock_mono(&clock_system) - l->begun_us) / 1e6;
        n = joins + (int64_t)(s * o->rate);
    }
    if (o->limit && n > joins + o->limit)
        n = joins + o->limit;
    return n;
}

static void send_due(void *arg)
{
    struct lorawan *l = arg;
    enum { SPARE = 8, TURN = 500 }; /* let the loop breathe */
    int64_t now = now_us(), until = due(l);
    uint32_t n_heat = l->options.fleet->n_heat;

    release_held(l, now);
    if (l->options.sim->stopping || !n_heat)
        return;
    for (int i = 0; i < TURN && l->sent < until; i++) {
        if (publisher_room(l->publisher) < SPARE)
            return;
        struct heat_meter *m = &l->options.fleet->heat[l->sent % n_heat];
        if (l->sent < n_heat)
            send_join(l, m, now + i);
        else
            send_uplink(l, m, now + i); /* times differ within a turn */
        l->sent++;
    }
}

int lorawan_new(uv_loop_t *loop, const struct lorawan_options *o,
                struct lorawan **ret)
{
    struct lorawan *l = mem_alloc(sizeof(*l));
    char client_id[32];
    int r;

    snprintf(client_id, sizeof(client_id), "headend-sim-%d", uv_os_getpid());
    *l = (struct lorawan){
        .options = *o,
        .rng = {(uint64_t)o->sim->start_us},
        .arena = arena_new(0),
        .begun_us = clock_mono(&clock_system),
    };
    r = publisher_new(loop,
                      &(struct publisher_options){.url = o->broker,
                                                  .client_id = client_id,
                                                  .window = WINDOW,
                                                  .on_room = send_due,
                                                  .arg = l},
                      &l->publisher);
    if (r < 0) {
        lorawan_free(l);
        return r;
    }
    l->tick = ticker_new(loop, send_due, l);
    ticker_start(l->tick, TICK_MS, TICK_MS);
    *ret = l;
    return 0;
}

bool lorawan_idle(const struct lorawan *l)
{
    const struct lorawan_options *o = &l->options;
    for (int i = 0; i < HELD_MAX; i++)
        if (l->held[i].topic.n)
            return false;
    return (o->sim->stopping || complete(l) || !o->fleet->n_heat) &&
           publisher_waiting(l->publisher) == 0;
}

struct publisher_stats lorawan_stats(const struct lorawan *l)
{
    return publisher_stats(l->publisher);
}

void lorawan_free(struct lorawan *l)
{
    if (!l)
        return;
    publisher_free(l->publisher);
    ticker_free(l->tick);
    for (int i = 0; i < HELD_MAX; i++) {
        buf_done(&l->held[i].topic);
        buf_done(&l->held[i].payload);
    }
    buf_done(&l->topic);
    buf_done(&l->payload);
    buf_done(&l->telegram);
    arena_free(l->arena);
    free(l);
}
