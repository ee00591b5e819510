/*
 * clock_year.c - a year of simulated meter clocks through the time service, and
 * a judgement: exits 1 when a condition is violated. The same seed gives the
 * same figures, whatever the number of processes.
 *
 * The clocks are their own: here stands what is true, timesvc only sees what a
 * head-end would. A clock drifts by up to +-200 ppm, with temperature; it is
 * reset, stopped, set by hand, or in a wrong zone; it records a reading at each
 * edge of its own interval and reports every hour in its slot.
 */
#include "server/base/clock.h"
#include "timesvc/cron.h"
#include "timesvc/interval.h"
#include "timesvc/policy.h"
#include "timesvc/reconcile.h"
#include "timesvc/slots.h"
#include "timesvc/zone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR_US (3600 * US_PER_S)
#define DAY_US  (24 * HOUR_US)

enum { BUFFER = 256, JOBS_MAX = 64, SENT = 64, YEAR_MIN = 366 * 1440 };
static const int64_t begin_us = 1767225600 * US_PER_S; /* 2026-01-01 */

static struct {
    uint64_t seed;
    int meters, days, jobs, verbose;
} o = {1, 10000, 365, 2, 0};

/* ---- chance ---- */

struct rng {
    uint64_t state;
};

static uint64_t draw(struct rng *r) /* SplitMix64 */
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double uniform(struct rng *r, double low, double high)
{
    return low + (high - low) * ((double)(draw(r) >> 11) * 0x1p-53);
}

static bool chance(struct rng *r, double p)
{
    return uniform(r, 0, 1) < p;
}

/* ---- what is counted ---- */

struct tally {
    int64_t readings, marked, wrong_marked, wrong_unmarked, duplicates;
    int64_t moved, uncertain, invalid;
    int64_t contacts, synced, synced_within, within;
    int64_t corrections, lost, crossed_marked, crossed_unmarked, too_often;
    int64_t asked_person, jumps, verified, stale;
    int32_t worst_hour_synced[366 * 24], worst_hour_within[366 * 24];
    uint32_t calls[YEAR_MIN], calls_random[YEAR_MIN];
};

/* ---- one meter ---- */

enum transport { GATEWAY_TIME, DIALS_IN, NO_TIME };

struct correction_sent {
    int64_t by_us, ready_us; /* a class A meter gets it at a later uplink */
    uint8_t token;
    bool crosses, under_way;
};

struct reading {
    int64_t label_us, true_us;
};

struct meter {
    struct rng rng;
    enum transport transport;
    const struct zone *zone;
    int64_t interval_us, slot_us, random_us;
    /* The device, as it is: */
    int64_t now_us;   /* true time */
    double offset_us; /* its clock less true time, at now_us */
    double base_ppm, per_degree_ppm, phase;
    double rate_ppm;
    uint8_t token;
    struct reading buffer[BUFFER];
    uint32_t n;
    /* The head-end's view: */
    struct clock_model model;
    struct clock_policy policy;
    int64_t sent_at[SENT];
    uint32_t n_sent;
    int64_t waiting_since;
    int64_t approve_at; /* when a person will have said yes */
    int asked_token, unanswered;
    struct correction_sent down;
    /* The judge's: */
    int64_t applied_at[8];
    uint32_t n_applied;
    bool crossing; /* a step over an edge that nobody has marked yet */
    struct tally *t;
};

static const char *const zones[] = {"Europe/Berlin",  "Europe/Moscow",
                                    "Asia/Kolkata",   "Australia/Lord_Howe",
                                    "Asia/Kathmandu", "America/St_Johns"};

static int64_t device_time(const struct meter *m)
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

static void run_to(struct meter *m, int64_t us)
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
static void step(struct meter *m, int64_t by_us)
{
    int64_t from = device_time(m), to = from + by_us;
    int64_t last = interval_floor(m->zone, to, m->interval_us);

    m->offset_us += (double)by_us;
    if (last > from)
        record(m, last);
}

