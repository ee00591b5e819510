/*
 * contact.c - one contact of a meter with the head-end, from both sides: the
 * sample, the readings, a decision, a correction that arrives or does not. What
 * is true is used to judge only.
 */
#include "timesvc/interval.h"
#include "timesvc/reconcile.h"
#include "year.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void judge_reading(struct meter *m, const struct reading *r,
                          const struct reconciled *got)
{
    const uint32_t mark =
        QUALITY_TIME_SHIFTED | QUALITY_TIME_UNCERTAIN | QUALITY_TIME_INVALID;
    int64_t off = llabs(got->time_us - r->true_us);
    bool wrong = 2 * off > m->interval_us, marked = got->quality & mark;
    struct tally *t = m->t;

    t->readings++;
    t->marked += marked;
    t->wrong_marked += wrong && marked;
    t->wrong_unmarked += wrong && !marked;
    t->moved += (got->quality & QUALITY_TIME_SHIFTED) != 0;
    t->uncertain += (got->quality & QUALITY_TIME_UNCERTAIN) != 0;
    t->invalid += (got->quality & QUALITY_TIME_INVALID) != 0;
    if (wrong && !marked && o.verbose)
        fprintf(stderr,
                "wrong: interval %lld s, true %lld, label %+lld s, got %+lld "
                "s, u %u ms, transport %d, model off %lld s drift %.1f\n",
                (long long)(m->interval_us / US_PER_S),
                (long long)((r->true_us - begin_us) / US_PER_S),
                (long long)((r->label_us - r->true_us) / US_PER_S),
                (long long)((got->time_us - r->true_us) / US_PER_S),
                got->uncertainty_ms, m->transport,
                (long long)(m->model.offset_us / US_PER_S), m->model.drift_ppm);
}

static void take_readings(struct meter *m, const struct clock_sample *s,
                          int64_t received_us)
{
    struct clock_known k = {.model = &m->model,
                            .accepted_us = m->policy.accepted_us,
                            .clock_us = s->meter_us,
                            .delay_us = s->delay_us,
                            .spread_us = s->spread_us,
                            .interval_us = m->interval_us};
    struct time_evidence e = {
        received_us, m->transport == GATEWAY_TIME ? s->heard_us : TIME_NONE,
        &k};
    int64_t newest = m->n ? m->buffer[m->n - 1].label_us : 0;

    for (uint32_t i = 0; i < m->n; i++) {
        struct meter_claim c = {.us = m->buffer[i].label_us, .dst = -1};
        struct reconciled r = reconcile(e, c, newest - c.us, m->zone);
        judge_reading(m, &m->buffer[i], &r);
    }
    m->n = 0;
}

static uint32_t sent_today(const struct meter *m, int64_t us)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_sent && i < SENT; i++)
        n += us - m->sent_at[i] < DAY_US;
    return n;
}

/* What the device does with a correction that reached it. */
static void apply(struct meter *m, const struct correction_sent *c)
{
    int64_t from = device_time(m), to = from + c->by_us;
    struct tally *t = m->t;
    uint32_t recent = 0;

    if (interval_floor(m->zone, from, m->interval_us) !=
        interval_floor(m->zone, to, m->interval_us)) {
        t->crossed_marked += c->crosses;
        m->crossing |= !c->crosses;
    }
    device_step(m, c->by_us);
    t->corrections++;
    m->applied_at[m->n_applied++ % 8] = m->now_us;
    for (uint32_t i = 0; i < m->n_applied && i < 8; i++)
        recent += m->now_us - m->applied_at[i] < DAY_US;
    t->too_often += recent > m->policy.per_day;
}

static void send_correction(struct meter *m, const struct correction *d,
                            int64_t heard_us, double round_us)
{
    struct correction_sent c = {.by_us = d->by_us,
                                .token = m->token,
                                .crosses = d->crosses_edge,
                                .under_way = true};

    m->sent_at[m->n_sent++ % SENT] = heard_us;
    clock_expect(&m->model, heard_us, d->by_us);
    m->waiting_since = m->approve_at = TIME_NONE;
    if (m->transport == DIALS_IN) { /* set_clock: absolute, half a round trip */
        double there = round_us * uniform(&m->rng, 0.35, 0.65);
        if (chance(&m->rng, 0.05)) {
            m->t->lost++;
            return;
        }
        device_run_to(m, m->now_us + (int64_t)there);
        c.by_us += (int64_t)(round_us / 2 - there);
        apply(m, &c);
        return;
    }
    c.ready_us = m->now_us + HOUR_US / 2; /* after its next uplink */
    m->down = c;
    m->unanswered = 0;
}

static void decide(struct meter *m, int64_t heard_us, int64_t before_us,
                   double round_us)
{
    struct correction_case c = {
        .error = clock_now(&m->model, heard_us),
        .drift_ppm = m->model.fitted ? m->model.drift_ppm : 0,
        .now_us = heard_us,
        .next_us =
            correction_next_us(heard_us, before_us, m->transport == DIALS_IN),
        .waiting_us =
            m->waiting_since == TIME_NONE ? 0 : heard_us - m->waiting_since,
        .today = sent_today(m, heard_us),
        .approved = m->approve_at != TIME_NONE && heard_us >= m->approve_at};

    if (m->model.odd_count)
        return; /* what it shows is in doubt */
    /* An answer under way counts until two more uplinks came without it. */
    if (m->model.sent_us != TIME_NONE && m->transport != DIALS_IN &&
        ++m->unanswered < 3)
        return;
    struct correction d = correction_decide(&m->policy, &c, m->zone);
    if (d.verdict == CORRECTION_NOW)
        send_correction(m, &d, heard_us, round_us);
    else if (d.verdict == CORRECTION_WAIT && m->waiting_since == TIME_NONE)
        m->waiting_since = heard_us;
    else if (d.verdict == CORRECTION_NONE)
        m->waiting_since = TIME_NONE;
    else if (d.verdict == CORRECTION_APPROVAL && m->approve_at == TIME_NONE) {
        m->t->asked_person++;
        m->approve_at =
            chance(&m->rng, 0.9)
                ? heard_us + (int64_t)uniform(&m->rng, 0.5, 10) * DAY_US
                : INT64_MAX;
    }
}

