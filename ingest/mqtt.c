/*
 * mqtt.c - which integrations have bridges: a feed per integration, a slot
 * (slot.c) per bridge. An integration that changes first ends all its bridges
 * and then starts them anew, so that no two processes of ours ever use the
 * same client id.
 */
#include "ingest/mqtt.h"
#include "ingest/link.h"
#include "ingest/slot.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <stdlib.h>

enum { SLOTS_MAX = 64 };

/* What the kinds of integration subscribe to, after the prefix. */
static const struct network {
    enum integration_kind kind;
    enum frame_source source;
    const char *topics[LINK_TOPICS];
} networks[] = {
    {INTEGRATION_CHIRPSTACK,
     SOURCE_CHIRPSTACK,
     {"application/+/device/+/event/up", "application/+/device/+/event/join",
      "application/+/device/+/event/txack",
      "application/+/device/+/event/ack"}},
    {INTEGRATION_TTS,
     SOURCE_TTS,
     {"v3/+/devices/+/up", "v3/+/devices/+/join", "v3/+/devices/+/down/sent",
      "v3/+/devices/+/down/ack", "v3/+/devices/+/down/nack",
      "v3/+/devices/+/down/failed"}},
};

struct feed {
    struct mqtt *m;
    struct feed *next;
    struct setup *setup;
    struct setup *then; /* ending: what comes after; NULL: nothing */
    bool ending;
    struct site site;
    struct slot **slots; /* setup->slots of them */
};

struct mqtt {
    uv_loop_t *loop;
    struct journal *journal;
    struct quotas *quotas;
    const struct ingest_options *options;
    struct feed *feeds;
    struct ingest_stats totals;
    struct ticker *end; /* calls done from the loop, not from mqtt_stop */
    void (*done)(void *arg);
    void *done_arg;
};

/* "mqtt://user:secret@host" loses what stands before the '@'. */
static char *bare_url(const char *url)
{
    const char *host = strstr(url, "://");
    const char *at, *path;
    struct buf b = {0};

    host = host ? host + 3 : url;
    path = host + strcspn(host, "/?#");
    at = memrchr(host, '@', (size_t)(path - host));
    buf_put(&b, url, (size_t)(host - url));
    buf_z(&b, at ? at + 1 : host);
    buf_u8(&b, 0);
    return (char *)b.p;
}

static struct setup *setup_new(const struct integration *in,
                               const struct network *network)
{
    struct setup *u = mem_alloc(sizeof *u);

    *u = (struct setup){
        .tenant_id = in->tenant_id,
        .integration_id = in->integration_id,
        .source = network->source,
        .topics = network->topics,
        .url = bare_url(in->url ? in->url : ""),
        .username = mem_strdup(in->username),
        .password = mem_strdup(in->password),
        .ca_file = mem_strdup(in->ca_file),
        .cert_file = mem_strdup(in->cert_file),
        .key_file = mem_strdup(in->key_file),
        .prefix = mem_strdup(in->topic_prefix ? in->topic_prefix : ""),
        .slots = in->bridges < SLOTS_MAX ? in->bridges : SLOTS_MAX,
        .revision = in->revision,
    };
    if (u->slots < 1)
        u->slots = 1;
    return u;
}

static void setup_free(struct setup *u)
{
    if (!u)
        return;
    if (u->password)
        explicit_bzero(u->password, strlen(u->password));
    free(u->url);
    free(u->username);
    free(u->password);
    free(u->ca_file);
    free(u->cert_file);
    free(u->key_file);
    free(u->prefix);
    free(u);
}

static const struct network *network_of(const struct integration *in)
{
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (networks[i].kind == in->kind)
            return &networks[i];
    return NULL;
}

static void feed_rest(void *arg);

static void feed_start(struct feed *f)
{
    struct mqtt *m = f->m;

    f->site = (struct site){
        .loop = m->loop,
        .journal = m->journal,
        .quotas = m->quotas,
        .options = m->options,
        .setup = f->setup,
        .door = door_new(m->loop, m->journal, m->options->clock),
        .totals = &m->totals,
        .slot_ended = feed_rest,
        .arg = f,
    };
    f->slots = mem_alloc((size_t)f->setup->slots * sizeof *f->slots);
    for (int k = 0; k < f->setup->slots; k++)
        f->slots[k] = slot_new(&f->site, k);
}

static void feed_free(struct feed *f)
{
    struct mqtt *m = f->m;
    struct feed **at = &m->feeds;

    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    setup_free(f->setup);
    free(f);
    if (m->done && !m->feeds)
        ticker_start(m->end, 0, 0);
}

