/*
 * pulse.h - how well the loop keeps up: how late it is, and how much it does
 * in one turn. Loop thread only.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

struct pulse; /* opaque */

struct pulse *pulse_new(uv_loop_t *loop);
/* The worst since it was last taken: how late a timer was (others on the
 * machine count, too), and the processor time that one turn took. */
void pulse_take(struct pulse *p, int64_t *late_us, int64_t *turn_us);
void pulse_free(struct pulse *p); /* NULL is fine; closes by itself later */
