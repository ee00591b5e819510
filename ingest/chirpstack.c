/*
 * chirpstack.c - events of ChirpStack.
 *
 * Sources: chirpstack api/proto/integration/integration.proto (v4.19, pbjson:
 * lowerCamelCase, proto names accepted) and chirpstack-application-server
 * f2f2c34 (v3: marshalers json and json_v3).
 * Topic: application/{id}/device/{DevEUI}/event/{up|join|...}.
 * v4 carries deviceInfo; v3 has applicationID and devEUI at the top, in "json"
 * with base64 identifiers. v4 leaves rssi and snr of 0 out.
 */
#include "ingest/document.h"
#include "server/base/err.h"

static const struct dialect {
    const char *confirmed, *gateway, *snr;
} v4 = {"confirmed", "gatewayId", "snr"},
  v3 = {"confirmedUplink", "gatewayID", "loRaSNR"};

/* The topic's DevEUI stands in for one that the document leaves out, and
 * contradicts none that it gives: an ACL on topics must mean something. */
static int read_dev_eui(struct document *d, struct str said)
{
    struct str named = {0};
    uint64_t eui;
    int r;

    if (str_is(topic_segment(d->topic, 1), "event") &&
        str_is(topic_segment(d->topic, 3), "device"))
        named = topic_segment(d->topic, 2);
    r = take_dev_eui(d, said.n ? said : named);
    if (r == 0 && said.n && named.n &&
        (identifier(d, named, 8, &eui) < 0 || eui != d->up->dev_eui))
        r = refuse(d, "eui_mismatch", "the topic names %.*s", STR_ARGS(named));
    return r;
}

/* An up has data fields, or at least was heard by someone; a join has none. */
static int check_event(struct document *d)
{
    const struct json *o = d->root;
    bool data = field(o, "fCnt") || field(o, "fPort") || field(o, "data");
    bool heard = field(o, "rxInfo") || field(o, "txInfo");

    if (d->up->kind == UPLINK_JOIN ? !data : data || heard)
        return 0;
    return refuse(d, "wrong_event", "the document is not what the topic says");
}

/* Returns the time that the strongest gateway gave, for want of a better. */
static const struct json *read_receptions(struct document *d,
                                          const struct dialect *names)
{
    const struct json *list = field(d->root, "rxInfo"), *time = NULL;

    if (!list || list->type != JSON_ARRAY)
        return NULL;
    json_each (rx, list) {
        if (!take_reception(d, json_str(field(rx, names->gateway)),
                            json_get(rx, "rssi"), json_get(rx, names->snr)))
            continue;
        time = field(rx, "nsTime");
        if (!time)
            time = json_get(rx, "time"); /* v3: GNSS gateways only */
    }
    return time;
}

static int read_data(struct document *d, const struct dialect *names)
{
    uint32_t port = 0;
    int r = field_uint(d, field(d->root, "fCnt"), UINT32_MAX, "bad_counter",
                       &d->up->counter);

    if (r == 0)
        r = field_uint(d, field(d->root, "fPort"), 255, "bad_port", &port);
    if (r == 0)
        r = take_payload(d, json_get(d->root, "data"));
    d->up->has_counter = true;
    d->up->port = (int)port;
    d->up->confirmed = json_bool(field(d->root, names->confirmed), false);
    return r;
}

static int read_event(struct document *d, const struct dialect *names,
                      struct str dev_eui, const char *time)
{
    const struct json *heard;
    int r = check_event(d);

    if (r == 0)
        r = read_dev_eui(d, dev_eui);
    if (r == 0)
        r = take_dev_addr(d, json_str(field(d->root, "devAddr")));
    if (r == 0 && d->up->kind == UPLINK_DATA)
        r = read_data(d, names);
    if (r < 0)
        return r;
    heard = read_receptions(d, names);
    d->up->network_us = network_time(field(d->root, time));
    if (d->up->network_us == TIME_NONE)
        d->up->network_us = network_time(heard);
    return 0;
}

static int read_v4(struct document *d, const struct json *device)
{
    const struct json *keys = field(d->root, "joinServerContext");
    const struct json *lora =
        json_get(json_get(field(d->root, "txInfo"), "modulation"), "lora");

    d->up->dedup_id = json_str(field(d->root, "deduplicationId"));
    d->up->encrypted =
        d->up->kind == UPLINK_DATA && field(keys, "appSKey") != NULL;
    take_spreading_factor(d, field(lora, "spreadingFactor"));
    return read_event(d, &v4, json_str(field(device, "devEui")), "time");
}

static int read_v3(struct document *d)
{
    const struct json *lora =
        json_get(json_get(d->root, "txInfo"), "loRaModulationInfo");

    take_spreading_factor(d, json_get(lora, "spreadingFactor"));
    return read_event(d, &v3, json_str(json_get(d->root, "devEUI")),
                      "publishedAt");
}

int chirpstack_read(struct document *d)
{
    const struct json *device = field(d->root, "deviceInfo");

    if (device)
        return read_v4(d, device);
    if (json_get(d->root, "applicationID") || json_get(d->root, "devEUI"))
        return read_v3(d);
    return refuse(d, "no_device", "neither deviceInfo nor applicationID");
}
