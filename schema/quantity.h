/*
 * quantity.h - what was measured, and of which medium; and how that becomes a
 * canonical OBIS code (IEC 62056-61, EN 13757-1; our own choices are marked in
 * quantity.c).
 */
#pragma once

#include "schema/obis.h"
#include "schema/unit.h"

/* EN 13757-3 device types that matter here; others fall to MEDIUM_OTHER. */
/* clang-format off */
#define MEDIUM_LIST(X)                                                         \
    X(MEDIUM_OTHER, "other") X(MEDIUM_ELECTRICITY, "electricity")              \
    X(MEDIUM_GAS, "gas") X(MEDIUM_HEAT, "heat") X(MEDIUM_COOLING, "cooling")   \
    X(MEDIUM_WATER, "water") X(MEDIUM_HOT_WATER, "hot-water")                  \
    X(MEDIUM_HCA, "heat-cost-allocator")

enum medium {
#define X(id, name) id,
    MEDIUM_LIST(X)
#undef X
    MEDIUM_COUNT
};
/* clang-format on */
const char *medium_name(enum medium m);
int medium_parse(struct str s, enum medium *ret); /* ERR_UNKNOWN */
/* EN 13757-3 device type byte (protocols: 04 and 0C heat, 07 water, ...). */
enum medium medium_of_device_type(uint8_t type);

/* clang-format off */
#define QUANTITY_LIST(X)                                                       \
    X(Q_UNKNOWN, "unknown") X(Q_ENERGY, "energy")                              \
    X(Q_REACTIVE_ENERGY, "reactive-energy")                                    \
    X(Q_APPARENT_ENERGY, "apparent-energy") X(Q_VOLUME, "volume")              \
    X(Q_MASS, "mass") X(Q_POWER, "power")                                      \
    X(Q_REACTIVE_POWER, "reactive-power")                                      \
    X(Q_APPARENT_POWER, "apparent-power") X(Q_FLOW, "flow")                    \
    X(Q_MASS_FLOW, "mass-flow") X(Q_FLOW_TEMPERATURE, "flow-temperature")      \
    X(Q_RETURN_TEMPERATURE, "return-temperature")                              \
    X(Q_TEMPERATURE_DIFFERENCE, "temperature-difference")                      \
    X(Q_EXTERNAL_TEMPERATURE, "external-temperature")                          \
    X(Q_PRESSURE, "pressure") X(Q_VOLTAGE, "voltage")                          \
    X(Q_CURRENT, "current") X(Q_FREQUENCY, "frequency")                        \
    X(Q_PHASE_ANGLE, "phase-angle") X(Q_POWER_FACTOR, "power-factor")          \
    X(Q_HUMIDITY, "humidity") X(Q_HCA, "heat-cost-allocation")                 \
    X(Q_ON_TIME, "on-time") X(Q_OPERATING_TIME, "operating-time")              \
    X(Q_AVERAGING_DURATION, "averaging-duration")                              \
    X(Q_ACTUALITY_DURATION, "actuality-duration")                              \
    X(Q_SERIAL, "serial") X(Q_IDENTIFICATION, "identification")                \
    X(Q_BUS_ADDRESS, "bus-address") X(Q_ERROR_FLAGS, "error-flags")            \
    X(Q_ERROR_MASK, "error-mask") X(Q_DIGITAL_INPUT, "digital-input")          \
    X(Q_DIGITAL_OUTPUT, "digital-output") X(Q_COUNT, "count")                  \
    X(Q_BATTERY_PERCENT, "battery-percent")                                    \
    X(Q_BATTERY_VOLTAGE, "battery-voltage")                                    \
    X(Q_BATTERY_LIFE, "battery-life") X(Q_SIGNAL, "signal")                    \
    X(Q_VALVE, "valve") X(Q_CONVERSION_FACTOR, "conversion-factor")            \
    X(Q_CREDIT, "credit") X(Q_DEBIT, "debit") X(Q_PARAMETER, "parameter")      \
    X(Q_DATE, "date") X(Q_TEXT, "text") X(Q_MANUFACTURER, "manufacturer")

enum quantity {
#define X(id, name) id,
    QUANTITY_LIST(X)
#undef X
    Q_QUANTITY_COUNT
};
/* clang-format on */
const char *quantity_name(enum quantity q);

/* How a register behaves over time. */
enum value_kind {
    KIND_CUMULATIVE, /* counts up; billing takes differences */
    KIND_INTERVAL,   /* belongs to the interval before its time */
    KIND_INSTANT,    /* a state at its time */
};
const char *kind_name(enum value_kind k);
