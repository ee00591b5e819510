/*
 * deliver.c - look -> (webhook_take) took -> post on the pool -> posted ->
 * (webhook_done) told -> look. A delivery that is never told of (the server
 * died) is taken again when its lease has run out: the same entries under the
 * same id.
 */
#include "server/deliver/deliver.h"
#include "server/base/hex.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/deliver/post.h"
#include "server/loop/loop.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LOOK_MS = 500,
    WORKERS = 4, /* of the pool's threads; the journal needs the others */
    BEGIN_S = 10 /* of a lease: to get a thread and to tell the end */
};

struct deliver {
    struct deliver_options o;
    struct ticker *look;
    struct deliver_stats stats;
    bool asking;
    uint64_t asked; /* uv_hrtime */
    atomic_bool stop;
    void (*stopped)(void *);
    void *stopped_arg;
    char entries[24], lease[24], attempts[24], pause[24];
};

struct job {
    struct deliver *d;
    struct post post;
    int32_t tenant_id;
    int64_t entries;
    char webhook[16], delivery[24], lease[40];
    char *url, *body;
};

static void look(void *arg);

static void job_free(struct job *j)
{
    struct deliver *d = j->d;

    free(j->url);
    free(j->body);
    free(j);
    d->stats.sending--;
    if (d->stopped && d->stats.sending == 0 && !d->asking)
        d->stopped(d->stopped_arg);
    else
        look(d);
}

static void told_row(void *arg, const PGresult *res, int row)
{
    struct job *j = arg;

    if (*PQgetvalue(res, row, 0) != 't')
        return;
    j->d->stats.disabled++;
    log_warning("webhook disabled",
                "tenant=%d webhook=%s attempts=%s error=\"%s\"", j->tenant_id,
                j->webhook, j->d->attempts, j->post.error);
}

static void told(void *arg, const struct pg_outcome *o)
{
    static struct log_limit limit;

    if (o->err == ERR_DATABASE && log_allowed(&limit))
        log_error("delivery not told of", "error=%s", o->error);
    job_free(arg);
}

static void tell(struct job *j)
{
    const struct post *p = &j->post;
    char status[16], took[24], tenant[16];
    const struct pg_actor actor = {"webhooks", "", 0};
    const struct pg_call call = {
        .tenant_id = j->tenant_id,
        .actor = &actor,
        .write = true,
        .sql = "SELECT webhook_done($1::int, $2::int, $3::uuid, $4::bigint,"
               " $5::boolean, $6::int, $7, $8::int, $9::int, $10::int)",
        .n = 10,
        .values = {tenant, j->webhook, j->lease, j->delivery,
                   p->tried ? "t" : "f", status, *p->error ? p->error : NULL,
                   took, j->d->attempts, j->d->pause},
        .row = told_row,
        .done = told,
        .arg = j};

    snprintf(tenant, sizeof tenant, "%d", j->tenant_id);
    snprintf(status, sizeof status, "%d", p->status);
    snprintf(took, sizeof took, "%lld", (long long)p->took_ms);
    if (pg_call(j->d->o.pool, &call) < 0)
        job_free(j); /* its lease runs out */
}

static int send_it(void *arg)
{
    struct job *j = arg;

    post_send(&j->post);
    sodium_memzero(j->post.secret, sizeof j->post.secret);
    return 0;
}

static void posted(void *arg, int result)
{
    struct job *j = arg;
    struct deliver_stats *s = &j->d->stats;

    (void)result;
    if (j->post.tried && !*j->post.error) {
        s->delivered++;
        s->entries += j->entries;
    } else if (j->post.tried) {
        s->failed++;
    }
    tell(j);
}

/* The webhook's secret, opened; false after it was told of. */
static bool open_secret(struct job *j, const PGresult *res, int row)
{
    static struct log_limit limit;
    const struct deliver_options *o = &j->d->o;
    struct secret_name name = {j->tenant_id, "webhook", atoll(j->webhook),
                               "secret"};
    uint8_t sealed[SECRET_BYTES + SEAL_EXTRA];
    const char *hex = PQgetvalue(res, row, 6);
    int n =
        *hex ? hex_decode(str_of(hex + 2), sealed, sizeof sealed) : ERR_UNKNOWN;

    if (n >= 0)
        n = vault_open(o->vault, &name, atoi(PQgetvalue(res, row, 5)),
                       (struct str){(const char *)sealed, (size_t)n},
                       j->post.secret, sizeof j->post.secret);
    if (n == SECRET_BYTES)
        return true;
    if (log_allowed(&limit))
        log_error("secret does not open", "tenant=%d of=webhook id=%s err=%s",
                  j->tenant_id, j->webhook,
                  n < 0 ? err_name(n) : "ERR_DAMAGED");
    o->keys_wanted(o->arg);
    return false;
}