static void judge_clock(struct meter *m, int64_t heard_us)
{
    enum clock_state s =
        clock_state(&m->model, heard_us, m->policy.accepted_us);
    bool within = fabs(m->offset_us) <= (double)m->policy.accepted_us;
    int64_t hour = (m->now_us - begin_us) / HOUR_US;
    struct tally *t = m->t;

    t->contacts++;
    t->within += within;
    if (s != CLOCK_SYNCED)
        return;
    t->synced++;
    t->synced_within += within;
    if (hour >= 0 && hour < 366 * 24) {
        t->worst_hour_synced[hour]++;
        t->worst_hour_within[hour] += within;
    }
}

static void count_call(struct meter *m)
{
    int64_t at = (m->now_us - begin_us) / (60 * US_PER_S);
    int64_t other =
        (m->now_us - m->slot_us + m->random_us - begin_us) / (60 * US_PER_S);

    if (at >= 0 && at < YEAR_MIN)
        m->t->calls[at]++;
    if (other >= 0 && other < YEAR_MIN)
        m->t->calls_random[other]++;
}

/* ---- slots ---- */

void contact_slot(struct meter *m, int32_t slot)
{
    int32_t at_s = slot * 60 + (int32_t)slot_second(m->key);

    if (at_s != m->hand.at_s)
        m->hand = (struct slot_hand){.at_s = at_s,
                                     .window_min = (uint32_t)o.window_min,
                                     .told_us = TIME_NONE,
                                     .kept_us = TIME_NONE};
}

/* In the session, or behind the next uplink. */
static void tell_slot(struct meter *m, int64_t heard_us)
{
    struct clock_error e = clock_now(&m->model, heard_us);
    enum slot_word w = slot_follow(&m->hand, &e, heard_us);

    if (w == SLOT_KEPT)
        m->hand.kept_us = heard_us;
    if (w != SLOT_TELL)
        return;
    m->t->slots_told++;
    m->t->slots_again += m->hand.told > 0;
    m->hand.told++;
    m->hand.told_us = heard_us;
    if (m->transport != DIALS_IN)
        m->slot_down_us = m->hand.at_s * US_PER_S;
    else if (!chance(&m->rng, 0.05))
        m->slot_us = m->hand.at_s * US_PER_S;
}

static void take_slot(struct meter *m)
{
    if (m->slot_down_us != TIME_NONE && !chance(&m->rng, 0.2))
        m->slot_us = m->slot_down_us;
    m->slot_down_us = TIME_NONE;
}

void contact(struct meter *m)
{
    double late = exp(uniform(&m->rng, log(0.1), log(60))) * 1e6;
    double air = uniform(&m->rng, 0.1, 2) * 1e6;
    int64_t heard =
        m->now_us + (int64_t)(m->transport == GATEWAY_TIME ? air : late);
    struct clock_sample s = {.heard_us = heard, .meter_us = device_time(m)};

    count_call(m);
    /* A class A meter listens after it has spoken, lost or not. */
    struct correction_sent down = m->down;
    bool hears = down.under_way && m->now_us >= down.ready_us;
    if (hears)
        m->down.under_way = false;
    take_slot(m);
    if (!chance(&m->rng, 0.02)) {
        double round = late / uniform(&m->rng, 0.4, 0.6);
        s.delay_us = m->transport == GATEWAY_TIME ? US_PER_S
                     : m->transport == DIALS_IN   ? (int64_t)(round / 2)
                                                  : US_PER_S / 2;
        s.spread_us = m->transport == DIALS_IN       ? (int64_t)(0.15 * round)
                      : m->transport == GATEWAY_TIME ? US_PER_S
                                                     : 5 * US_PER_S / 2;
        int64_t before = m->model.last_us;
        take_readings(m, &s, m->now_us + (int64_t)late);
        enum clock_jump j = clock_take(&m->model, &s, m->zone);
        m->t->jumps += j != JUMP_NONE && j != JUMP_CORRECTED;
        m->t->verified += j == JUMP_CORRECTED;
        if (m->crossing) { /* marked, if what happened to it was seen */
            bool seen = m->model.odd_count || j != JUMP_NONE;
            m->t->crossed_unmarked += !seen;
            m->t->crossed_marked += seen;
            m->crossing = false;
        }
        judge_clock(m, heard);
        decide(m, heard, before, round);
        tell_slot(m, heard);
    }
    if (hears && !chance(&m->rng, 0.2)) {
        if (down.token == m->token) {
            device_run_to(m, m->now_us + 2 * US_PER_S);
            apply(m, &down);
            m->token = (m->token + 1) & 15;
        } else {
            m->t->stale++;
        }
    } else if (hears) {
        m->t->lost++;
    }
}
