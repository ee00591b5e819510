/*
 * judge.c - what the year came to: figures, and conditions that must hold.
 */
#include "year.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

void tally_add(struct tally *to, const struct tally *t)
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

static void print_clocks(const struct tally *t, double worst)
{
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
}

static void print_load(const struct tally *t, const struct estate_figures *e,
                       const struct load *load, const struct load *random)
{
    printf("load        every %d min: %.1f calls a minute; planned %.3f times "
           "that, expected at most %.3f; busiest minute of the year %.3f, of "
           "the day in the year's mean %.3f (random starts under the same "
           "clocks: %.3f, %.3f)\n",
           o.window_min, load->mean, e->planned, e->expected,
           load->most / load->mean, load->profile / load->mean,
           random->most / random->mean, random->profile / random->mean);
    printf("slots       %lld moved, %.1f times a meter and year; %lld told, "
           "%lld of them again; once a day: planned %.3f (random starts: "
           "%.3f)\n",
           (long long)e->moves, (double)e->moves / o.meters * 365 / o.days,
           (long long)t->slots_told, (long long)t->slots_again, e->daily,
           e->daily_random);
}

/* Of a small fleet a few calls decide: only its plan is judged. */
static void judge_load(const struct tally *t, const struct estate_figures *e)
{
    struct load load = load_of(t->calls), random = load_of(t->calls_random);

    print_load(t, e, &load, &random);
    must(e->daily < e->daily_random && (e->daily <= 1.3 || o.meters < 5000),
         "a daily plan is even");
    must(e->planned <= 1.3, "the plan is even");
    if (o.meters < 1000)
        return;
    must(load.most < random.most && load.profile < random.profile,
         "random starts are worse");
    if (o.meters >= 5000 && o.window_min <= 60)
        must(load.most <= 1.3 * load.mean,
             "the busiest minute of the year is at most 1.3 times the mean");
}

int year_judge(const struct tally *t, const struct estate_figures *e)
{
    double worst = 100;

    for (int i = 30 * 24; i < o.days * 24 - 2; i++) {
        double p = percent(t->worst_hour_within[i], t->worst_hour_synced[i]);
        worst = p < worst ? p : worst;
    }
    print_clocks(t, worst);
    judge_load(t, e);
    must(t->wrong_unmarked == 0,
         "no reading lies in a wrong interval unmarked");
    must(percent(t->synced_within, t->synced) >= 99 && worst >= 99,
         "99 % of synced meters stay within the threshold, in every hour");
    must(percent(t->synced, t->contacts) >= 90, "9 of 10 contacts are synced");
    must(t->too_often == 0, "no meter was corrected more often than allowed");
    must(t->crossed_unmarked == 0, "no correction crossed an edge unmarked");
    must(percent(t->marked, t->readings) <= 5,
         "1 reading of 20 marked at most");
    return violations;
}
