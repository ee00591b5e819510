/*
 * fleet.c - see fleet.h. Telegrams after meters.md 4.2 of the protocol notes:
 * one message type byte, then M-Bus records (EN 13757-3), as int32 (CMi4130,
 * 4140, 4160) or as BCD (CMi4110).
 */
#include "fleet.h"
#include "server/base/mem.h"
#include <stdlib.h>

enum { ZONE_S = 3 * 3600 }; /* gas meters live in Europe/Moscow, always +03 */
static const int64_t epoch_us = 1704067200 * US_PER_S; /* 2024-01-01 */

struct heat_model {
    const char *name;
    uint8_t message; /* the module's standard telegram */
    bool bcd;
    uint8_t maker[4]; /* M-Bus manufacturer (LE), version, medium */
};

static const struct heat_model heat_models[] = {
    {"elvaco-cmi4160", 0x1e, false, {0xa5, 0x11, 0x40, 0x04}}, /* DME */
    {"elvaco-cmi4140", 0x15, false, {0x2d, 0x2c, 0x34, 0x04}}, /* KAM */
    {"elvaco-cmi4130", 0x05, false, {0x97, 0x26, 0x0a, 0x04}}, /* ITW */
    {"elvaco-cmi4110", 0x00, true, {0xa7, 0x32, 0x0a, 0x04}},  /* LUG */
};
enum { HEAT_MODELS = sizeof(heat_models) / sizeof(heat_models[0]) };

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

bool rng_chance(struct rng *r, uint32_t per_mille)
{
    return rng_below(r, 1000) < per_mille;
}

int64_t meter_clock_at(const struct meter_clock *c, int64_t start_us,
                       int64_t utc_us)
{
    int64_t drift_us = (utc_us - start_us) / 1000000 * c->drift_ppm;
    return utc_us + c->step_us + drift_us;
}

/* Most clocks drift a little, some were set an hour or a year wrong. */
static struct meter_clock clock_draw(struct rng *r, uint32_t index)
{
    static const int64_t hour_us = 3600 * US_PER_S;
    struct meter_clock c = {.drift_ppm = (int32_t)rng_below(r, 401) - 200};

    if (index % 50 == 17)
        c.step_us = hour_us;
    if (index % 50 == 33)
        c.step_us = -365 * 24 * hour_us;
    return c;
}

static void heat_draw(struct heat_meter *m, struct rng *r, uint32_t index)
{
    m->serial = 60000000 + index * 13 + rng_below(r, 13);
    m->dev_eui = 0x94193a0000000000 | (uint64_t)m->serial;
    m->model = &heat_models[index % HEAT_MODELS];
    m->clock = clock_draw(r, index);
    m->power_w = 1000 + rng_below(r, 8000);
    m->supply_dc = 600 + rng_below(r, 250);
    m->return_dc = 300 + rng_below(r, 150);
    m->flow_l_h = m->power_w * 10000 / 1163 / (m->supply_dc - m->return_dc);
    m->energy_0 = rng_below(r, 200000);
    m->volume_0 = rng_below(r, 4000000);
}

static void gas_draw(struct gas_meter *m, struct rng *r, uint32_t index)
{
    m->serial = 24000000 + index * 7 + rng_below(r, 7);
    m->model = index % 3 ? "heo-g4" : "heo-g6";
    m->leaflet_form = index % 2;
    m->clock = clock_draw(r, index);
    m->work_0 = (int64_t)rng_below(r, 5000) * 10000;
    m->std_0 = m->work_0 * 2;
    m->work_rate = 5000 + (int32_t)rng_below(r, 15000);
    m->std_rate = m->work_rate * 2;
}

void fleet_init(struct fleet *f, uint64_t seed, uint32_t heat, uint32_t gas)
{
    struct rng heat_rng = {seed}, gas_rng = {~seed};

    *f = (struct fleet){.n_heat = heat, .n_gas = gas};
    f->heat = mem_alloc((heat + 1) * sizeof(*f->heat));
    f->gas = mem_alloc((gas + 1) * sizeof(*f->gas));
    for (uint32_t i = 0; i < heat; i++)
        heat_draw(&f->heat[i], &heat_rng, i);
    for (uint32_t i = 0; i < gas; i++)
        gas_draw(&f->gas[i], &gas_rng, i);
}

void fleet_done(struct fleet *f)
{
    free(f->heat);
    free(f->gas);
    *f = (struct fleet){0};
}

void fleet_csv(const struct fleet *f, struct buf *out)
{
    buf_z(out, "serial,model,dev_eui,timezone\n");
    for (uint32_t i = 0; i < f->n_heat; i++)
        buf_printf(out, "%08u,%s,%016llx,Europe/Berlin\n", f->heat[i].serial,
                   f->heat[i].model->name,
                   (unsigned long long)f->heat[i].dev_eui);
    for (uint32_t i = 0; i < f->n_gas; i++)
        buf_printf(out, "%08u,%s,,Europe/Moscow\n", f->gas[i].serial,
                   f->gas[i].model);
}

void heat_registers(const struct heat_meter *m, int64_t utc_us,
                    struct heat_registers *ret)
{
    int64_t s = (utc_us - epoch_us) / US_PER_S;

