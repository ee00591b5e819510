/*
 * capture.c - each decoded row becomes one capture: its measurements are
 * normalised, ordered by register, and their list is the capture's profile.
 */
#include "server/pipeline/capture.h"
#include "schema/normalise.h"
#include "server/base/buf.h"
#include "server/base/err.h"
#include <stdlib.h>

struct register_value {
    struct normal normal;
    uint32_t quality; /* of this value alone */
    const struct measurement *from;
};

static struct meter_claim claim_of(struct meter_time t)
{
    if (t.form == METER_TIME_NONE)
        return (struct meter_claim){
            .us = TIME_NONE, .invalid = t.invalid, .dst = -1};
    return (struct meter_claim){.us = t.us,
                                .local = t.form == METER_TIME_LOCAL,
                                .invalid = t.invalid,
                                .dst = t.dst};
}

struct reconciled capture_time(struct meter_time t,
                               struct time_evidence evidence,
                               const struct zone *zone)
{
    return reconcile(evidence, claim_of(t), 0, zone);
}

static struct measured measured_of(const struct measurement *m,
                                   enum medium medium)
{
    return (struct measured){
        .medium = medium,
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
        .export_ = (m->flags & MEASURED_EXPORT) != 0,
        .uncorrected = (m->flags & MEASURED_UNCORRECTED) != 0,
        .base = (m->flags & MEASURED_BASE) != 0,
    };
}

/* A JSON member; text that is no UTF-8 is repaired by buf_json_str. */
static void extra_put(struct buf *o, const struct measurement *m)
{
    char value[DECIMAL_TEXT];

    buf_z(o, o->n ? ",{\"quantity\":" : "{\"quantity\":");
    buf_json_str(o, str_of(quantity_name(m->quantity)));
    if (m->text.n) {
        buf_z(o, ",\"text\":");
        buf_json_str(o, m->text);
    }
    if (m->quantity != Q_TEXT && m->value.mantissa != VALUE_NONE)
        buf_printf(o, ",\"value\":\"%s\",\"unit\":\"%s\"",
                   decimal_text(m->value, value), unit_name(m->unit));
    if (m->storage)
        buf_printf(o, ",\"storage\":%u", m->storage);
    buf_printf(o, ",\"offset\":%u}", m->offset);
}

static uint64_t obis_number(struct obis o)
{
    return (uint64_t)o.a << 40 | (uint64_t)o.b << 32 | (uint64_t)o.c << 24 |
           (uint64_t)o.d << 16 | (uint64_t)o.e << 8 | o.f;
}

