/*
 * examine.c - see examine.h.
 */
#include "server/pipeline/examine.h"
#include "server/base/err.h"
#include "server/pipeline/stage.h"

/* What a meter sends over TCP has one form, whoever the meter is. */
static const struct codec *codec_of(const struct stage_item *it,
                                    struct str name)
{
    if (name.n)
        return codec_find(name);
    return it->frame.source == SOURCE_HEO ? codec_find(STR("heo-json")) : NULL;
}

static void decode(const struct stage_item *it, struct arena *a,
                   struct examined *x)
{
    struct codec_input in = {.payload = x->payload,
                             .port = it->is_uplink ? it->uplink.port : 0};
    struct decoded d = {0};

    x->err = codec_decode(x->codec, &in, a, &d);
    if (d.arena)
        x->decoded = decoded_text(&d);
    if (x->err < 0) {
        x->error = d.error ? d.error : err_text(x->err);
        x->offset = d.error_offset;
    }
}

int examine(struct str record, struct str codec, struct arena *a,
            struct examined *ret)
{
    struct examined x = {0};
    struct stage_item it;
    int err = frame_decode(record, &x.frame);

    if (err < 0)
        return err;
    stage_parse(&it, a, record, false, 0, 0);
    x.payload = it.is_uplink ? it.uplink.payload : x.frame.payload;
    x.device =
        it.is_uplink
            ? arena_printf(a, "%016llx", (unsigned long long)it.uplink.dev_eui)
            : x.frame.identity;
    if (it.is_uplink || x.frame.source == SOURCE_HEO)
        x.codec = codec_of(&it, codec);
    if (x.codec)
        decode(&it, a, &x);
    *ret = x;
    return 0;
}
