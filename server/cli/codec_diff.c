/*
 * codec_diff.c - headend replay --codec NAME --version N --dry-run: what that
 * version would make of the frames that the version in force has decoded.
 * Decoding is pure, so both are run again over the stored payloads.
 */
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/cli/db.h"
#include "server/cli/replay.h"
#include "server/pipeline/tenant_codec.h"
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_LIMIT = 64 << 20 };

struct compared {
    int frames, same, differ, failed, mended;
};

static struct tenant_codec *version_of(struct scripts *s, int32_t tenant,
                                       const PGresult *r, int row)
{
    return tenant_codec_new(
        s, tenant, PQgetvalue(r, row, 0), (uint32_t)atoi(PQgetvalue(r, row, 1)),
        0, str_of(PQgetvalue(r, row, 2)), str_of(PQgetvalue(r, row, 3)));
}

/* What a version makes of a frame: its text, or the error. */
static struct str outcome(const struct tenant_codec *k, const PGresult *r,
                          int row, struct arena *a, bool *failed)
{
    struct str hex = str_of(PQgetvalue(r, row, 2));
    uint8_t *bytes = arena_alloc(a, hex.n / 2 + 1);
    struct codec_input in = {.port = atoi(PQgetvalue(r, row, 1))};
    const char *reason;
    struct decoded d;
    int n = hex_decode(hex, bytes, hex.n / 2 + 1);

    in.payload = (struct str){(char *)bytes, n < 0 ? 0 : (size_t)n};
    int err = tenant_codec_decode(k, &in, atoll(PQgetvalue(r, row, 3)), a, &d,
                                  &reason);
    *failed = err < 0;
    return err < 0 ? arena_printf(a, "error: %s", d.error) : decoded_text(&d);
}

static void compare(const struct tenant_codec *before,
                    const struct tenant_codec *after, const PGresult *r,
                    int row, struct arena *a, struct compared *sum)
{
    enum { SHOWN = 20 };
    bool was_failed, failed;

    arena_reset(a);
    struct str was = outcome(before, r, row, a, &was_failed);
    struct str now = outcome(after, r, row, a, &failed);
    sum->frames++;
    if (str_eq(was, now)) {
        sum->same++;
        return;
    }
    sum->differ++;
    sum->failed += failed && !was_failed;
    sum->mended += was_failed && !failed;
    if (sum->differ <= SHOWN)
        printf("frame %s\n  - %.*s\n  + %.*s\n", PQgetvalue(r, row, 0),
               STR_ARGS(was), STR_ARGS(now));
}

static const char versions_sql[] =
    "SELECT name, version, script, coalesce(mapping, '') FROM codec"
    " WHERE tenant_id = $1::int AND name = $2 AND (state = 'active' OR version"
    " = coalesce($3::int, (SELECT max(version) FROM codec WHERE tenant_id ="
    " $1::int AND name = $2))) ORDER BY version <> coalesce($3::int, (SELECT"
    " max(version) FROM codec WHERE tenant_id = $1::int AND name = $2))";

static const char frames_sql[] =
    "SELECT frame_id, port, encode(payload, 'hex'), (extract(epoch FROM"
    " frame_time) * 1000000)::bigint FROM frame WHERE tenant_id = $1::int"
    " AND codec = $2 AND port > 0 AND fate IN (1, 3)"
    " ORDER BY received_at DESC, frame_id DESC LIMIT 10000";

static void compare_all(struct scripts *s, int32_t tenant, const PGresult *v,
                        const PGresult *r)
{
    struct arena *a = arena_new(ARENA_LIMIT);
    struct compared sum = {0};
    struct tenant_codec *after = version_of(s, tenant, v, 0);
    struct tenant_codec *before = version_of(s, tenant, v, PQntuples(v) - 1);

    for (int i = 0; i < PQntuples(r); i++)
        compare(before, after, r, i, a, &sum);
    printf("%d frames, version %u beside %u: %d the same, %d differ (%d would"
           " fail, %d would be mended)\n",
           sum.frames, tenant_codec_face(after)->version,
           tenant_codec_face(before)->version, sum.same, sum.differ, sum.failed,
           sum.mended);
    tenant_codec_unref(before);
    tenant_codec_unref(after);
    arena_free(a);
}

int codec_diff(struct cli *c, PGconn *pq, int32_t tenant, const char *name,
               const char *version)
{
    char id[16];
    const char *which[] = {id, name, version};

    snprintf(id, sizeof id, "%d", tenant);
    PGresult *v = db_query(pq, versions_sql, 3, which);
    PGresult *r = v ? db_query(pq, frames_sql, 2, which) : NULL;
    int status = r ? 0 : 1;
    if (r && PQntuples(v) == 0) {
        status = cli_fail("the tenant has no such codec, or no such version");
    } else if (r) {
        struct scripts *s = scripts_new(&(struct scripts_options){
            .program = c->settings.codecs_host,
            .wall_ms = (int)c->settings.codecs_wall_ms});
        compare_all(s, tenant, v, r);
        scripts_free(s);
    }
    PQclear(r);
    PQclear(v);
    return status;
}
