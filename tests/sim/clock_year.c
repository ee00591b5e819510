/*
 * clock_year.c - a year of simulated meter clocks through the time service, and
 * a judgement: exits 1 when a condition is violated. The same seed gives the
 * same figures, whatever the number of processes.
 *
 * The clocks are their own: here stands what is true, timesvc only sees what a
 * head-end would. A clock drifts by up to +-200 ppm, with temperature; it is
 * reset, stopped, set by hand, or in a wrong zone; it records a reading at each
 * edge of its own interval and reports every hour in its slot. Slots are
 * planned anew every day, and told with downlinks that may be lost.
 */
#include "year.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

const int64_t begin_us = 1767225600 * US_PER_S;
struct year_options o = {1, 10000, 365, 2, 60, 0};

/* The parent plans while the others wait, and waits while they live a day. */
struct shared {
    pthread_barrier_t gate;
    struct told *told;
    struct tally *tallies;
};

static void *shared_memory(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        exit(2);
    return p;
}

static void tell_clock(struct told *t, const struct meter *m)
{
    t->clock = (struct slot_clock){.at_us = m->model.at_us,
                                   .offset_us = m->model.offset_us,
                                   .drift_ppm =
                                       m->model.fitted ? m->model.drift_ppm : 0,
                                   .accepted_us = m->policy.accepted_us,
                                   .beyond_us = m->policy.approve_us};
    if (m->model.n_points == 0)
        t->clock.at_us = TIME_NONE;
}

static void work(int job, const struct estate *e, struct shared *s)
{
    int n = (o.meters - job + o.jobs - 1) / o.jobs;
    struct meter *meters = calloc((size_t)n + 1, sizeof *meters);

    if (!meters)
        abort(); /* the others would wait for ever */
    for (int k = 0; k < n; k++)
        device_begin(&meters[k], job + k * o.jobs,
                     estate_meter(e, job + k * o.jobs), &s->tallies[job]);
    for (int day = 0; day < o.days; day++) {
        pthread_barrier_wait(&s->gate); /* planned */
        for (int k = 0; k < n; k++) {
            struct meter *m = &meters[k];
            struct told *t = &s->told[job + k * o.jobs];
            contact_slot(m, t->slot);
            device_live(m, begin_us + (day + 1) * DAY_US);
            tell_clock(t, m);
        }
        pthread_barrier_wait(&s->gate); /* lived */
    }
    free(meters);
}

static int option(int argc, char **argv)
{
    struct {
        const char *name;
        int *value;
    } table[] = {{"--meters", &o.meters},
                 {"--days", &o.days},
                 {"--jobs", &o.jobs},
                 {"--window", &o.window_min},
                 {"--verbose", &o.verbose}};

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            o.seed = strtoull(argv[i + 1], NULL, 10);
        for (size_t k = 0; k < sizeof table / sizeof *table; k++)
            if (strcmp(argv[i], table[k].name) == 0)
                *table[k].value = atoi(argv[i + 1]);
    }
    return argc % 2 && o.meters > 0 && o.days > 31 && o.days <= 366 &&
                   o.jobs > 0 && o.jobs <= JOBS_MAX && o.window_min > 0 &&
                   1440 % o.window_min == 0
               ? 0
               : -1;
}

/* Days, one by one; a worker that dies takes all along. */
static int live(struct shared *s, struct estate *e)
{
    pid_t child[JOBS_MAX];
    int failed = 0;

    for (int j = 0; j < o.jobs; j++) {
        child[j] = fork();
        if (child[j] == 0) {
            work(j, e, s);
            _exit(0);
        }
    }
    for (int day = 0; day < o.days; day++) {
        estate_day(e, day);
        pthread_barrier_wait(&s->gate);
        pthread_barrier_wait(&s->gate);
    }
    for (int j = 0; j < o.jobs; j++) {
        int status = 1;
        waitpid(child[j], &status, 0);
        failed |= status;
    }
    return failed;
}

int main(int argc, char **argv)
{
    pthread_barrierattr_t across;
    struct shared *s;
    struct estate *e;

    if (option(argc, argv) < 0) {
        fprintf(stderr, "usage: clock_year [--seed N] [--meters N] [--days "
                        "32..366] [--window MINUTES] [--jobs N] [--verbose "
                        "1]\n");
        return 2;
    }
    s = shared_memory(sizeof *s);
    s->told = shared_memory((size_t)o.meters * sizeof *s->told);
    s->tallies = shared_memory((size_t)o.jobs * sizeof *s->tallies);
    pthread_barrierattr_init(&across);
    pthread_barrierattr_setpshared(&across, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&s->gate, &across, (unsigned)o.jobs + 1);
    e = estate_new(s->told);
    printf("%d meters, %d days, seed %llu\n", o.meters, o.days,
           (unsigned long long)o.seed);
    fflush(stdout);
    if (live(s, e))
        return 2;
    for (int j = 1; j < o.jobs; j++)
        tally_add(&s->tallies[0], &s->tallies[j]);
    struct estate_figures f = estate_figures(e);
    int violated = year_judge(&s->tallies[0], &f);
    estate_free(e);
    return violated ? 1 : 0;
}