/* By register; of two for one register the one that came first. */
static int by_register(const void *pa, const void *pb)
{
    const struct register_value *a = pa, *b = pb;
    uint64_t x = obis_number(a->normal.obis), y = obis_number(b->normal.obis);
    if (x != y)
        return x < y ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* The registers of one row, sorted, each once; the rest goes to extras. */
static uint32_t row_registers(const struct decoded *d, uint32_t row,
                              enum medium medium, struct register_value *out,
                              struct buf *extras)
{
    uint32_t n = 0, kept = 0;

    for (uint32_t i = 0; i < d->n_measurements; i++) {
        const struct measurement *m = &d->measurements[i];
        struct measured in = measured_of(m, medium);
        if (m->row != row)
            continue;
        bool reading = !(m->flags & MEASURED_RATE) && m->text.n == 0;
        if (reading && normalise(&in, &out[n].normal) == 0) {
            out[n].from = m;
            out[n].quality = m->quality | out[n].normal.quality;
            n++;
        } else {
            extra_put(extras, m);
        }
    }
    qsort(out, n, sizeof *out, by_register);
    for (uint32_t i = 0; i < n; i++) {
        if (kept && obis_eq(out[kept - 1].normal.obis, out[i].normal.obis))
            extra_put(extras, out[i].from);
        else
            out[kept++] = out[i];
    }
    return kept;
}

static struct profile *profile_build(const struct register_value *v, uint32_t n,
                                     struct arena *keep)
{
    struct profile *p = arena_alloc(keep, sizeof *p);
    if (!p)
        return NULL;
    p->objects = arena_alloc(keep, n * sizeof *p->objects);
    if (!p->objects)
        return NULL;
    p->n = n;
    for (uint32_t i = 0; i < n; i++)
        p->objects[i] =
            (struct capture_object){v[i].normal.obis, v[i].normal.unit,
                                    v[i].normal.kind, v[i].normal.value.exp10};
    p->id = profile_id(p->objects, n);
    return p;
}

/* Values of one row, and per-value quality where values differ. */
static int capture_fill(struct capture *c, const struct register_value *v,
                        uint32_t n, uint32_t quality, struct arena *keep)
{
    bool differ = false;

    c->profile = profile_build(v, n, keep);
    c->values = arena_alloc(keep, n * sizeof *c->values);
    if (!c->profile || !c->values)
        return ERR_FULL;
    for (uint32_t i = 0; i < n; i++) {
        c->values[i] = v[i].quality & QUALITY_INVALID
                           ? VALUE_NONE
                           : v[i].normal.value.mantissa;
        differ |= v[i].quality != v[0].quality;
    }
    c->quality = quality | (differ ? 0 : v[0].quality);
    if (!differ)
        return 0;
    c->value_quality = arena_alloc(keep, n * sizeof *c->value_quality);
    if (!c->value_quality)
        return ERR_FULL;
    for (uint32_t i = 0; i < n; i++)
        c->value_quality[i] = quality | v[i].quality;
    return 0;
}

/* Newest time that a row claims: rows of an impossible clock keep their
 * distance to it. */
static int64_t newest_claim(const struct decoded *d)
{
    int64_t newest = TIME_NONE;
    for (uint32_t r = 0; r < d->n_rows; r++)
        if (d->rows[r].time.form != METER_TIME_NONE &&
            (newest == TIME_NONE || d->rows[r].time.us > newest))
            newest = d->rows[r].time.us;
    return newest;
}

static int row_capture(const struct decoded *d, uint32_t row,
                       const struct register_value *v, uint32_t n,
                       struct time_evidence evidence, const struct zone *zone,
                       uint32_t quality, int64_t newest, struct arena *keep,
                       struct capture *c)
{
    struct meter_time t = d->rows[row].time;
    int64_t age = t.form == METER_TIME_NONE ? 0 : newest - t.us;
    struct reconciled r = reconcile(evidence, claim_of(t), age, zone);

    c->time_us = r.time_us;
    c->meter_time_us = r.meter_time_us;
    c->uncertainty_ms = r.uncertainty_ms;
    return capture_fill(c, v, n, quality | r.quality, keep);
}

static int64_t clock_of(const struct decoded *d, struct time_evidence evidence,
                        const struct zone *zone)
{
    if (d->clock.form == METER_TIME_NONE || d->clock.invalid)
        return TIME_NONE;
    return capture_time(d->clock, evidence, zone).meter_time_us;
}

/* Measurements of a row lie together, so that many rows cost one pass each
 * over their own stretch only. */
static int by_row(const void *pa, const void *pb)
{
    const struct measurement *a = pa, *b = pb;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

int capture_build(const struct decoded *d, enum medium medium,
                  struct time_evidence evidence, const struct zone *zone,
                  uint32_t quality, struct arena *keep, struct captured *ret)
{
    struct buf extras = {0};
    struct register_value *v = malloc((d->n_measurements + 1) * sizeof *v);
    int64_t newest = newest_claim(d);
    int err = v ? 0 : ERR_FULL;

    *ret = (struct captured){.clock_us = clock_of(d, evidence, zone)};
    ret->captures = arena_alloc(keep, d->n_rows * sizeof *ret->captures);
    if (!ret->captures)
        err = ERR_FULL;
    if (d->n_measurements)
        qsort(d->measurements, d->n_measurements, sizeof *d->measurements,
              by_row);
    struct decoded part = *d;
    uint32_t at = 0;
    for (uint32_t row = 0; err == 0 && row < d->n_rows; row++) {
        part.measurements = d->measurements + at;
        for (part.n_measurements = 0;
             at < d->n_measurements && d->measurements[at].row == row; at++)
            part.n_measurements++;
        uint32_t n = row_registers(&part, row, medium, v, &extras);
        if (n == 0)
            continue;
        err = row_capture(d, row, v, n, evidence, zone, quality, newest, keep,
                          &ret->captures[ret->n]);
        ret->n += err == 0;
    }
    if (err == 0 && extras.n) {
        ret->extras = arena_printf(keep, "[%.*s]", STR_ARGS(buf_view(&extras)));
        err = ret->extras.p ? 0 : ERR_FULL;
    }
    buf_done(&extras);
    free(v);
    return err;
}
