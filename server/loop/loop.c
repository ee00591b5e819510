/*
 * loop.c - see loop.h.
 */
#include "server/loop/loop.h"
#include "server/base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct job {
    uv_work_t req;
    offload_work_fn *work;
    offload_done_fn *done;
    void *arg;
    int result;
};

static void job_work(uv_work_t *req)
{
    struct job *j = req->data;

    j->result = j->work(j->arg);
}

static void job_done(uv_work_t *req, int status)
{
    struct job j = *(struct job *)req->data;

    assert(status == 0); /* nobody cancels */
    (void)status;
    free(req->data);
    j.done(j.arg, j.result);
}

void offload(uv_loop_t *loop, offload_work_fn *work, offload_done_fn *done,
             void *arg)
{
    struct job *j = mem_alloc(sizeof *j);
    int r;

    *j = (struct job){.work = work, .done = done, .arg = arg};
    j->req.data = j;
    r = uv_queue_work(loop, &j->req, job_work, job_done);
    assert(r == 0); /* fails only without a work function */
    (void)r;
}

struct ticker {
    uv_timer_t timer;
    ticker_fn *fn;
    void *arg;
};

static void on_timer(uv_timer_t *timer)
{
    struct ticker *t = timer->data;

    t->fn(t->arg);
}

struct ticker *ticker_new(uv_loop_t *loop, ticker_fn *fn, void *arg)
{
    struct ticker *t = mem_alloc(sizeof *t);

    uv_timer_init(loop, &t->timer);
    t->timer.data = t;
    t->fn = fn;
    t->arg = arg;
    return t;
}

void ticker_start(struct ticker *t, uint64_t first_ms, uint64_t repeat_ms)
{
    uv_timer_start(&t->timer, on_timer, first_ms, repeat_ms);
}

void ticker_stop(struct ticker *t)
{
    uv_timer_stop(&t->timer);
}

bool ticker_active(const struct ticker *t)
{
    return uv_is_active((const uv_handle_t *)&t->timer);
}

static void ticker_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void ticker_free(struct ticker *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->timer, ticker_closed);
}

uint32_t backoff_pause_ms(struct backoff *b)
{
    uint32_t most = b->most_ms > b->first_ms ? b->most_ms : b->first_ms;
    uint32_t now = b->next_ms ? b->next_ms : b->first_ms, dice = 0;

    b->next_ms = now > most / 2 ? most : now * 2;
    if (uv_random(NULL, NULL, &dice, sizeof dice, 0, NULL) < 0)
        dice = (uint32_t)uv_hrtime();
    return now - dice % (now / 2 + 1);
}

void backoff_reset(struct backoff *b)
{
    b->next_ms = 0;
}
