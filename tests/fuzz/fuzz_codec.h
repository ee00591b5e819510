/*
 * fuzz_codec.h - one input through one codec, as the pipeline would take it.
 */
#pragma once

#include "codecs/registry.h"
#include "schema/normalise.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_normalise(const struct decoded *d, const struct measurement *m)
{
    struct measured in = {.medium = d->medium,
                          .quantity = m->quantity,
                          .unit = m->unit,
                          .value = m->value,
                          .obis = m->obis,
                          .kind = m->kind,
                          .storage = m->storage,
                          .tariff = m->tariff,
                          .subunit = m->subunit,
                          .phase = m->phase,
                          .maximum = m->function == FUNCTION_MAX,
                          .minimum = m->function == FUNCTION_MIN,
                          .export_ = m->flags & MEASURED_EXPORT,
                          .uncorrected = m->flags & MEASURED_UNCORRECTED,
                          .base = m->flags & MEASURED_BASE};
    struct normal out;

    if (m->row >= d->n_rows)
        abort();
    if (normalise(&in, &out) == 0 &&
        (out.value.exp10 < -DECIMAL_EXP || out.value.exp10 > DECIMAL_EXP))
        abort();
}

static void fuzz_codec_input(const char *name, const struct codec_input *in)
{
    size_t size = in->payload.n;
    struct arena *a = arena_new(16 << 20);
    struct decoded d;

    if (codec_decode(codec_find(str_of(name)), in, a, &d) < 0) {
        if (!d.error || d.error_offset > size)
            abort();
    } else {
        if (d.n_rows > DECODED_ROWS || d.n_events > DECODED_EVENTS ||
            d.n_measurements > DECODED_MEASUREMENTS)
            abort();
        for (uint32_t i = 0; i < d.n_measurements; i++)
            fuzz_normalise(&d, &d.measurements[i]);
        if (!decoded_text(&d).p)
            abort();
    }
    arena_free(a);
}

static inline void fuzz_codec(const char *name, int port, const uint8_t *data,
                              size_t size)
{
    struct codec_input in = {.payload = {(const char *)data, size},
                             .port = port};

    fuzz_codec_input(name, &in);
}
