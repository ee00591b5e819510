/* ways.c - see ways.h. ways_heard -> flush -> written; at an error again. */
#include "server/downlink/ways.h"
#include "server/base/buf.h"
#include "server/base/hash.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"
#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>

enum { GATHER_MS = 100, RETRY_MS = 1000, MOST = 1 << 20 /* bytes at once */ };

struct way {
    uint64_t key;
    uint32_t sum; /* of where it was heard */
    UT_hash_handle hh;
};

struct ways {
    struct pg_pool *pool;
    struct ticker *soon;
    struct way *known;
    struct buf rows, writing; /* JSON, from '[' on */
    bool busy, stopped;
};

static void flush(void *arg);

static void written(void *arg, const struct pg_outcome *o)
{
    static struct log_limit told;
    struct ways *w = arg;

    w->busy = false;
    if (o->err == ERR_DATABASE && log_allowed(&told))
        log_error("ways to meters not kept", "error=%s", o->error);
    if (o->err != 0 && o->err != ERR_DATABASE && !w->stopped) {
        ticker_start(w->soon, RETRY_MS, 0);
        return;
    }
    buf_clear(&w->writing);
    if (w->rows.n && !w->stopped)
        ticker_start(w->soon, GATHER_MS, 0);
}

static void flush(void *arg)
{
    struct ways *w = arg;

    if (w->busy || w->stopped)
        return;
    if (w->writing.n == 0) {
        struct buf swap = w->writing;
        w->writing = w->rows;
        w->rows = swap;
        buf_put(&w->writing, "]", 2);
    }
    w->busy = true;
    if (pg_call(w->pool, &(struct pg_call){.tenant_id = PG_NO_TENANT,
                                           .write = true,
                                           .sql = "SELECT ways_put($1::jsonb)",
                                           .n = 1,
                                           .values = {(char *)w->writing.p},
                                           .done = written,
                                           .arg = w}) < 0)
        written(w, &(struct pg_outcome){.err = ERR_AWAY});
}

static bool is_known(struct ways *w, uint64_t key, uint32_t sum)
{
    struct way *k;
    bool same;

    HASH_FIND(hh, w->known, &key, sizeof key, k);
    same = k && k->sum == sum;
    if (!k) {
        k = mem_alloc(sizeof *k);
        k->key = key;
        HASH_ADD(hh, w->known, key, sizeof k->key, k);
    }
    k->sum = sum;
    return same;
}

void ways_heard(struct ways *w, int32_t tenant, int32_t meter,
                int32_t integration, struct str topic, int64_t joined_us)
{
    uint64_t key = (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
    struct str about = topic;

    while (about.n && about.p[about.n - 1] != '/') /* up, join: the same way */
        about.n--;
    if (w->stopped || w->rows.n > MOST ||
        (is_known(w, key, crc32c((uint32_t)integration, about.p, about.n)) &&
         joined_us == TIME_NONE))
        return;
    buf_printf(&w->rows, "%s[%d,%d,%d,", w->rows.n ? "," : "[", tenant, meter,
               integration);
    buf_json_str(&w->rows, about);
    w->rows.n--; /* its closing quote */
    buf_z(&w->rows, "up\",");
    if (joined_us == TIME_NONE)
        buf_z(&w->rows, "null]");
    else
        buf_printf(&w->rows, "%" PRId64 "]", joined_us);
    if (!w->busy && !ticker_active(w->soon))
        ticker_start(w->soon, GATHER_MS, 0);
}

struct ways *ways_new(uv_loop_t *loop, struct pg_pool *pool)
{
    struct ways *w = mem_alloc(sizeof *w);

    w->pool = pool;
    w->soon = ticker_new(loop, flush, w);
    return w;
}

void ways_stop(struct ways *w)
{
    w->stopped = true;
    ticker_stop(w->soon);
}

void ways_free(struct ways *w)
{
    struct way *k, *next;

    if (!w)
        return;
    HASH_ITER (hh, w->known, k, next) {
        HASH_DEL(w->known, k);
        free(k);
    }
    ticker_free(w->soon);
    buf_done(&w->rows);
    buf_done(&w->writing);
    free(w);
}
