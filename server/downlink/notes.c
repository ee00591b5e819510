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
    struct kept *prev, *next;
    struct note note;
    char detail[256];
};

struct notes {
    struct pg_pool *pool;
    struct ticker *soon;
    struct kept *waiting, *writing;
    uint32_t n;
    bool busy, stopped;
};

static void release(struct kept *k)
{
    void (*done)(void *arg, int err) = k->note.done;

    k->note.done = NULL;
    if (done)
        done(k->note.done_arg, 0);
}

static void forget(struct notes *n, struct kept **list, struct kept *k)
{
    DL_DELETE(*list, k);
    release(k);
    free(k);
    n->n--;
}

static void written(void *arg, const struct pg_outcome *o)
{
    static struct log_limit told;
    struct notes *n = arg;

    n->busy = false;
    if (o->err == ERR_DATABASE && log_allowed(&told))
        log_error("steps of commands not kept", "error=%s", o->error);
    for (struct kept *k = n->writing, *next; k; k = next) {
        next = k->next;
        if (o->err == 0 || o->err == ERR_DATABASE)
            forget(n, &n->writing, k);
        else
            release(k); /* nobody waits for a database that is away */
    }
    if (n->writing) {
        DL_CONCAT(n->writing, n->waiting);
        n->waiting = n->writing;
        n->writing = NULL;
    }
    if (n->waiting && !(n->stopped && o->err))
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
    int many = 0;

    for (struct kept *k = n->waiting; k && n->stopped; k = k->next)
        release(k);
    if (n->busy || !n->waiting)
        return;
    buf_z(&rows, "[");
    for (struct kept *k = n->waiting, *next; k && many < AT_ONCE; k = next) {
        next = k->next;
        DL_DELETE(n->waiting, k);
        DL_APPEND(n->writing, k);
        put(&rows, k);
        many++;
    }
    buf_put(&rows, "]", 2);
    n->busy = true;
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
    DL_APPEND(n->waiting, k);
    if (++n->n > MOST)
        forget(n, &n->waiting, n->waiting);
    if (!n->busy || n->stopped)
        ticker_start(n->soon, GATHER_MS, 0);
}

void notes_stop(struct notes *n)
{
    n->stopped = true;
    for (struct kept *k = n->writing; k; k = k->next)
        release(k);
    ticker_start(n->soon, 0, 0);
}

void notes_free(struct notes *n)
{
    if (!n)
        return;
    while (n->waiting)
        forget(n, &n->waiting, n->waiting);
    while (n->writing)
        forget(n, &n->writing, n->writing);
    ticker_free(n->soon);
    free(n);
}
