/* downlink.c - see downlink.h. The topic is the uplink's with another end. */
#include "ingest/downlink.h"
#include "server/base/err.h"
#include "server/base/hex.h"

enum { PAYLOAD_MAX = 242, PORT_MOST = 223 };

/* The topic up to the last of `separator`, without it; empty if there is none.
 */
static struct str before_last(struct str topic, struct str separator)
{
    for (size_t at = topic.n; at-- > 0;)
        if (topic.n - at >= separator.n &&
            memcmp(topic.p + at, separator.p, separator.n) == 0)
            return (struct str){topic.p, at};
    return (struct str){0};
}

static void chirpstack(const struct downlink *d, struct str base64,
                       struct buf *document)
{
    buf_printf(document,
               "{\"devEui\":\"%016llx\",\"confirmed\":%s,\"fPort\":%d,"
               "\"data\":\"%.*s\"",
               (unsigned long long)d->dev_eui, d->confirmed ? "true" : "false",
               d->port, STR_ARGS(base64));
    if (d->id) {
        buf_z(document, ",\"id\":");
        buf_json_str(document, str_of(d->id));
    }
    if (d->not_after_us) { /* v4.14; others know no such member */
        char text[TIME_TEXT];
        buf_printf(document, ",\"expiresAt\":\"%s\"",
                   time_text(d->not_after_us, text));
    }
    buf_z(document, "}");
}

static void tts(const struct downlink *d, struct str base64,
                struct buf *document)
{
    buf_printf(document,
               "{\"downlinks\":[{\"f_port\":%d,\"frm_payload\":\"%.*s\","
               "%s\"priority\":\"NORMAL\"",
               d->port, STR_ARGS(base64),
               d->confirmed ? "\"confirmed\":true," : "");
    if (d->id) {
        buf_z(document, ",\"correlation_ids\":[");
        buf_json_str(document, str_of(d->id));
        buf_z(document, "]");
    }
    buf_z(document, "}]}");
}

static const struct network {
    enum frame_source source;
    struct str ends;  /* of an uplink's topic: from here on */
    const char *down; /* what stands there instead */
    void (*put)(const struct downlink *d, struct str base64, struct buf *out);
} networks[] = {
    {SOURCE_CHIRPSTACK, {"/event/", 7}, "/command/down", chirpstack},
    {SOURCE_TTS, {"/", 1}, "/down/push", tts},
};

int downlink_build(const struct downlink *d, struct buf *topic,
                   struct buf *document)
{
    const struct network *n = networks, *end = n + 2;
    struct str base;

    if (d->port < 1 || d->port > PORT_MOST || d->payload.n > PAYLOAD_MAX)
        return ERR_RANGE;
    while (n < end && n->source != d->source)
        n++;
    if (n == end)
        return ERR_UNSUPPORTED;
    base = before_last(d->topic, n->ends);
    if (base.n == 0)
        return ERR_FORMAT;
    struct arena *a = arena_new(0);
    buf_str(topic, base);
    buf_z(topic, n->down);
    n->put(d, base64_encode(a, d->payload), document);
    arena_free(a);
    return 0;
}
