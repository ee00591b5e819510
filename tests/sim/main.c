/*
 * main.c - headend-sim: a pretend LoRaWAN network server and gas meters that
 * really dial, against a running head-end. Progress goes to stderr, one final
 * line of counts to stdout. Exit status 0 when all that was sent is
 * acknowledged.
 */
#include "gas.h"
#include "lorawan.h"
#include "options.h"
#include "server/base/err.h"
#include "server/loop/loop.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { WATCH_MS = 100, REPORT_MS = 10000, GRACE_MS = 10000 };

static const struct faults usual_faults = {
    .repeat_event = 10,
    .repeat_frame = 10,
    .late = 10,
    .truncated = 3,
    .garbage = 2,
    .stranger = 3,
    .cut = 20,
    .noise = 5,
    .alarm = 30,
};

struct run {
    struct options options;
    struct sim sim;
    struct fleet fleet;
    struct lorawan *lorawan;
    struct gas *gas;
    struct ticker *watch, *report, *end;
    uv_signal_t interrupt, terminate;
    bool complete, ended;
};

static void print_counts(const struct run *r, FILE *out)
{
    const struct counts *c = &r->sim.counts;
    struct publisher_stats s = {0};

    if (r->lorawan)
        s = lorawan_stats(r->lorawan);
    fprintf(out,
            "uplinks=%lld joins=%lld repeats=%lld late=%lld broken=%lld "
            "published=%lld puback=%lld resent=%lld calls=%lld rows=%lld "
            "rows_acked=%lld gas_sent=%lld gas_acked=%lld gas_repeats=%lld "
            "gas_broken=%lld naks=%lld slots=%lld "
            "commands=%lld\n",
            (long long)c->uplinks, (long long)c->joins, (long long)c->repeats,
            (long long)c->late, (long long)c->broken, (long long)s.published,
            (long long)s.acked, (long long)s.resent, (long long)c->calls,
            (long long)c->rows, (long long)c->rows_acked,
            (long long)c->gas_sent, (long long)c->gas_acked,
            (long long)c->gas_repeats, (long long)c->gas_broken,
            (long long)c->naks, (long long)c->slots, (long long)c->commands);
    fflush(out);
}

static void end_run(void *arg)
{
    struct run *r = arg;

    if (r->ended)
        return;
    r->ended = true;
    print_counts(r, stdout);
    lorawan_free(r->lorawan);
    gas_free(r->gas);
    ticker_free(r->watch);
    ticker_free(r->report);
    ticker_free(r->end);
    uv_close((uv_handle_t *)&r->interrupt, NULL);
    uv_close((uv_handle_t *)&r->terminate, NULL);
}

/* First, begins nothing new and waits for acknowledgements; asked again, or
 * when patience is over, ends. */
static void stop(void *arg)
{
    struct run *r = arg;

    if (r->sim.stopping) {
        end_run(r);
        return;
    }
    r->sim.stopping = true;
    ticker_start(r->end, GRACE_MS, 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    stop(handle->data);
}

static void watch(void *arg)
{
    struct run *r = arg;

    if ((r->lorawan && !lorawan_idle(r->lorawan)) ||
        (r->gas && !gas_idle(r->gas)))
        return;
    r->complete = true;
    end_run(r);
}

static void report(void *arg)
{
    print_counts(arg, stderr);
}

static int start_lorawan(struct run *r, uv_loop_t *loop)
{
    const struct options *o = &r->options;
    struct lorawan_options lo = {
        .sim = &r->sim,
        .fleet = &r->fleet,
        .broker = o->broker,
        .rate = o->rate >= 0 ? (double)o->rate
                             : (double)o->lorawan / (double)o->period_s,
        .limit = o->once ? o->lorawan : o->count,
    };
    int err = lorawan_new(loop, &lo, &r->lorawan);

    if (err < 0)
        fprintf(stderr, "headend-sim: --broker %s: %s\n", o->broker,
                err_text(err));
    return err;
}

static int start_gas(struct run *r, uv_loop_t *loop)
{
    int err = gas_new(loop,
                      &(struct gas_options){.sim = &r->sim,
                                            .fleet = &r->fleet,
                                            .server = r->options.tcp},
                      &r->gas);

    if (err < 0)
        fprintf(stderr, "headend-sim: --tcp %s: %s\n", r->options.tcp,
                err_text(err));
    return err;
}

static int run(struct run *r)
{
    uv_loop_t loop;
    int err = 0;

    uv_loop_init(&loop);
    r->watch = ticker_new(&loop, watch, r);
    r->report = ticker_new(&loop, report, r);
    r->end = ticker_new(&loop, stop, r);
    uv_signal_init(&loop, &r->interrupt);
    uv_signal_init(&loop, &r->terminate);
    r->interrupt.data = r->terminate.data = r;
    uv_signal_start(&r->interrupt, on_signal, SIGINT);
    uv_signal_start(&r->terminate, on_signal, SIGTERM);
    if (r->options.broker && r->fleet.n_heat)
        err = start_lorawan(r, &loop);
    if (err == 0 && r->options.tcp && r->fleet.n_gas)
        err = start_gas(r, &loop);
    if (err < 0) {
        end_run(r);
    } else {
        ticker_start(r->watch, WATCH_MS, WATCH_MS);
        ticker_start(r->report, REPORT_MS, REPORT_MS);
        if (r->options.duration_s)
            ticker_start(r->end, (uint64_t)r->options.duration_s * 1000, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return err < 0 ? 2 : r->complete ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct run r = {0};
    int status = options_read(&r.options, argc, argv);

    if (status)
        return status - 1;
    signal(SIGPIPE, SIG_IGN); /* a peer that left is an error of the write */
    r.sim = (struct sim){
        .start_us = clock_utc(&clock_system),
        .period_ms = r.options.period_s * 1000,
        .once = r.options.once,
    };
    if (!r.options.no_faults)
        r.sim.faults = usual_faults;
    fleet_init(&r.fleet, (uint64_t)r.options.seed, (uint32_t)r.options.lorawan,
               (uint32_t)r.options.gas);
    if (r.options.csv) {
        struct buf out = {0};

        fleet_csv(&r.fleet, &out);
        fwrite(out.p, 1, out.n, stdout);
        buf_done(&out);
    } else {
        status = run(&r);
    }
    fleet_done(&r.fleet);
    return status;
}
