/*
 * registry.c - the list of codecs, and the guard rails around each call.
 */
#include "codecs/registry.h"
#include "server/base/err.h"
#include "server/base/hex.h"

extern const struct codec codec_mbus_records;
extern const struct codec codec_mbus;
extern const struct codec codec_wmbus;
extern const struct codec codec_elvaco_cmi41;
extern const struct codec codec_elvaco_cme;
extern const struct codec codec_heo_json;
extern const struct codec codec_sml;
extern const struct codec codec_iec62056_21;
extern const struct codec codec_dlms_push;
extern const struct codec codec_vega_si11;
extern const struct codec codec_pulsar_m;
extern const struct codec codec_pulsar_heat;
extern const struct codec codec_karat_928lw;
extern const struct codec codec_ts003;

/* Built-in ones, then those that codec_add() brought; NULL behind the last. */
/* clang-format off */
static const struct codec *codecs[CODECS_MAX + 1] = {
    &codec_mbus_records,
    &codec_mbus,
    &codec_wmbus,
    &codec_elvaco_cmi41,
    &codec_elvaco_cme,
    &codec_heo_json,
    &codec_sml,
    &codec_iec62056_21,
    &codec_dlms_push,
    &codec_vega_si11,
    &codec_pulsar_m,
    &codec_pulsar_heat,
    &codec_karat_928lw,
    &codec_ts003,
};
/* clang-format on */

const struct codec *const *codec_list(void)
{
    return codecs;
}

const struct codec *codec_find(struct str name)
{
    for (const struct codec *const *c = codecs; *c; c++) {
        if (str_is(name, (*c)->name))
            return *c;
    }
    return NULL;
}

int codec_number(const struct codec *c)
{
    for (int i = 0; codecs[i]; i++) {
        if (codecs[i] == c)
            return i;
    }
    return ERR_UNKNOWN;
}

int codec_add(const struct codec *c)
{
    int n = 0;

    while (codecs[n])
        n++;
    if (n == CODECS_MAX)
        return ERR_FULL;
    codecs[n] = c;
    return n;
}

int codec_decode(const struct codec *c, const struct codec_input *in,
                 struct arena *arena, struct decoded *d)
{
    int r = decoded_init(d, arena);

    if (r < 0)
        return r;
    if (c->abi != CODEC_ABI)
        return decoded_fail(d, ERR_UNSUPPORTED, "codec of another ABI", 0);
    if (in->payload.n == 0)
        return decoded_fail(d, ERR_SHORT, "empty payload", 0);
    d->medium = c->medium;
    r = c->decode(in, d);
    if (r < 0 && !d->error)
        d->error = err_text(r);
    return r < 0 ? r : 0;
}

/* The payload of a vector as bytes in the arena. */
static int vector_payload(const struct codec_vector *v, struct arena *arena,
                          struct str *ret)
{
    if (v->text) {
        *ret = str_of(v->text);
        return 0;
    }
    size_t cap = strlen(v->hex);
    uint8_t *p = arena_alloc(arena, cap + 1);
    int n = p ? hex_decode(str_of(v->hex), p, cap) : ERR_FULL;
    if (n < 0)
        return n;
    *ret = (struct str){(const char *)p, (size_t)n};
    return 0;
}

int codec_check(const struct codec *c, const struct codec_vector *v,
                struct arena *arena, struct str *got)
{
    struct codec_input in = {.port = v->port};
    struct decoded d;
    uint8_t key[16];
    int r = vector_payload(v, arena, &in.payload);

    if (r == 0 && v->key) {
        r = hex_decode(str_of(v->key), key, sizeof(key)) == 16 ? 0 : ERR_FORMAT;
        in.key = key;
    }
    if (r < 0) {
        *got = arena_printf(arena, "vector unreadable: %s", err_name(r));
        return ERR_CONFLICT;
    }
    r = codec_decode(c, &in, arena, &d);
    if (r < 0)
        *got = arena_printf(arena, "%s at byte %u: %s", err_name(r),
                            d.error_offset, d.error ? d.error : "");
    else
        *got = decoded_text(&d);
    if (r != v->err || (r == 0 && (!v->expect || !str_is(*got, v->expect))))
        return ERR_CONFLICT;
    return 0;
}
