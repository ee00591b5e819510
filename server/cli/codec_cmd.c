/*
 * codec_cmd.c - a tenant's own payload codecs: headend codecs upload,
 * activate, list --tenant. A version is checked before it is kept, and never
 * changes after.
 */
#include "codecs/registry.h"
#include "codecs/script/mapping.h"
#include "server/base/err.h"
#include "server/cli/db.h"
#include "server/cli/table.h"
#include "server/pipeline/tenant_codec.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg codecs_upload_args[] = {
    {"tenant", "NAME", true, "whose codec"},
    {"name", "NAME", true, "what meter models will call it"},
    {"script", "FILE", true, "payload codec in JavaScript (TS013)"},
    {"mapping", "FILE", false,
     "which of its fields are registers and events (codecs/script/README.md)"},
    {"vectors", "FILE", false,
     "JSON list of {port, hex, object} that it must prove"},
    {"json", NULL, false, "print JSON"},
    {0}};
const struct cli_arg codecs_activate_args[] = {
    {"tenant", "NAME", true, "whose codec"},
    {"name", "NAME", true, "which codec"},
    {"version", "N", false, "this version (the newest)"},
    {"model", "MODEL", false,
     "let this meter model use it; made where it is not there"},
    {"maker", "MAKER", false, "of a model that is made"},
    {"medium", "MEDIUM", false, "of a model that is made: water, gas ..."},
    {"json", NULL, false, "print JSON"},
    {0}};
enum { VECTORS_MAX = 1 << 20, ARENA_LIMIT = 64 << 20 };

/* A whole file; false after telling why. No --file: an empty text. */
static bool read_file(struct arena *a, const char *path, size_t most,
                      struct str *ret)
{
    FILE *f = path ? fopen(path, "re") : NULL;
    char *p = arena_alloc(a, most + 2);
    size_t n = f && p ? fread(p, 1, most + 1, f) : 0;
    bool failed = path && (!f || ferror(f));

    if (f)
        fclose(f);
    *ret = (struct str){p, n};
    if (failed)
        cli_fail("cannot read %s: %s", path, strerror(errno));
    else if (n > most)
        cli_fail("%s is larger than %zu bytes", path, most);
    else if (!str_utf8(*ret))
        cli_fail("%s is not UTF-8 text", path);
    else
        return true;
    return false;
}

/* ---- upload ---- */

struct upload {
    struct str script, mapping, vectors;
    int passed;
};

/* 0, or 1 after telling why it is refused. */
static int prove(const struct cli *c, struct arena *a, int32_t tenant,
                 struct upload *u)
{
    struct scripts *s = scripts_new(
        &(struct scripts_options){.program = c->settings.codecs_host,
                                  .wall_ms = (int)c->settings.codecs_wall_ms});
    struct str why = {0};

    u->passed = tenant_codec_prove(s, tenant, u->script, u->mapping, u->vectors,
                                   a, &why);
    scripts_free(s);
    return u->passed < 0 ? cli_fail("refused: %.*s", STR_ARGS(why)) : 0;
}

static int print_version(const struct cli *c, const struct cli_arg *args,
                         PGresult *r, const char *did)
{
    if (!r)
        return 1;
    if (PQgetisnull(r, 0, 0)) {
        PQclear(r);
        return cli_fail("the tenant has no such codec, or no such version");
    }
    if (cli_get(c, args, "json"))
        table_json(r, "codecs");
    else
        printf("%s, version %s\n", did, PQgetvalue(r, 0, 0));
    PQclear(r);
    return 0;
}

