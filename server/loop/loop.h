/*
 * loop.h - the two ways work leaves and enters the loop thread.
 * The loop thread owns all state. What blocks runs on libuv's pool (offload)
 * or in another thread that hands over through a mailbox.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/*
 * Offload: `work` runs on a pool thread and may touch only `arg`; `done` runs
 * later on the loop thread with what work returned. Never fails; work is not
 * cancelled: a stop waits for it.
 */
typedef int offload_work_fn(void *arg);
typedef void offload_done_fn(void *arg, int result);
void offload(uv_loop_t *loop, offload_work_fn *work, offload_done_fn *done,
             void *arg);

/* A repeating or single timer that hides its handle's closing. */
struct ticker; /* opaque */
typedef void ticker_fn(void *arg);
struct ticker *ticker_new(uv_loop_t *loop, ticker_fn *fn, void *arg);
void ticker_start(struct ticker *t, uint64_t first_ms, uint64_t repeat_ms);
void ticker_stop(struct ticker *t);
bool ticker_active(const struct ticker *t);
void ticker_free(struct ticker *t); /* NULL is fine; closes by itself later */

/* Growing, jittered pauses between attempts: doubles from first_ms to most_ms,
 * each pause drawn from [1/2, 1] of that. */
struct backoff {
    uint32_t first_ms, most_ms, next_ms;
};
uint32_t backoff_pause_ms(struct backoff *b);
void backoff_reset(struct backoff *b); /* after a success */
