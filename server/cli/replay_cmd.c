/*
 * replay_cmd.c - headend replay: connect, load the directory, replay, say what
 * became of it. Works beside a running server.
 */
#include "ingest/directory.h"
#include "server/cli/boot.h"
#include "server/cli/replay.h"
#include "server/cli/secrets.h"
#include "server/pipeline/feed.h"
#include "server/pipeline/replay.h"
#include <stdio.h>
#include <stdlib.h>

const struct cli_arg replay_args[] = {
    {"tenant", "NAME", true, "whose frames"},
    {"frame", "ID", false, "this one frame"},
    {"reason", "REASON", false, "those quarantined for this reason"},
    {"serial", "SERIAL", false, "those of the meter with this serial"},
    {"codec", "CODEC", false, "those of meters whose model names this codec"},
    {"from", "TIME", false, "those that arrived from this time on"},
    {"to", "TIME", false, "those that arrived before"},
    {"version", "N|newest", false,
     "with --codec and --dry-run: how this version of the tenant's payload"
     " codec differs from the one in force, over the frames it has decoded"},
    {"all", NULL, false, "all of the tenant's"},
    {"dry-run", NULL, false, "show what would become of them, change nothing"},
    {0}};

struct replay_run {
    uv_loop_t loop;
    struct pg_pool *pool;
    struct store_writer *writer;
    struct directory *directory;
    struct vault *vault;
    struct scripts *scripts;
    struct feed *feed;
    struct boot *boot;
    struct replay *replay;
    struct replay_options o;
    int16_t codec_ids[STAGE_CODECS];
    bool loaded;
    int shown; /* lines of a dry run */
    int status;
};

enum { SHOWN_MOST = 20 };

static void say(const struct replay_result *r, bool dry, FILE *out)
{
    fprintf(out,
            "%lld frames%s: %lld stored (%lld readings), %lld duplicate, %lld "
            "still quarantined, %lld rejected\n",
            (long long)r->seen, dry ? " would become" : "",
            (long long)r->stored, (long long)r->readings,
            (long long)r->duplicate, (long long)r->quarantined,
            (long long)r->rejected);
}

static void on_progress(void *arg, const struct replay_result *r)
{
    struct replay_run *x = arg;
    if (r->seen % 5000 == 0)
        say(r, x->o.dry_run, stderr);
}

static void on_changed(void *arg, const struct replay_change *c)
{
    struct replay_run *x = arg;

    if (x->shown++ >= SHOWN_MOST)
        return;
    printf("%lld: %s -> %s", (long long)c->frame_id, c->was,
           fate_name(c->fate));
    if (c->reason)
        printf(" (%s)\n", c->reason);
    else
        printf(", %u readings\n", c->readings);
}

static void on_done(void *arg, const struct replay_result *r)
{
    struct replay_run *x = arg;
    if (x->shown > SHOWN_MOST)
        printf("... and %d more\n", x->shown - SHOWN_MOST);
    say(r, x->o.dry_run, stdout);
    x->status = r->err ? cli_fail("stopped: %s", r->error) : 0;
    pg_pool_close(x->pool, NULL, NULL);
    store_writer_close(x->writer, NULL, NULL);
}

static void go(struct replay_run *x)
{
    if (x->replay || !x->loaded || !store_writer_ready(x->writer))
        return;
    x->replay = replay_start(&x->loop, x->pool, x->writer, x->directory, &x->o,
                             on_progress, on_done, x);
}

static void on_loaded(void *arg)
{
    struct replay_run *x = arg;
    x->loaded = true;
    go(x);
}

static void on_up(void *arg)
{
    go(arg);
}

static void on_down(void *arg)
{
    (void)arg;
}

static void on_booted(void *arg)
{
    struct replay_run *x = arg;
    feed_wake(x->feed);
}

static int run(struct replay_run *x, const struct settings *s)
{
    struct pg_options o = {s->database_url,
                           s->database_role,
                           1,
                           (int)s->database_connect_s,
                           60000,
                           100};
    if (!(x->vault = secrets_vault(s, false)))
        return 1;
    uv_loop_init(&x->loop);
    x->scripts = scripts_new(
        &(struct scripts_options){.program = s->codecs_host,
                                  .hosts = (int)s->codecs_hosts,
                                  .wall_ms = (int)s->codecs_wall_ms});
    x->directory = directory_new();
    pg_pool_new(&x->loop, &o, &x->pool);
    struct store_writer_options wo = settings_store(s);
    x->writer = store_writer_new(
        &x->loop, &wo, &(struct store_writer_events){on_up, on_down, x});
    x->o.codec_ids = x->codec_ids;
    x->feed = feed_new(&x->loop, x->pool, x->directory, x->vault,
                       s->keys_master_file, x->scripts, on_loaded, x);
    x->boot = boot_start(&x->loop, x->pool, NULL, s->dedup_window_s,
                         x->codec_ids, on_booted, x);
    uv_run(&x->loop, UV_RUN_DEFAULT);
    replay_free(x->replay);
    feed_free(x->feed);
    boot_free(x->boot);
    uv_run(&x->loop, UV_RUN_DEFAULT); /* closing handles */
    pg_pool_free(x->pool);
    uv_loop_close(&x->loop);
    directory_free(x->directory);
    scripts_free(x->scripts);
    vault_free(x->vault);
    return x->status;
}

int cmd_replay(struct cli *c)
{
    const char *frame = cli_get(c, replay_args, "frame");
    static struct replay_run x;
    char *end = NULL;

    x.status = 1;
    x.o.reason = cli_get(c, replay_args, "reason");
    x.o.serial = cli_get(c, replay_args, "serial");
    x.o.codec = cli_get(c, replay_args, "codec");
    x.o.from = cli_get(c, replay_args, "from");
    x.o.to = cli_get(c, replay_args, "to");
    x.o.changed = on_changed;
    x.o.dry_run = cli_get(c, replay_args, "dry-run") != NULL;
    x.o.frame_id = frame ? strtoll(frame, &end, 10) : 0;
    if (frame && (*end || x.o.frame_id <= 0))
        return cli_fail("--frame %s: a frame id is a number", frame);
    const char *version = cli_get(c, replay_args, "version");
    if (version && (!x.o.codec || !x.o.dry_run))
        return cli_fail("--version shows what it would change: add --codec NAME"
                        " --dry-run; then headend codecs activate");
    if (!frame && !x.o.reason && !x.o.serial && !x.o.codec && !x.o.from &&
        !x.o.to && !cli_get(c, replay_args, "all"))
        return cli_fail("say which: --frame ID, --reason, --serial, --codec, "
                        "--from, --to (all that are given must fit) or --all");
    /* Errors that a person can mend are told before the loop begins. */
    PGconn *pq = db_open(c, DB_SERVER);
    if (!pq)
        return 1;
    x.o.tenant_id = db_tenant_named(pq, cli_get(c, replay_args, "tenant"));
    if (version && x.o.tenant_id >= 0)
        x.status = codec_diff(c, pq, x.o.tenant_id, x.o.codec,
                              strcmp(version, "newest") ? version : NULL);
    PQfinish(pq);
    if (version)
        return x.status;
    return x.o.tenant_id < 0 ? 1 : run(&x, &c->settings);
}
