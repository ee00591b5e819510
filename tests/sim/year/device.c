/*
 * device.c - a simulated meter as it is: its clock, what it records, when it
 * reports, and what befalls it.
 */
#include "timesvc/interval.h"
#include "year.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const zones[] = {"Europe/Berlin",  "Europe/Moscow",
                                    "Asia/Kolkata",   "Australia/Lord_Howe",
                                    "Asia/Kathmandu", "America/St_Johns"};

int64_t device_time(const struct meter *m)
{
    return m->now_us + (int64_t)m->offset_us;
}

static void set_rate(struct meter *m)
{
    double day = (double)(m->now_us - begin_us) / (double)DAY_US;
    double degrees = 12 * sin(2 * M_PI * (day / 365 - 0.3)) +
                     6 * sin(2 * M_PI * (day + m->phase));

    m->rate_ppm = m->base_ppm + m->per_degree_ppm * degrees;
}

/* True time at which the device's clock shows `shown_us`. */
static int64_t when_shown(const struct meter *m, int64_t shown_us)
{
    double ahead = (double)(shown_us - device_time(m));
    return m->now_us + (int64_t)(ahead / (1 + m->rate_ppm * 1e-6));
}

void device_run_to(struct meter *m, int64_t us)
{
    m->offset_us += m->rate_ppm * 1e-6 * (double)(us - m->now_us);
    m->now_us = us;
}

static void record(struct meter *m, int64_t label_us)
{
    if (m->n == BUFFER) {
        memmove(m->buffer, m->buffer + 1, (BUFFER - 1) * sizeof *m->buffer);
        m->n--;
    }
    m->buffer[m->n++] = (struct reading){label_us, m->now_us};
}

/* The device's clock is moved. Over an edge forwards, the interval is closed
 * there and then. */
void device_step(struct meter *m, int64_t by_us)
{
    int64_t from = device_time(m), to = from + by_us;
    int64_t last = interval_floor(m->zone, to, m->interval_us);

    m->offset_us += (double)by_us;
    if (last > from)
        record(m, last);
}

/* ---- a year of it ---- */

static double sign(struct rng *r)
{
    return chance(r, 0.5) ? 1 : -1;
}

/* What may befall a clock, and how often a year. */
static void misfortune(struct meter *m)
{
    static const double per_hour = 1.0 / (365 * 24);
    double p = uniform(&m->rng, 0, 1) / per_hour, us = 1e6;

    if (p < 0.1) /* back to 2000 */
        m->offset_us = (double)(946684800 * US_PER_S - m->now_us);
    else if (p < 0.2) /* stood still while its battery was changed */
        m->offset_us -= uniform(&m->rng, 120, 40000) * us;
    else if (p < 0.3) /* one hour, by hand */
        m->offset_us += sign(&m->rng) * 3600 * us;
    else if (p < 0.4) /* set by hand, badly */
        m->offset_us += sign(&m->rng) * uniform(&m->rng, 10, 5000) * us;
    else if (p < 0.45) /* a wrong zone */
        m->offset_us += (double)((int)(draw(&m->rng) % 23) - 11) * 1800 * us;
}

void device_begin(struct meter *m, int i, const struct slot_meter *slot,
                  struct tally *t)
{
    double us = 1e6, p;

    *m = (struct meter){.rng = {o.seed * 1000003 + (uint64_t)i},
                        .key = slot->key,
                        .now_us = begin_us,
                        .waiting_since = TIME_NONE,
                        .approve_at = TIME_NONE,
                        .slot_down_us = TIME_NONE,
                        .policy = clock_policy_default,
                        .t = t};
    struct rng *r = &m->rng;
    p = uniform(r, 0, 1);
    m->transport = p < 0.5 ? GATEWAY_TIME : p < 0.8 ? DIALS_IN : NO_TIME;
    m->zone = zone_find(str_of(zones[draw(r) % 6]));
    m->interval_us = slot->interval_min * 60 * US_PER_S;
    m->policy.interval_us = m->interval_us;
    m->slot_us = (slot->slot * 60 + (int64_t)slot_second(slot->key)) * US_PER_S;
    m->random_us =
        (int64_t)(draw(r) % (uint32_t)(o.window_min * 60)) * US_PER_S;
    m->base_ppm = uniform(r, -185, 185);
    m->per_degree_ppm = uniform(r, -0.8, 0.8);
    m->phase = uniform(r, 0, 1);
    p = uniform(r, 0, 1);
    m->offset_us = p < 0.7    ? uniform(r, -30, 30) * us
                   : p < 0.9  ? uniform(r, -900, 900) * us
                   : p < 0.96 ? (double)((int)(draw(r) % 7) - 3) * 3600 * us
                              : (double)(946684800 * US_PER_S - begin_us);
    clock_init(&m->model);
    set_rate(m);
}

/* Reports go by the device's own clock: at its slot of each of its windows. */
static int64_t next_report(const struct meter *m)
{
    int64_t window_us = o.window_min * 60 * US_PER_S, shown = device_time(m);
    int64_t from = shown - (shown % window_us + window_us) % window_us;
    int64_t at = from + m->slot_us;

    return at > shown ? at : at + window_us;
}

static void live_hour(struct meter *m)
{
    int64_t until = m->now_us + HOUR_US;

    set_rate(m);
    while (m->now_us < until) {
        int64_t edge = interval_next(m->zone, device_time(m), m->interval_us);
        int64_t report = next_report(m);
        int64_t shown = edge <= report ? edge : report;
        int64_t at = when_shown(m, shown);
        if (at <= m->now_us)
            at = m->now_us + 1;
        if (at > until) {
            device_run_to(m, until);
            break;
        }
        device_run_to(m, at);
        m->offset_us = (double)(shown - at); /* no rounding piles up */
        if (edge <= report)
            record(m, edge);
        if (shown == report)
            contact(m);
    }
    misfortune(m);
}

void device_live(struct meter *m, int64_t until_us)
{
    while (m->now_us < until_us)
        live_hour(m);
}