static void took_row(void *arg, const PGresult *res, int row)
{
    struct deliver *d = arg;
    struct job *j = mem_alloc(sizeof *j);

    *j = (struct job){.d = d,
                      .tenant_id = atoi(PQgetvalue(res, row, 0)),
                      .entries = atoll(PQgetvalue(res, row, 8)),
                      .url = mem_strdup(PQgetvalue(res, row, 4)),
                      .body = mem_strdup(PQgetvalue(res, row, 7))};
    snprintf(j->webhook, sizeof j->webhook, "%s", PQgetvalue(res, row, 1));
    snprintf(j->lease, sizeof j->lease, "%s", PQgetvalue(res, row, 2));
    snprintf(j->delivery, sizeof j->delivery, "%s", PQgetvalue(res, row, 3));
    j->post = (struct post){.url = j->url,
                            .id = j->delivery,
                            .body = str_of(j->body),
                            .ca_file = d->o.ca_file,
                            .timeout_s = (int)d->o.timeout_s,
                            .allow_private = d->o.allow_private,
                            .start_by = d->asked + BEGIN_S / 2 * 1000000000ULL,
                            .stop = &d->stop};
    d->stats.sending++;
    /* One that does not open keeps its lease: tried again when that is over. */
    if (open_secret(j, res, row))
        offload(d->o.loop, send_it, posted, j);
    else
        job_free(j);
}

static void took(void *arg, const struct pg_outcome *o)
{
    static struct log_limit limit;
    struct deliver *d = arg;

    d->asking = false;
    if (o->err == ERR_DATABASE && log_allowed(&limit))
        log_error("webhooks not read", "error=%s", o->error);
    if (d->stopped && d->stats.sending == 0)
        d->stopped(d->stopped_arg);
}

static void look(void *arg)
{
    struct deliver *d = arg;
    char most[16];
    const struct pg_call call = {
        .tenant_id = PG_NO_TENANT,
        .write = true,
        .sql = "SELECT tenant_id, webhook_id, lease, delivery_id, url, key_no,"
               " sealed, body, entries"
               " FROM webhook_take($1::int, $2::int, $3::int)",
        .n = 3,
        .values = {most, d->entries, d->lease},
        .row = took_row,
        .done = took,
        .arg = d};

    if (d->stopped || d->asking || d->stats.sending >= WORKERS ||
        !vault_ready(d->o.vault) || !pg_pool_up(d->o.pool))
        return;
    snprintf(most, sizeof most, "%d", WORKERS - d->stats.sending);
    d->asked = uv_hrtime();
    d->asking = pg_call(d->o.pool, &call) == 0;
}

struct deliver *deliver_new(const struct deliver_options *o)
{
    struct deliver *d = mem_alloc(sizeof *d);

    *d = (struct deliver){.o = *o};
    snprintf(d->entries, sizeof d->entries, "%lld", (long long)o->entries);
    snprintf(d->lease, sizeof d->lease, "%lld",
             (long long)o->timeout_s + BEGIN_S);
    snprintf(d->attempts, sizeof d->attempts, "%lld", (long long)o->attempts);
    snprintf(d->pause, sizeof d->pause, "%lld", (long long)o->pause_s);
    post_begin();
    d->look = ticker_new(o->loop, look, d);
    return d;
}

void deliver_start(struct deliver *d)
{
    if (!d->stopped)
        ticker_start(d->look, 1, LOOK_MS);
}

void deliver_stop(struct deliver *d, void (*done)(void *), void *arg)
{
    atomic_store(&d->stop, true);
    d->stopped = done;
    d->stopped_arg = arg;
    ticker_free(d->look);
    d->look = NULL;
    if (d->stats.sending == 0 && !d->asking)
        done(arg);
}

void deliver_stats(const struct deliver *d, struct deliver_stats *ret)
{
    *ret = d->stats;
}

void deliver_free(struct deliver *d)
{
    if (!d)
        return;
    ticker_free(d->look);
    post_end();
    free(d);
}
