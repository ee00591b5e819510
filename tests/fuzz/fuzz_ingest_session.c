/*
 * Bytes from a hostile meter into a HEO-JSON session. The input's first byte
 * says how the stream is cut and how the journal behaves; the rest is what
 * the meter sends. Claims: no crash, no more than one positive reply per
 * durable frame, and every session can be brought to its end.
 */
#include "ingest/heo_session.h"
#include "server/base/err.h"

#include <assert.h>

enum { JOBS = 64 };

static struct {
    journal_done_fn *done;
    void *arg;
} jobs[JOBS];
static int n_jobs;
static int64_t now_us, durable;
static struct heo_counts counts;
static bool failing;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t fake_now(void *arg)
{
    (void)arg;
    return now_us;
}

static const struct clock fake_clock = {fake_now, fake_now, NULL};

static int fake_journal(void *arg, const struct frame *f, journal_done_fn *done,
                        void *done_arg)
{
    (void)arg;
    assert(f->payload.n > 0 && f->payload.n <= FRAME_PAYLOAD_MAX);
    assert(str_utf8(f->payload));
    if (n_jobs == JOBS || failing)
        return ERR_FULL;
    jobs[n_jobs].done = done;
    jobs[n_jobs++].arg = done_arg;
    return 0;
}

static void fake_reject(void *arg, const struct frame *f)
{
    (void)arg;
    assert(f->rejected);
}

static void fake_changed(void *arg)
{
    (void)arg;
}

static int64_t fake_rtt(void *arg)
{
    (void)arg;
    return 100000;
}

static const struct ingest_options options = {
    .tcp_line_max = 2000,
    .tcp_depth_max = 8,
    .tcp_rate = 50,
    .tcp_idle_ms = 120000,
    .tcp_bye_ms = 300,
    .tcp_linger_ms = 5000,
    .clock = &fake_clock,
};

static void settle(int err)
{
    int n = n_jobs;

    for (int i = 0; i < n; i++) {
        durable += err == 0;
        jobs[i].done(jobs[i].arg, err);
    }
    memmove(jobs, jobs + n, (size_t)(n_jobs - n) * sizeof *jobs);
    n_jobs -= n;
    assert(counts.acked <= durable);
}

static void talk(struct heo_session *s, struct str in, uint8_t how)
{
    size_t step = 1 + (how & 31);

    for (int turn = 0; in.n > 0; turn++) {
        size_t n = in.n < step ? in.n : step;

        if (heo_session_wants_bytes(s)) {
            heo_session_feed(s, (struct str){in.p, n});
            in.p += n;
            in.n -= n;
        }
        failing = how & 32 && turn % 3 == 0;
        if (how & 64 || turn % 4 == 0)
            settle(how & 128 && turn % 5 == 0 ? UV_EIO : 0);
        now_us += 100000;
        heo_session_run(s);
        if (heo_session_ended(s))
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct directory *d = directory_new();
    struct meter_entry m = {.tenant_id = 1,
                            .meter_id = 7,
                            .serial = STR("24000123"),
                            .codec = "heo-json",
                            .zone = "Europe/Moscow"};
    struct heo_host host = {
        .o = &options,
        .directory = d,
        .arena = arena_new(1024 * 1024),
        .counts = &counts,
        .tenant_id = 1,
        .journal = fake_journal,
        .reject = fake_reject,
        .changed = fake_changed,
        .rtt_us = fake_rtt,
    };
    struct heo_session *s;

    if (size == 0)
        goto out;
    counts = (struct heo_counts){0};
    now_us = durable = 0;
    failing = false;
    directory_put_integrations(d, NULL, 0);
    directory_put_meter(d, &m);
    s = heo_session_new(&host, STR("192.0.2.7:40112"), NULL);
    talk(s, (struct str){(const char *)data + 1, size - 1}, data[0]);
    failing = false;
    heo_session_eof(s);
    for (int i = 0; i < 100 && !heo_session_ended(s); i++) {
        settle(0);
        now_us += 10 * US_PER_S;
        heo_session_run(s);
    }
    assert(heo_session_ended(s));
    heo_session_free(s);
    settle(0);
out:
    arena_free(host.arena);
    directory_free(d);
    return 0;
}
