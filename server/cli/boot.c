/*
 * boot.c - check -> journal -> cursor -> codecs -> partitions, each one call;
 * a failed step is said once and the story begins again a second later.
 */
#include "server/cli/boot.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include "server/store/migrate.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum step_number {
    STEP_CHECK,
    STEP_REGISTER,
    STEP_CURSOR,
    STEP_CODECS,
    STEP_PARTITIONS,
    STEPS
};
enum { RETRY_MS = 200 };

struct boot {
    struct pg_pool *pool;
    struct journal *journal;
    int16_t *codec_ids;
    void (*done)(void *);
    void *arg;
    struct ticker *retry;
    bool stopped;
    int step;
    int row; /* of the running step */
    char window[32], number[16];
    struct buf names, versions; /* text[] and int[] of PostgreSQL */
    char why[PG_ERROR];
};

static void step_start(void *arg);

static void check_row(void *arg, const PGresult *res, int row)
{
    struct boot *b = arg;
    int there = atoi(PQgetvalue(res, row, 0));

    if (there != migration_latest())
        snprintf(b->why, sizeof b->why,
                 "the database is at migration %d, this program needs %d: run "
                 "`headend migrate`",
                 there, migration_latest());
    else if (*PQgetvalue(res, row, 1) == 't')
        snprintf(b->why, sizeof b->why,
                 "role %s bypasses row-level security: connect as "
                 "headend_server, or set database.role",
                 PQgetvalue(res, row, 2));
}

static void journal_row(void *arg, const PGresult *res, int row)
{
    struct boot *b = arg;
    int err = journal_set_number(b->journal, atoi(PQgetvalue(res, row, 0)));
    if (err < 0)
        snprintf(b->why, sizeof b->why, "journal number not written: %s",
                 err_name(err));
    else
        log_info("journal registered", "journal=%s", PQgetvalue(res, row, 0));
}

/* The journal must not begin to fill before this: if it lost its tail (power
 * failure with journal.sync=interval) its positions would be given out twice.
 */
static void cursor_row(void *arg, const PGresult *res, int row)
{
    struct boot *b = arg;
    journal_release(b->journal, atoll(PQgetvalue(res, row, 0)));
    b->row++;
}

static void codec_row(void *arg, const PGresult *res, int row)
{
    struct boot *b = arg;
    b->codec_ids[b->row++] = (int16_t)atoi(PQgetvalue(res, row, 0));
}

static const struct step {
    const char *sql;
    pg_row_fn *row;
} steps[STEPS] = {
    {"SELECT coalesce((SELECT max(number) FROM schema_migration), 0),"
     " rolsuper OR rolbypassrls, rolname FROM pg_roles"
     " WHERE rolname = current_user",
     check_row},
    {"SELECT journal_register($1)", journal_row},
    {"SELECT cursor FROM journal WHERE journal_no = $1::int", cursor_row},
    {"SELECT codec_version_of(u.codec, u.version) FROM unnest($1::text[],"
     " $2::int[]) WITH ORDINALITY AS u(codec, version, n) ORDER BY u.n",
     codec_row},
    {"SELECT maintain(($1 || ' s')::interval)", NULL},
};

static void step_done(void *arg, const struct pg_outcome *o)
{
    static struct log_limit told;
    struct boot *b = arg;
    if (b->stopped)
        return;
    if (o->err)
        snprintf(b->why, sizeof b->why, "%s", o->error);
    else if (b->step == STEP_CURSOR && b->row == 0)
        snprintf(b->why, sizeof b->why,
                 "the journal in journal.dir (number %s) is not of this "
                 "database: its frames belong elsewhere; name another "
                 "journal.dir",
                 b->number);
    if (*b->why) {
        if (o->err != ERR_AWAY && log_allowed(&told)) /* pg.c told of that */
            log_error("not ready", "reason=%s", b->why);
        b->step = STEP_CHECK;
        ticker_start(b->retry, RETRY_MS, 0);
        return;
    }
    b->step++;
    step_start(b);
}

static void step_start(void *arg)
{
    struct boot *b = arg;
    static char node[256];

    if (b->step == STEP_REGISTER &&
        (!b->journal || journal_number(b->journal) > 0))
        b->step++;
    if (b->step == STEP_CURSOR && !b->journal)
        b->step++;
    if (b->step == STEPS) {
        b->done(b->arg);
        return;
    }
    gethostname(node, sizeof node - 1);
    struct pg_call c = {.tenant_id = PG_NO_TENANT,
                        .write = true,
                        .sql = steps[b->step].sql,
                        .row = steps[b->step].row,
                        .done = step_done,
                        .arg = b};
    const char *first[STEPS] = {NULL, node, b->number, (char *)b->names.p,
                                b->window};
    c.values[0] = first[b->step];
    c.values[1] = (char *)b->versions.p;
    c.n = b->step == STEP_CHECK ? 0 : b->step == STEP_CODECS ? 2 : 1;
    if (b->journal)
        snprintf(b->number, sizeof b->number, "%d", journal_number(b->journal));
    b->why[0] = 0;
    b->row = 0;
    int err = pg_call(b->pool, &c);
    if (err < 0)
        step_done(b, &(struct pg_outcome){.err = err});
}

/* No codec's name needs quotes in an array. */
static void list_codecs(struct boot *b)
{
    for (const struct codec *const *k = codec_list(); *k; k++) {
        const char *comma = k == codec_list() ? "{" : ",";
        buf_printf(&b->names, "%s%s", comma, (*k)->name);
        buf_printf(&b->versions, "%s%u", comma, (*k)->version);
    }
    buf_put(&b->names, "}", 2); /* with its NUL */
    buf_put(&b->versions, "}", 2);
}

struct boot *boot_start(uv_loop_t *loop, struct pg_pool *pool,
                        struct journal *journal, int64_t dedup_window_s,
                        int16_t codec_ids[STAGE_CODECS], void (*done)(void *),
                        void *arg)
{
    struct boot *b = mem_alloc(sizeof *b);
    b->pool = pool;
    b->journal = journal;
    b->codec_ids = codec_ids;
    b->done = done;
    b->arg = arg;
    snprintf(b->window, sizeof b->window, "%lld", (long long)dedup_window_s);
    list_codecs(b);
    b->retry = ticker_new(loop, step_start, b);
    ticker_start(b->retry, 20, 0); /* a first connection needs a moment */
    return b;
}

const char *boot_waits_for(const struct boot *b)
{
    if (b->step == STEPS)
        return "";
    return *b->why ? b->why : "starting";
}

void boot_stop(struct boot *b)
{
    b->stopped = true;
    ticker_stop(b->retry);
}

void boot_free(struct boot *b)
{
    if (!b)
        return;
    ticker_free(b->retry);
    buf_done(&b->names);
    buf_done(&b->versions);
    free(b);
}
