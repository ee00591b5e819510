/*
 * codecs_cmd.c - headend codecs list | check | show.
 */
#include "codecs/loaded.h"
#include "server/base/err.h"
#include "server/cli/cli.h"
#include <stdio.h>

const struct cli_arg codecs_list_args[] = {
    {"tenant", "NAME", false, "the tenant's own payload codecs instead"},
    {"json", NULL, false, "print JSON, with --tenant"},
    {0}};

static int vectors(const struct codec *c)
{
    int n = 0;
    while (c->vectors && c->vectors[n].name)
        n++;
    return n;
}

/* Those that were refused; how many. */
static int print_refused(void)
{
    uint32_t n;
    const struct codec_file *f = codec_files(&n);
    int refused = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (f[i].codec)
            continue;
        printf("REFUSED %s: %s\n", f[i].path, f[i].why);
        refused++;
    }
    return refused;
}

int cmd_codecs_list(struct cli *c)
{
    const char *tenant = cli_get(c, codecs_list_args, "tenant");

    if (tenant)
        return codecs_of_tenant(c, tenant,
                                cli_get(c, codecs_list_args, "json") != NULL);
    for (const struct codec *const *k = codec_list(); *k; k++)
        printf("%-16s v%-3u %3d vectors  %-10s %s\n", (*k)->name, (*k)->version,
               vectors(*k), codec_origin(*k), (*k)->title);
    return print_refused() ? 1 : 0;
}

int cmd_codecs_check(struct cli *c)
{
    struct arena *arena = arena_new(64 << 20);
    int passed = 0, failed = 0;
    (void)c;
    for (const struct codec *const *k = codec_list(); *k; k++)
        for (int i = 0; i < vectors(*k); i++) {
            const struct codec_vector *v = &(*k)->vectors[i];
            struct str got = {0};
            arena_reset(arena);
            if (codec_check(*k, v, arena, &got) == 0) {
                passed++;
                continue;
            }
            failed++;
            printf("FAILED %s: %s\n  expected %s\n  got      %.*s\n",
                   (*k)->name, v->name, v->err ? err_name(v->err) : v->expect,
                   STR_ARGS(got));
        }
    arena_free(arena);
    printf("%d vectors passed, %d failed\n", passed, failed);
    return print_refused() || failed ? 1 : 0;
}

int cmd_codecs_show(struct cli *c)
{
    const struct codec *k = codec_find(str_of(c->free[0]));
    if (!k)
        return cli_fail("%s: no such codec; `headend codecs list` shows them",
                        c->free[0]);
    printf("%s version %u (ABI %u)\n%s\nmedium: %s\ncommands: %s\nsource: %s\n"
           "file: %s\n",
           k->name, k->version, k->abi, k->title, medium_name(k->medium),
           k->encode ? "yes" : "none", k->source, codec_origin(k));
    for (int i = 0; i < vectors(k); i++) {
        const struct codec_vector *v = &k->vectors[i];
        printf("\n%s\n  port %d, %s\n  -> %s\n", v->name, v->port,
               v->hex ? v->hex : v->text,
               v->err ? err_name(v->err) : v->expect);
    }
    return 0;
}
