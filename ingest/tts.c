/*
 * tts.c - messages of The Things Stack v3 (api/messages.proto, ApplicationUp;
 * v3.32.1). Topic: v3/{application}@{tenant}/devices/{device_id}/{up|join}.
 * Names are snake_case; counters, ports and flags that are 0 are left out.
 * The network's time is uplink_message.received_at: gateways' own clocks may
 * be decades off, and the outer received_at is a hop later.
 */
#include "ingest/document.h"
#include "server/base/err.h"

static int read_device(struct document *d)
{
    const struct json *ids = json_get(d->root, "end_device_ids");
    struct str device = json_str(json_get(ids, "device_id"));
    struct str named = {0};
    int r;

    if (!ids)
        return refuse(d, "no_device", "no end_device_ids");
    if (str_is(topic_segment(d->topic, 2), "devices"))
        named = topic_segment(d->topic, 1);
    if (device.n && named.n && !str_eq(device, named))
        return refuse(d, "device_mismatch", "the topic names %.*s",
                      STR_ARGS(named));
    r = take_dev_eui(d, json_str(json_get(ids, "dev_eui")));
    if (r == 0)
        r = take_dev_addr(d, json_str(json_get(ids, "dev_addr")));
    return r;
}

static int read_data(struct document *d, const struct json *m)
{
    uint32_t port = 0;
    int r = field_uint(d, json_get(m, "f_cnt"), UINT32_MAX, "bad_counter",
                       &d->up->counter);

    if (r == 0)
        r = field_uint(d, json_get(m, "f_port"), 255, "bad_port", &port);
    if (r == 0)
        r = take_payload(d, json_get(m, "frm_payload"));
    d->up->has_counter = true;
    d->up->port = (int)port;
    d->up->confirmed = json_bool(json_get(m, "confirmed"), false);
    /* The key comes along only where the stack was told not to decrypt. */
    d->up->encrypted = json_get(m, "app_s_key") != NULL;
    return r;
}

static void read_radio(struct document *d, const struct json *m)
{
    const struct json *rate = json_get(json_get(m, "settings"), "data_rate");
    const struct json *list = json_get(m, "rx_metadata");

    take_spreading_factor(d,
                          json_get(json_get(rate, "lora"), "spreading_factor"));
    if (!list || list->type != JSON_ARRAY)
        return;
    json_each (rx, list)
        take_reception(d,
                       json_str(json_get(json_get(rx, "gateway_ids"), "eui")),
                       json_get(rx, "rssi"), json_get(rx, "snr"));
}

int tts_read(struct document *d)
{
    bool data = d->up->kind == UPLINK_DATA;
    const struct json *m =
        json_get(d->root, data ? "uplink_message" : "join_accept");
    int r;

    if (!m)
        return refuse(d, "wrong_event",
                      "the document is not what the topic says");
    r = read_device(d);
    if (r == 0 && data)
        r = read_data(d, m);
    if (r < 0)
        return r;
    read_radio(d, m);
    d->up->network_us = network_time(json_get(m, "received_at"));
    if (d->up->network_us == TIME_NONE)
        d->up->network_us = network_time(json_get(d->root, "received_at"));
    return 0;
}