/* ---- the head-end's side of a contact ---- */

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
    step(m, c->by_us);
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
        run_to(m, m->now_us + (int64_t)there);
        c.by_us += (int64_t)(round_us / 2 - there);
        apply(m, &c);
        return;
    }
    c.ready_us = m->now_us + HOUR_US / 2; /* after its next uplink */
    m->down = c;
    m->unanswered = 0;
}

static void decide(struct meter *m, int64_t heard_us, double round_us)
{
    struct correction_case c = {
        .error = clock_now(&m->model, heard_us),
        .drift_ppm = m->model.fitted ? m->model.drift_ppm : 0,
        .now_us = heard_us,
        .next_us = heard_us + 3 * HOUR_US,
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

static void contact(struct meter *m)
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
    if (!chance(&m->rng, 0.02)) {
        double round = late / uniform(&m->rng, 0.4, 0.6);
        s.delay_us = m->transport == GATEWAY_TIME ? US_PER_S
                     : m->transport == DIALS_IN   ? (int64_t)(round / 2)
                                                  : US_PER_S / 2;
        s.spread_us = m->transport == DIALS_IN       ? (int64_t)(0.15 * round)
                      : m->transport == GATEWAY_TIME ? US_PER_S
                                                     : 5 * US_PER_S / 2;
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
        decide(m, heard, round);
    }
    if (hears && !chance(&m->rng, 0.2)) {
        if (down.token == m->token) {
            run_to(m, m->now_us + 2 * US_PER_S);
            apply(m, &down);
            m->token = (m->token + 1) & 15;
        } else {
            m->t->stale++;
        }
    } else if (hears) {
        m->t->lost++;
    }
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

static void begin(struct meter *m, int i, const struct slot_meter *slot,
                  struct tally *t)
{
    double us = 1e6, p;

    *m = (struct meter){.rng = {o.seed * 1000003 + (uint64_t)i},
                        .now_us = begin_us,
                        .waiting_since = TIME_NONE,
                        .approve_at = TIME_NONE,
                        .policy = clock_policy_default,
                        .t = t};
    struct rng *r = &m->rng;
    p = uniform(r, 0, 1);
    m->transport = p < 0.5 ? GATEWAY_TIME : p < 0.8 ? DIALS_IN : NO_TIME;
    m->zone = zone_find(str_of(zones[draw(r) % 6]));
    m->interval_us = slot->interval_min * 60 * US_PER_S;
    m->policy.interval_us = m->interval_us;
    m->slot_us = (slot->slot * 60 + (int64_t)slot_second(slot->key)) * US_PER_S;
    m->random_us = (int64_t)(draw(r) % 3600) * US_PER_S;
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

/* Reports go by the device's own clock: at its slot of each of its hours. */
static int64_t next_report(const struct meter *m)
{
    int64_t shown = device_time(m);
    int64_t hour = shown - (shown % HOUR_US + HOUR_US) % HOUR_US;
    int64_t at = hour + m->slot_us;

    return at > shown ? at : at + HOUR_US;
}

static void live(struct meter *m)
{
    int64_t end = begin_us + o.days * DAY_US;

    while (m->now_us < end) {
        int64_t until = m->now_us + HOUR_US;
        set_rate(m);
        while (m->now_us < until) {
            int64_t edge =
                interval_next(m->zone, device_time(m), m->interval_us);
            int64_t report = next_report(m);
            int64_t shown = edge <= report ? edge : report;
            int64_t at = when_shown(m, shown);
            if (at <= m->now_us)
                at = m->now_us + 1;
            if (at > until) {
                run_to(m, until);
                break;
            }
            run_to(m, at);
            m->offset_us = (double)(shown - at); /* no rounding piles up */
            if (edge <= report)
                record(m, edge);
            if (shown == report)
                contact(m);
        }
        misfortune(m);
    }
}

/* ---- the estate ---- */

static struct slot_meter *assign_slots(double *unevenness)
{
    struct slot_meter *s = calloc((size_t)o.meters, sizeof *s);
    struct slot_plan *p = slot_plan_new(60, 200);
    struct rng r = {o.seed};

    if (!s || !p)
        exit(2);
    for (int i = 0; i < o.meters; i++) {
        s[i] = (struct slot_meter){.key = cron_seed(1, i),
                                   .weight = 1,
                                   .gateway = (uint32_t)(draw(&r) % 200),
                                   .interval_min = chance(&r, 0.3) ? 15 : 60,
                                   .slot = SLOT_NONE};
        slot_assign(p, &s[i]);
    }
    *unevenness = slot_unevenness(p);
    slot_plan_free(p);
    return s;
}

static void work(int job, const struct slot_meter *slots, struct tally *t)
{
    struct meter *m = malloc(sizeof *m);

    for (int i = job; m && i < o.meters; i += o.jobs) {
        begin(m, i, &slots[i], t);
        live(m);
    }
    free(m);
}

static void add(struct tally *to, const struct tally *t)
{
    int64_t *a = &to->readings;
    const int64_t *b = &t->readings;

    for (size_t i = 0; i < offsetof(struct tally, worst_hour_synced) / 8; i++)
        a[i] += b[i];
    for (int i = 0; i < 366 * 24; i++) {
        to->worst_hour_synced[i] += t->worst_hour_synced[i];
        to->worst_hour_within[i] += t->worst_hour_within[i];
    }
    for (int i = 0; i < YEAR_MIN; i++) {
        to->calls[i] += t->calls[i];
        to->calls_random[i] += t->calls_random[i];
    }
}

struct load {
    double mean, profile; /* busiest minute of the day, as a year's mean */
    uint32_t most;        /* in any one minute of the year */
};

/* The first and the last hours are not whole. */
static struct load load_of(const uint32_t *calls)
{
    struct load l = {0};
    double by_minute[1440] = {0};

    for (int day = 1; day < o.days - 1; day++) {
        for (int i = 0; i < 1440; i++) {
            uint32_t n = calls[day * 1440 + i];
            by_minute[i] += (double)n / (o.days - 2);
            l.mean += (double)n / (o.days - 2) / 1440;
            l.most = n > l.most ? n : l.most;
        }
    }
    for (int i = 0; i < 1440; i++)
        l.profile = by_minute[i] > l.profile ? by_minute[i] : l.profile;
    return l;
}

/* The same meters once a day: planned, and with random minutes. */
static void daily(double *planned, double *random)
{
    struct slot_plan *p = slot_plan_new(1440, 1), *q = slot_plan_new(1440, 1);
    struct rng r = {o.seed + 1};

    for (int i = 0; i < o.meters; i++) {
        struct slot_meter m = {
            .key = cron_seed(1, i), .weight = 1, .slot = SLOT_NONE};
        slot_assign(p, &m);
        m.slot = (int32_t)(draw(&r) % 1440);
        slot_book(q, &m);
    }
    *planned = slot_unevenness(p);
    *random = slot_unevenness(q);
    slot_plan_free(p);
    slot_plan_free(q);
}

static double percent(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 100;
}

static int violations;

static void must(bool holds, const char *text)
{
    printf("%-9s %s\n", holds ? "holds" : "VIOLATED", text);
    violations += !holds;
}

static void judge(const struct tally *t, double planned)
{
    struct load load = load_of(t->calls), random = load_of(t->calls_random);
    double worst = 100, daily_planned, daily_random;

    daily(&daily_planned, &daily_random);
    for (int i = 30 * 24; i < o.days * 24 - 2; i++) {
        double p = percent(t->worst_hour_within[i], t->worst_hour_synced[i]);
        worst = p < worst ? p : worst;
    }
    printf("readings    %lld; marked %.3f %% (moved %.3f, uncertain %.3f, "
           "invalid %.3f); in a wrong interval: %lld marked, %lld unmarked\n",
           (long long)t->readings, percent(t->marked, t->readings),
           percent(t->moved, t->readings), percent(t->uncertain, t->readings),
           percent(t->invalid, t->readings), (long long)t->wrong_marked,
           (long long)t->wrong_unmarked);
    printf("clocks      %lld contacts; within 60 s %.3f %%; synced %.3f %%, of "
           "these within 60 s %.4f %% (worst hour after 30 days %.3f %%)\n",
           (long long)t->contacts, percent(t->within, t->contacts),
           percent(t->synced, t->contacts),
           percent(t->synced_within, t->synced), worst);
    printf("corrections %lld applied, %lld lost, %lld stale, %lld verified; "
           "%lld crossed an edge marked, %lld unmarked; %lld above the daily "
           "limit; %lld asked a person; %lld jumps seen\n",
           (long long)t->corrections, (long long)t->lost, (long long)t->stale,
           (long long)t->verified, (long long)t->crossed_marked,
           (long long)t->crossed_unmarked, (long long)t->too_often,
           (long long)t->asked_person, (long long)t->jumps);
    printf("load        hourly: planned %.3f times the mean of %.1f a minute; "
           "busiest minute of the day %.3f, of the year %.3f (random starts: "
           "%.3f, %.3f); daily: planned %.3f (random starts: %.3f)\n",
           planned, load.mean, load.profile / load.mean, load.most / load.mean,
           random.profile / random.mean, random.most / random.mean,
           daily_planned, daily_random);
    must(t->wrong_unmarked == 0,
         "no reading lies in a wrong interval unmarked");
    must(percent(t->synced_within, t->synced) >= 99 && worst >= 99,
         "99 % of synced meters stay within the threshold, in every hour");
    must(percent(t->synced, t->contacts) >= 90, "9 of 10 contacts are synced");
    must(t->too_often == 0, "no meter was corrected more often than allowed");
    must(t->crossed_unmarked == 0, "no correction crossed an edge unmarked");
    must(percent(t->marked, t->readings) <= 5,
         "1 reading of 20 marked at most");
    if (o.meters >= 5000)
        must(load.profile <= 1.3 * load.mean && daily_planned <= 1.3,
             "the busiest minute is at most 1.3 times the mean");
    else
        must(planned <= 1.3 && daily_planned < daily_random,
             "the plan is even");
}

static int option(int argc, char **argv)
{
    struct {
        const char *name;
        int *value;
    } table[] = {{"--meters", &o.meters},
                 {"--days", &o.days},
                 {"--jobs", &o.jobs},
                 {"--verbose", &o.verbose}};

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            o.seed = strtoull(argv[i + 1], NULL, 10);
        for (size_t k = 0; k < sizeof table / sizeof *table; k++)
            if (strcmp(argv[i], table[k].name) == 0)
                *table[k].value = atoi(argv[i + 1]);
    }
    return argc % 2 && o.meters > 0 && o.days > 31 && o.days <= 366 &&
                   o.jobs > 0 && o.jobs <= JOBS_MAX
               ? 0
               : -1;
}

int main(int argc, char **argv)
{
    pid_t child[JOBS_MAX];
    double planned;
    int failed = 0;

    if (option(argc, argv) < 0) {
        fprintf(stderr, "usage: clock_year [--seed N] [--meters N] [--days "
                        "32..366] [--jobs N] [--verbose 1]\n");
        return 2;
    }
    size_t size = (size_t)o.jobs * sizeof(struct tally);
    struct tally *t = mmap(NULL, size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct slot_meter *slots = assign_slots(&planned);
    if (t == MAP_FAILED)
        return 2;
    printf("%d meters, %d days, seed %llu\n", o.meters, o.days,
           (unsigned long long)o.seed);
    fflush(stdout);
    for (int j = 0; j < o.jobs; j++) {
        child[j] = fork();
        if (child[j] == 0) {
            work(j, slots, &t[j]);
            _exit(0);
        }
    }
    for (int j = 0; j < o.jobs; j++) {
        int status = 1;
        waitpid(child[j], &status, 0);
        failed |= status;
    }
    if (failed)
        return 2;
    for (int j = 1; j < o.jobs; j++)
        add(&t[0], &t[j]);
    judge(&t[0], planned);
    free(slots);
    munmap(t, size);
    return violations ? 1 : 0;
}
