/* notes.c - see notes.h. notes_add -> flush -> written; at an error again. */
#include "server/downlink/notes.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <stdlib.h>
#include <utlist.h>

enum { GATHER_MS = 5, RETRY_MS = 1000, MOST = 10000, AT_ONCE = 500 };

struct kept {
    struct kept *next;
    struct note note;
    char detail[256];
};

struct notes {
    struct pg_pool *pool;
    struct ticker *soon;
    struct kept *list;   /* in their order; the first are being written */
    uint32_t n, writing; /* in all, and of those */
    bool stopped;
};

static void release(struct kept *k)
{
    void (*done)(void *arg, int err) = k->note.done;

    k->note.done = NULL;
    if (done)
        done(k->note.done_arg, 0);
}

static void forget_first(struct notes *n)
{
    struct kept *k = n->list;

    LL_DELETE(n->list, k);
    release(k);
    free(k);
    n->n--;
    n->writing -= n->writing > 0;
}

/* Nobody waits for a database that is away. */
static void release_all(struct notes *n)
{
    for (struct kept *k = n->list; k; k = k->next)
        release(k);
}

static void written(void *arg, const struct pg_outcome *o)
{
    static struct log_limit told;
    struct notes *n = arg;

    if (o->err == ERR_DATABASE && log_allowed(&told))
        log_error("steps of commands not kept", "error=%s", o->error);
    if (o->err == 0 || o->err == ERR_DATABASE)
        while (n->writing)
            forget_first(n);
    else
        release_all(n);
    n->writing = 0;
    if (n->list && !(n->stopped && o->err))
        ticker_start(n->soon, o->err ? RETRY_MS : 0, 0);
}

static void put(struct buf *b, const struct kept *k)
{
    const struct note *o = &k->note;

    buf_printf(b,
               "%s{\"tenant\":%d,\"id\":%lld,\"attempt\":%u,\"correction\":%s,"
               "\"event\":\"%s\",\"actor\":",
               b->n > 1 ? "," : "", o->tenant_id, (long long)o->ref.id,
               o->ref.correction ? 0 : o->ref.attempt,
               o->ref.correction ? "true" : "false", o->event);
    buf_json_str(b, str_of(o->actor));
    buf_z(b, ",\"detail\":");
    buf_json_str(b, str_of(k->detail));
    buf_u8(b, '}');
}

static void flush(void *arg)
{
    struct notes *n = arg;
    struct buf rows = {0};

    if (n->stopped)
        release_all(n);
    if (n->writing || !n->list)
        return;
    buf_z(&rows, "[");
    for (struct kept *k = n->list; k && n->writing < AT_ONCE; k = k->next) {
        put(&rows, k);
        n->writing++;
    }
    buf_put(&rows, "]", 2);
    int r = pg_call(n->pool,
                    &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                      .write = true,
                                      .sql = "SELECT commands_told($1::jsonb)",
                                      .n = 1,
                                      .values = {(char *)rows.p},
                                      .done = written,
                                      .arg = n});
    buf_done(&rows);
    if (r < 0)
        written(n, &(struct pg_outcome){.err = ERR_AWAY});
}

struct notes *notes_new(uv_loop_t *loop, struct pg_pool *pool)
{
    struct notes *n = mem_alloc(sizeof *n);

    n->pool = pool;
    n->soon = ticker_new(loop, flush, n);
    return n;
}

void notes_add(struct notes *n, const struct note *note)
{
    struct kept *k = mem_alloc(sizeof *k);

    k->note = *note;
    snprintf(k->detail, sizeof k->detail, "%s", note->detail);
    LL_APPEND(n->list, k);
    if (++n->n > MOST)
        forget_first(n);
    if (!n->writing || n->stopped)
        ticker_start(n->soon, GATHER_MS, 0);
}

void notes_stop(struct notes *n)
{
    n->stopped = true;
    ticker_start(n->soon, 0, 0);
}

void notes_free(struct notes *n)
{
    if (!n)
        return;
    while (n->list)
        forget_first(n);
    ticker_free(n->soon);
    free(n);
}