static int upload(struct cli *c, struct arena *a, PGconn *pq, int32_t tenant)
{
    const struct cli_arg *args = codecs_upload_args;
    const char *name = cli_get(c, args, "name");
    struct upload u = {0};
    char id[16];

    if (codec_find(str_of(name)))
        return cli_fail("--name %s: headend has a codec of that name itself",
                        name);
    if (!read_file(a, cli_get(c, args, "script"), SCRIPT_MAX, &u.script) ||
        !read_file(a, cli_get(c, args, "mapping"), MAPPING_MAX, &u.mapping) ||
        !read_file(a, cli_get(c, args, "vectors"), VECTORS_MAX, &u.vectors) ||
        prove(c, a, tenant, &u) != 0)
        return 1;
    snprintf(id, sizeof id, "%d", tenant);
    const char *values[] = {id, name, arena_str(a, u.script).p,
                            u.mapping.n ? arena_str(a, u.mapping).p : NULL,
                            u.vectors.n ? arena_str(a, u.vectors).p : NULL};
    PGresult *r =
        db_query(pq, "SELECT codec_upload($1::int, $2, $3, $4, $5) AS version",
                 5, values);
    char did[160];
    snprintf(did, sizeof did, "%.64s: %d vectors passed; kept", name, u.passed);
    return print_version(c, args, r, did);
}

/* Connects, takes the tenant, runs `work`. */
static int with_tenant(struct cli *c, const char *tenant_name,
                       int (*work)(struct cli *, struct arena *, PGconn *,
                                   int32_t))
{
    PGconn *pq = db_open(c, DB_SERVER);
    int32_t tenant = pq ? db_tenant_named(pq, tenant_name) : -1;
    struct arena *a = arena_new(ARENA_LIMIT);
    int status = tenant < 0 ? 1 : work(c, a, pq, tenant);

    arena_free(a);
    PQfinish(pq);
    return status;
}

int cmd_codecs_upload(struct cli *c)
{
    return with_tenant(c, cli_get(c, codecs_upload_args, "tenant"), upload);
}

/* ---- activate ---- */

static int activate(struct cli *c, struct arena *a, PGconn *pq, int32_t tenant)
{
    const struct cli_arg *args = codecs_activate_args;
    const char *maker = cli_get(c, args, "maker");
    const char *medium = cli_get(c, args, "medium");
    enum medium known;
    char id[16];

    (void)a;
    if (medium && medium_parse(str_of(medium), &known) < 0)
        return cli_fail("--medium %s: no such medium", medium);
    snprintf(id, sizeof id, "%d", tenant);
    const char *values[] = {id,
                            cli_get(c, args, "name"),
                            cli_get(c, args, "version"),
                            cli_get(c, args, "model"),
                            maker ? maker : "any",
                            medium ? medium : "other"};
    PGresult *r = db_query(pq,
                           "SELECT codec_activate($1::int, $2, $3::int, $4, $5,"
                           " $6) AS version",
                           6, values);
    return print_version(c, args, r, "in force");
}

int cmd_codecs_activate(struct cli *c)
{
    return with_tenant(c, cli_get(c, codecs_activate_args, "tenant"), activate);
}

/* ---- list ---- */

int codecs_of_tenant(struct cli *c, const char *tenant_name, bool json)
{
    PGconn *pq = db_open(c, DB_SERVER);
    int32_t tenant = pq ? db_tenant_named(pq, tenant_name) : -1;
    char id[16];
    const char *values[] = {id};
    PGresult *r = NULL;

    snprintf(id, sizeof id, "%d", tenant);
    if (tenant >= 0)
        r = db_query(pq,
                     "SELECT name, version, state, created_at, activated_at,"
                     " octet_length(script) AS script_bytes,"
                     " mapping IS NOT NULL AS mapping,"
                     " (SELECT count(*) FROM meter_model d WHERE d.tenant_id ="
                     " c.tenant_id AND d.codec = c.name) AS models"
                     " FROM codec c WHERE tenant_id = $1::int"
                     " ORDER BY name, version",
                     1, values);
    if (r && json)
        table_json(r, "codecs");
    else if (r)
        table_print(r);
    int status = r ? 0 : 1;
    PQclear(r);
    PQfinish(pq);
    return status;
}