/* When the last slot has ended: what comes after, or nothing. */
static void feed_rest(void *arg)
{
    struct feed *f = arg;

    for (int k = 0; k < f->setup->slots; k++)
        if (!slot_ended(f->slots[k]))
            return;
    for (int k = 0; k < f->setup->slots; k++)
        slot_free(f->slots[k]);
    free(f->slots);
    door_free(f->site.door);
    f->ending = false;
    if (!f->then) {
        feed_free(f);
        return;
    }
    setup_free(f->setup);
    f->setup = f->then;
    f->then = NULL;
    feed_start(f);
}

/* Ends the feed's bridges; `then` (taken over) is what it becomes. */
static void feed_change(struct feed *f, struct setup *then)
{
    setup_free(f->then);
    f->then = then;
    if (f->ending)
        return;
    f->ending = true;
    for (int k = 0; k < f->setup->slots; k++)
        slot_end(f->slots[k]);
    feed_rest(f);
}

static void apply_one(struct mqtt *m, const struct integration *in,
                      const struct network *network)
{
    struct feed *f = m->feeds;
    const struct setup *last;

    while (f && f->setup->integration_id != in->integration_id)
        f = f->next;
    if (!f) {
        f = mem_alloc(sizeof *f);
        *f = (struct feed){.m = m, .next = m->feeds};
        f->setup = setup_new(in, network);
        m->feeds = f;
        feed_start(f);
        return;
    }
    last = f->ending ? f->then : f->setup;
    if (!last || last->revision != in->revision)
        feed_change(f, setup_new(in, network));
}

static bool wanted(const struct integration *in)
{
    return in->enabled && network_of(in);
}

void mqtt_apply(struct mqtt *m, const struct integration *list, uint32_t n)
{
    struct feed *f, *next;

    if (m->done)
        return;
    for (f = m->feeds; f; f = next) {
        bool keep = false;

        next = f->next;
        for (uint32_t i = 0; i < n && !keep; i++)
            keep = wanted(&list[i]) &&
                   list[i].integration_id == f->setup->integration_id;
        if (!keep)
            feed_change(f, NULL);
    }
    for (uint32_t i = 0; i < n; i++)
        if (wanted(&list[i]))
            apply_one(m, &list[i], network_of(&list[i]));
}

static void on_end(void *arg)
{
    struct mqtt *m = arg;

    m->done(m->done_arg);
}

struct mqtt *mqtt_new(uv_loop_t *loop, struct journal *j, struct quotas *q,
                      const struct ingest_options *o)
{
    struct mqtt *m = mem_alloc(sizeof *m);

    *m = (struct mqtt){.loop = loop, .journal = j, .quotas = q, .options = o};
    m->end = ticker_new(loop, on_end, m);
    return m;
}

void mqtt_stop(struct mqtt *m, void (*done)(void *), void *arg)
{
    struct feed *f, *next;

    m->done = done;
    m->done_arg = arg;
    if (!m->feeds)
        ticker_start(m->end, 0, 0);
    for (f = m->feeds; f; f = next) {
        next = f->next;
        feed_change(f, NULL);
    }
}

void mqtt_free(struct mqtt *m)
{
    if (!m)
        return;
    ticker_free(m->end);
    free(m);
}

void mqtt_stats(const struct mqtt *m, struct ingest_stats *s)
{
    s->frames[0] += m->totals.frames[0];
    s->rejected[0] += m->totals.rejected[0];
    s->acked[0] += m->totals.acked[0];
    s->bridge_restarts += m->totals.bridge_restarts;
    for (const struct feed *f = m->feeds; f; f = f->next)
        for (int k = 0; k < f->setup->slots; k++)
            slot_stats(f->slots[k], s);
}

uint32_t mqtt_connected(const struct mqtt *m, int32_t *ids, uint32_t most)
{
    uint32_t n = 0;

    for (const struct feed *f = m->feeds; f && n < most; f = f->next) {
        struct ingest_stats s = {0};
        for (int k = 0; k < f->setup->slots; k++)
            slot_stats(f->slots[k], &s);
        if (s.bridges_connected && !f->ending)
            ids[n++] = f->setup->integration_id;
    }
    return n;
}

int mqtt_publish(struct mqtt *m, int32_t integration_id, struct str topic,
                 struct str payload)
{
    struct feed *f = m->feeds;
    int r = ERR_AWAY;

    while (f && f->setup->integration_id != integration_id)
        f = f->next;
    if (!f || f->ending)
        return ERR_UNKNOWN;
    for (int k = 0; k < f->setup->slots && r < 0; k++)
        r = slot_publish(f->slots[k], topic, payload);
    return r;
}
