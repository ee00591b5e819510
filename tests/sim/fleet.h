/*
 * fleet.h - the meters that the simulator plays, all derived from one seed:
 * the same seed gives the same serials, so that a fleet can be imported once
 * and simulated again and again. Registers are functions of time, not state:
 * they go on growing from run to run, and a row asked for twice is the same.
 */
#pragma once

#include "server/base/buf.h"
#include "server/base/clock.h"

/* Good enough to scatter things, the same everywhere (splitmix64). */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);
bool rng_chance(struct rng *r, uint32_t per_mille);

/* How far a meter's clock is off: a step plus a drift since the start. */
struct meter_clock {
    int64_t step_us;
    int32_t drift_ppm;
};
int64_t meter_clock_at(const struct meter_clock *c, int64_t start_us,
                       int64_t utc_us);

/* An Elvaco CMi41xx heat meter module over LoRaWAN. */
struct heat_meter {
    uint32_t serial; /* eight decimal digits */
    uint64_t dev_eui;
    const struct heat_model *model;
    struct meter_clock clock;
    uint32_t power_w, flow_l_h, supply_dc, return_dc; /* dc: 0.1 Cel */
    uint32_t energy_0, volume_0;                      /* kWh, l on 2024-01-01 */
    uint32_t counter; /* next fCnt of this run */
};

/* Registers as the telegram carries them. */
struct heat_registers {
    uint32_t energy_kwh, volume_l, power_w, flow_l_h, supply_dc, return_dc;
};
void heat_registers(const struct heat_meter *m, int64_t utc_us,
                    struct heat_registers *ret);
/* The module's standard telegram, message type byte first, and its daily
 * clock telegram (type FA). Both go out on FPort 2. */
void heat_telegram(const struct heat_meter *m, int64_t utc_us, struct buf *out);
void heat_clock_telegram(const struct heat_meter *m, int64_t meter_us,
                         struct buf *out);

/* An HEO G4/G6 gas meter that dials in. */
struct gas_meter {
    uint32_t serial;
    const char *model;
    bool leaflet_form; /* dd.mm.yyyy and decimal commas, no zone */
    bool valve_closed; /* as it was told */
    struct meter_clock clock;
    int64_t work_0, std_0;       /* 1e-4 m3 on 2024-01-01 */
    int32_t work_rate, std_rate; /* 1e-4 m3 per hour */
};
/* One archive row as a JSON array for the meter's own time. */
void gas_row(const struct gas_meter *m, int64_t meter_us, struct buf *out);
void gas_time(const struct gas_meter *m, int64_t meter_us, struct buf *out);

struct fleet {
    struct heat_meter *heat;
    struct gas_meter *gas;
    uint32_t n_heat, n_gas;
};
void fleet_init(struct fleet *f, uint64_t seed, uint32_t heat, uint32_t gas);
void fleet_done(struct fleet *f);
/* What `headend meter import` reads: serial,model,dev_eui,timezone. */
void fleet_csv(const struct fleet *f, struct buf *out);