    *ret = (struct heat_registers){
        .energy_kwh = m->energy_0 + (uint32_t)(s * m->power_w / 3600000),
        .volume_l = m->volume_0 + (uint32_t)(s * m->flow_l_h / 3600),
        .power_w = m->power_w + (uint32_t)(s / 10 % 50),
        .flow_l_h = m->flow_l_h,
        .supply_dc = m->supply_dc + (uint32_t)(s / 60 % 8),
        .return_dc = m->return_dc + (uint32_t)(s / 90 % 5),
    };
}

static void put_le(struct buf *out, uint32_t v, int n)
{
    for (int i = 0; i < n; i++)
        buf_u8(out, (uint8_t)(v >> (8 * i)));
}

static void put_bcd(struct buf *out, uint32_t v, int n)
{
    for (int i = 0; i < n; i++, v /= 100)
        buf_u8(out, (uint8_t)(v % 100 / 10 << 4 | v % 10));
}

/* A record: DIF and VIF as they stand, then n bytes of data. */
static void record(struct buf *out, bool bcd, uint8_t dif, uint8_t vif,
                   uint32_t v, int n)
{
    buf_u8(out, dif);
    buf_u8(out, vif);
    (bcd ? put_bcd : put_le)(out, v, n);
}

void heat_telegram(const struct heat_meter *m, int64_t utc_us, struct buf *out)
{
    struct heat_registers g;
    bool bcd = m->model->bcd;

    heat_registers(m, utc_us, &g);
    buf_u8(out, m->model->message);
    record(out, bcd, bcd ? 0x0c : 0x04, 0x06, g.energy_kwh, 4);
    if (bcd) { /* 0C14: 0.01 m3, 0B2D: 100 W, 0B3B: l/h, 0A5x: 0.1 Cel */
        record(out, true, 0x0c, 0x14, g.volume_l / 10, 4);
        record(out, true, 0x0b, 0x2d, g.power_w / 100, 3);
        record(out, true, 0x0b, 0x3b, g.flow_l_h, 3);
        record(out, true, 0x0a, 0x5a, g.supply_dc, 2);
        record(out, true, 0x0a, 0x5e, g.return_dc, 2);
        record(out, true, 0x0c, 0x78, m->serial, 4);
        buf_put(out, "\x02\xfd\x17\x00\x00", 5); /* no error bits */
        return;
    }
    record(out, false, 0x04, 0x13, g.volume_l, 4);
    record(out, false, 0x02, 0x2b, g.power_w, 2);
    record(out, false, 0x02, 0x3b, g.flow_l_h, 2);
    record(out, false, 0x02, 0x5a, g.supply_dc, 2);
    record(out, false, 0x02, 0x5e, g.return_dc, 2);
    record(out, true, 0x07, 0x79, m->serial, 4);
    buf_put(out, m->model->maker, 4);
    buf_put(out, "\x01\xfd\x17\x00", 4);
}

/* Date and time of type F (EN 13757-3 annex A), local time of the meter: here
 * UTC+1 without summer time, as heat meters are usually set. */
void heat_clock_telegram(const struct heat_meter *m, int64_t meter_us,
                         struct buf *out)
{
    int64_t local_s = meter_us / US_PER_S + 3600;
    int year, month, day, minutes = (int)(local_s % 86400 / 60);

    (void)m;
    civil_from_days(local_s / 86400, &year, &month, &day);
    year -= 2000;
    buf_put(out, "\xfa\x04\x6d", 3);
    buf_u8(out, (uint8_t)(minutes % 60));
    buf_u8(out, (uint8_t)(minutes / 60));
    buf_u8(out, (uint8_t)(day | (year & 7) << 5));
    buf_u8(out, (uint8_t)(month | (year & 0x78) << 1));
}

void gas_time(const struct gas_meter *m, int64_t meter_us, struct buf *out)
{
    int64_t local_s = meter_us / US_PER_S + ZONE_S;
    int year, month, day, s = (int)(local_s % 86400);
    char text[TIME_TEXT];

    if (!m->leaflet_form) {
        buf_printf(out, "\"%s\"",
                   time_text_at(meter_us / US_PER_S * US_PER_S, ZONE_S, text));
        return;
    }
    civil_from_days(local_s / 86400, &year, &month, &day);
    buf_printf(out, "\"%02d.%02d.%04d %d:%02d:%02d\"", day, month, year,
               s / 3600, s / 60 % 60, s % 60);
}

/* A value with 2 to 4 decimals: a JSON number, or text with a comma. */
static void gas_value(const struct gas_meter *m, int64_t v, int decimals,
                      struct buf *out)
{
    static const int pow10[] = {1, 10, 100, 1000, 10000};
    int unit = pow10[decimals];

    buf_printf(out, m->leaflet_form ? ",\"%lld,%0*d\"" : ",%lld.%0*d",
               (long long)(v / unit), decimals, (int)(v % unit));
}

/* ts, p_kpa, t_c, w, v_work, v_std, sum_v_work, sum_v_std */
void gas_row(const struct gas_meter *m, int64_t meter_us, struct buf *out)
{
    int64_t s = (meter_us - epoch_us) / US_PER_S;

    buf_z(out, "[");
    gas_time(m, meter_us, out);
    gas_value(m, 101325 + s / 600 % 100, 3, out);
    gas_value(m, 2000 + s / 300 % 500, 2, out);
    gas_value(m, 9500, 4, out);
    gas_value(m, m->work_0 + s * m->work_rate / 3600, 4, out);
    gas_value(m, m->std_0 + s * m->std_rate / 3600, 4, out);
    gas_value(m, 0, 4, out);
    gas_value(m, 0, 4, out);
    buf_z(out, "]");
}
