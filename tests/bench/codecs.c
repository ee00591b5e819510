/*
 * codecs.c - headend-bench-codecs: telegrams a second of every codec over the
 * vectors that it decodes, then of payload codecs in JavaScript, run as the
 * pipeline runs them (a codec-host, a fresh context for each frame, a mapping).
 */
#include "codecs/registry.h"
#include "codecs/script/mapping.h"
#include "codecs/script/script.h"
#include "server/base/clock.h"
#include "server/base/hex.h"
#include <stdio.h>

enum { MOST = 64, SECONDS_US = 500000, ARENA = 8 << 20, PADDING = 27 << 10 };

/* ---- in C ---- */

/* Inputs of a codec's vectors that decode. */
static int inputs(const struct codec *k, struct arena *a,
                  struct codec_input in[MOST])
{
    static uint8_t keys[MOST][16];
    int n = 0;

    for (const struct codec_vector *v = k->vectors; v && v->name && n < MOST;
         v++) {
        if (v->err)
            continue;
        in[n] = (struct codec_input){.port = v->port};
        if (v->key && hex_decode(str_of(v->key), keys[n], 16) == 16)
            in[n].key = keys[n];
        if (v->text) {
            in[n].payload = str_of(v->text);
        } else {
            size_t cap = strlen(v->hex);
            uint8_t *p = arena_alloc(a, cap + 1);
            int bytes = hex_decode(str_of(v->hex), p, cap);
            in[n].payload = (struct str){(char *)p, (size_t)bytes};
        }
        n++;
    }
    return n;
}

static double rate_of(const struct codec *k)
{
    struct arena *keep = arena_new(0), *a = arena_new(ARENA);
    struct codec_input in[MOST];
    int n = inputs(k, keep, in);
    int64_t began = clock_mono(&clock_system), took = 0, done = 0;

    while (n && took < SECONDS_US) {
        for (int i = 0; i < n; i++, done++) {
            struct decoded d;
            arena_reset(a);
            codec_decode(k, &in[i], a, &d);
        }
        took = clock_mono(&clock_system) - began;
    }
    arena_free(a);
    arena_free(keep);
    return n ? (double)done * 1e6 / (double)took : 0;
}

/* ---- in JavaScript ---- */

#define VEGA                                                                   \
    "function decodeUplink(i) { var b = i.bytes, u = function (n) { return"    \
    " (b[n] | b[n + 1] << 8 | b[n + 2] << 16 | b[n + 3] << 24) >>> 0; };"      \
    " return { data: { type: b[0], battery: b[1], time: u(3),"                 \
    " temperature: b[7] << 24 >> 24, inputs: [u(8), u(12), u(16), u(20)] } };" \
    " }\n"

static const char mapping_text[] =
    "{\"medium\":\"water\",\"clock\":\"time\",\"registers\":["
    "{\"field\":\"inputs.0\",\"quantity\":\"count\",\"unit\":\"pulse\"},"
    "{\"field\":\"battery\",\"quantity\":\"battery-percent\",\"unit\":\"%\"},"
    "{\"field\":\"temperature\",\"quantity\":\"external-temperature\","
    "\"unit\":\"Cel\"}]}";

/* *cpu_us: of the host, for one frame. */
static double script_rate(struct scripts *s, struct str source, double *cpu_us)
{
    static const char payload[] =
        "\x01\x64\x00\x00\x96\x68\x69\x15\x01\x00\x00\x00\x02\x00\x00\x00"
        "\x03\x00\x00\x00\x04\x00\x00";
    struct script_call c = {.key = script_key(1, source),
                            .source = source,
                            .port = 2,
                            .input = {payload, sizeof payload},
                            .time_us = 1768478400 * US_PER_S};
    struct arena *keep = arena_new(0), *a = arena_new(ARENA);
    struct mapping *m = NULL;
    struct str why;
    int64_t done = 0, failed = 0, took = 0;

    *cpu_us = 0;

    if (mapping_read(keep, str_of(mapping_text), &m, &why) < 0)
        printf("mapping: %.*s\n", STR_ARGS(why));
    struct script_result first;
    script_run(s, &c, a, &first); /* the host starts and compiles */
    int64_t began = clock_mono(&clock_system);
    for (; took < 4 * SECONDS_US; done++) {
        struct script_result r;
        struct decoded d;
        arena_reset(a);
        failed += script_run(s, &c, a, &r) < 0 || decoded_init(&d, a) < 0 ||
                  mapping_apply(m, r.data, &d) < 0;
        *cpu_us += r.cost_us;
        took = clock_mono(&clock_system) - began;
    }
    *cpu_us /= (double)done;
    if (failed)
        printf("%lld of %lld frames failed\n", (long long)failed,
               (long long)done);
    arena_free(a);
    arena_free(keep);
    return (double)done * 1e6 / (double)took;
}

static void script_line(struct scripts *s, const char *what, struct str source,
                        double c_rate)
{
    double cpu_us, rate = script_rate(s, source, &cpu_us);

    printf("%-28s %12.0f  %6.1f us  %6.1f us  %6.0f x\n", what, rate,
           1e6 / rate, cpu_us, cpu_us * c_rate / 1e6);
}

int main(int argc, char **argv)
{
    static char large[PADDING + sizeof VEGA] = VEGA;
    double vega = 0;

    printf("%-28s %12s  %9s\n", "codec", "telegrams/s", "each");
    for (const struct codec *const *k = codec_list(); *k; k++) {
        double rate = rate_of(*k);
        if (rate > 0)
            printf("%-28s %12.0f  %6.1f us\n", (*k)->name, rate, 1e6 / rate);
        if (strcmp((*k)->name, "vega-si11") == 0)
            vega = rate;
    }
    /* As long as published scripts get, most of it not called. */
    for (size_t n = strlen(large); n + 64 < sizeof large; n = strlen(large))
        snprintf(large + n, sizeof large - n,
                 "function f%zu(a, b) { return a[b] * %zu + b; }\n", n, n);
    struct scripts *s = scripts_new(
        &(struct scripts_options){.program = argc > 1 ? argv[1] : NULL});
    printf("\n%-28s %12s  %9s  %9s  %8s\n", "JavaScript, one codec-host",
           "telegrams/s", "each", "computed", "of C");
    script_line(s, "vega-si11, 0.3 KiB", STR(VEGA), vega);
    script_line(s, "vega-si11, 27 KiB", str_of(large), vega);
    scripts_free(s);
    return 0;
}
