/*
 * tenant_codec.c - script -> mapping -> measurements. What the script warns of
 * is kept with the frame as extras.
 */
#include "server/pipeline/tenant_codec.h"
#include "codecs/extras.h"
#include "codecs/script/mapping.h"
#include "codecs/script/vectors.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { MAPPING_ARENA = 4 << 20 };

struct tenant_codec {
    atomic_int refs;
    struct codec face;
    int16_t codec_version_id;
    struct scripts *scripts;
    struct hash128 key;
    struct str script, mapping_text;
    struct arena *arena; /* of the mapping */
    struct mapping *mapping;
    struct str why; /* the mapping cannot be read; empty: it can */
};

static struct str copy(struct str s)
{
    return (struct str){mem_strndup(s.p, s.n), s.n};
}

struct tenant_codec *tenant_codec_new(struct scripts *s, int32_t tenant_id,
                                      const char *name, uint32_t version,
                                      int16_t codec_version_id,
                                      struct str script, struct str mapping)
{
    struct tenant_codec *c = mem_alloc(sizeof *c);

    atomic_init(&c->refs, 1);
    c->face = (struct codec){.abi = CODEC_ABI,
                             .name = mem_strdup(name),
                             .version = version,
                             .title = "payload codec in JavaScript",
                             .source = "the tenant's own",
                             .medium = MEDIUM_OTHER};
    c->codec_version_id = codec_version_id;
    c->scripts = s;
    c->key = script_key(tenant_id, script);
    c->script = copy(script);
    c->mapping_text = copy(mapping);
    c->arena = arena_new(MAPPING_ARENA);
    if (mapping.n)
        mapping_read(c->arena, c->mapping_text, &c->mapping, &c->why);
    return c;
}

struct tenant_codec *tenant_codec_ref(struct tenant_codec *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void tenant_codec_unref(struct tenant_codec *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    arena_free(c->arena);
    free((char *)c->mapping_text.p);
    free((char *)c->script.p);
    free((char *)c->face.name);
    free(c);
}

int tenant_codec_prove(struct scripts *s, int32_t tenant_id, struct str script,
                       struct str mapping, struct str vectors, struct arena *a,
                       struct str *why)
{
    struct vectors_outcome proof;
    struct mapping *m;
    struct str wrong = {0};
    int err = mapping.n ? mapping_read(a, mapping, &m, &wrong) : 0;

    if (err < 0) {
        *why = arena_printf(a, "mapping: %.*s", STR_ARGS(wrong));
        return err;
    }
    struct script_call any = {.key = script_key(tenant_id, script),
                              .source = script,
                              .port = 1,
                              .input = STR("\0"),
                              .time_us = TIME_NONE};
    struct script_result r;
    err = script_run(s, &any, a, &r);
    if (err < 0 && (r.unusable || err == ERR_AWAY)) {
        *why = r.error;
        return err;
    }
    err = vectors_run(s, any.key, script, vectors.n ? vectors : STR("[]"), a,
                      &proof);
    *why = proof.difference;
    return err < 0 ? err : (int)proof.passed;
}

const struct codec *tenant_codec_face(const struct tenant_codec *c)
{
    return &c->face;
}

int16_t tenant_codec_version_id(const struct tenant_codec *c)
{
    return c->codec_version_id;
}

static int fail(struct decoded *d, int err, struct str text)
{
    struct str z = arena_str(d->arena, text);

    return decoded_fail(d, err, z.p ? z.p : err_text(err), 0);
}

static int keep_warnings(struct decoded *d, struct str warnings)
{
    struct json_error why;
    struct json *list = NULL;

    if (warnings.n == 0 || json_parse(d->arena, warnings,
                                      (struct json_limits){0}, &list, &why) < 0)
        return 0;
    return extras_add(d, 0, STR("warnings"), list);
}

int tenant_codec_decode(const struct tenant_codec *c,
                        const struct codec_input *in, int64_t time_us,
                        struct arena *arena, struct decoded *d,
                        const char **reason)
{
    struct script_call call = {.key = c->key,
                               .source = c->script,
                               .function = SCRIPT_DECODE_UPLINK,
                               .port = in->port,
                               .input = in->payload,
                               .time_us = time_us,
                               .normalize = mapping_of_normalized(c->mapping)};
    struct script_result r;
    int err = decoded_init(d, arena);

    *reason = "decode_failed";
    if (err < 0)
        return err;
    if (c->why.n)
        return fail(d, ERR_FORMAT,
                    arena_printf(arena, "mapping: %.*s", STR_ARGS(c->why)));
    err = script_run(c->scripts, &call, arena, &r);
    if (err < 0) {
        *reason = r.barred          ? "codec_quarantined"
                  : err == ERR_AWAY ? "codec_host_lost"
                                    : "decode_failed";
        return fail(d, err, r.error);
    }
    err = mapping_apply(c->mapping, call.normalize ? r.normalized : r.data, d);
    return err < 0 ? err : keep_warnings(d, r.warnings);
}
