/*
 * pulse.c - see pulse.h. All callbacks of a turn run between one prepare phase
 * and the next; what the loop sleeps in between takes no processor time.
 */
#include "server/loop/pulse.h"
#include "server/base/mem.h"

#include <stdlib.h>
#include <time.h>

enum { BEAT_MS = 20 };

struct pulse {
    uv_timer_t beat;
    uv_prepare_t turn;
    int open; /* handles */
    int64_t beat_us, late_us;
    int64_t cpu_us, turn_us;
};

static int64_t read_us(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void on_beat(uv_timer_t *beat)
{
    struct pulse *p = beat->data;
    int64_t now = read_us(CLOCK_MONOTONIC);
    int64_t late = now - p->beat_us - BEAT_MS * 1000LL;

    p->beat_us = now;
    if (late > p->late_us)
        p->late_us = late;
}

static void on_turn(uv_prepare_t *turn)
{
    struct pulse *p = turn->data;
    int64_t now = read_us(CLOCK_THREAD_CPUTIME_ID);

    if (now - p->cpu_us > p->turn_us)
        p->turn_us = now - p->cpu_us;
    p->cpu_us = now;
}

struct pulse *pulse_new(uv_loop_t *loop)
{
    struct pulse *p = mem_alloc(sizeof *p);

    uv_timer_init(loop, &p->beat);
    uv_prepare_init(loop, &p->turn);
    p->beat.data = p->turn.data = p;
    p->open = 2;
    p->beat_us = read_us(CLOCK_MONOTONIC);
    p->cpu_us = read_us(CLOCK_THREAD_CPUTIME_ID);
    uv_timer_start(&p->beat, on_beat, BEAT_MS, BEAT_MS);
    uv_prepare_start(&p->turn, on_turn);
    return p;
}

void pulse_take(struct pulse *p, int64_t *late_us, int64_t *turn_us)
{
    *late_us = p->late_us;
    *turn_us = p->turn_us;
    p->late_us = p->turn_us = 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct pulse *p = handle->data;

    if (--p->open == 0)
        free(p);
}

void pulse_free(struct pulse *p)
{
    if (!p)
        return;
    uv_close((uv_handle_t *)&p->beat, on_closed);
    uv_close((uv_handle_t *)&p->turn, on_closed);
}
