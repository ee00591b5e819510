/*
 * ingest.c - one face for the ways in: the MQTT bridges (mqtt.c) and the TCP
 * listeners (tcp.c).
 */
#include "ingest/ingest.h"
#include "ingest/downlink.h"
#include "ingest/mqtt.h"
#include "ingest/tcp.h"
#include "server/base/mem.h"

#include <signal.h>
#include <stdlib.h>

struct ingest {
    struct directory *directory;
    struct mqtt *mqtt;
    struct tcp *tcp;
    int stopping; /* ways in that are not closed yet */
    void (*done)(void *arg);
    void *done_arg;
};

int ingest_new(uv_loop_t *loop, struct journal *j, struct directory *d,
               const struct ingest_options *o, struct ingest **ret)
{
    struct ingest *in = mem_alloc(sizeof *in);

    signal(SIGPIPE, SIG_IGN); /* a meter or bridge that went is an error code */
    in->directory = d;
    in->mqtt = mqtt_new(loop, j, directory_quotas(d), o);
    in->tcp = tcp_new(loop, j, d, o);
    *ret = in;
    return 0;
}

void ingest_apply(struct ingest *in)
{
    uint32_t n = 0;
    const struct integration *list = directory_integrations(in->directory, &n);

    mqtt_apply(in->mqtt, list, n);
    tcp_apply(in->tcp, list, n);
}

void ingest_reload(struct ingest *in)
{
    tcp_reload(in->tcp);
}

static void on_stopped(void *arg)
{
    struct ingest *in = arg;

    if (--in->stopping == 0)
        in->done(in->done_arg);
}

void ingest_stop(struct ingest *in, void (*done)(void *arg), void *arg)
{
    in->done = done;
    in->done_arg = arg;
    in->stopping = 2;
    mqtt_stop(in->mqtt, on_stopped, in);
    tcp_stop(in->tcp, on_stopped, in);
}

void ingest_free(struct ingest *in)
{
    if (!in)
        return;
    mqtt_free(in->mqtt);
    tcp_free(in->tcp);
    free(in);
}

void ingest_stats(const struct ingest *in, struct ingest_stats *ret)
{
    *ret = (struct ingest_stats){0};
    mqtt_stats(in->mqtt, ret);
    tcp_stats(in->tcp, ret);
}

int ingest_listener_port(const struct ingest *in, int32_t integration_id)
{
    return tcp_port(in->tcp, integration_id);
}

int ingest_downlink(struct ingest *in, const struct downlink *d)
{
    struct buf topic = {0}, document = {0};
    int r = downlink_build(d, &topic, &document);

    if (r == 0)
        r = mqtt_publish(in->mqtt, d->integration_id, buf_view(&topic),
                         buf_view(&document));
    buf_done(&topic);
    buf_done(&document);
    return r;
}

int ingest_set_clock(struct ingest *in, int32_t tenant, int32_t meter,
                     const char *id, int64_t shift_us)
{
    return tcp_set_clock(in->tcp, tenant, meter, id, shift_us);
}

int ingest_set_slot(struct ingest *in, int32_t tenant, int32_t meter,
                    int32_t at_s, int32_t window_s)
{
    return tcp_set_slot(in->tcp, tenant, meter, at_s, window_s);
}

int ingest_command(struct ingest *in, int32_t tenant, int32_t meter,
                   struct str line)
{
    return tcp_command(in->tcp, tenant, meter, line);
}

void ingest_no_command(struct ingest *in, int32_t tenant, int32_t meter)
{
    tcp_no_command(in->tcp, tenant, meter);
}

bool ingest_listens(const struct ingest *in, int32_t tenant, int32_t meter)
{
    return tcp_listens(in->tcp, tenant, meter);
}

uint32_t ingest_bridged(const struct ingest *in, int32_t *ids, uint32_t most)
{
    return mqtt_connected(in->mqtt, ids, most);
}
