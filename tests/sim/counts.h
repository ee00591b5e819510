/*
 * counts.h - what the simulator did, and the few options that all parts share.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Mishaps, drawn per uplink or call; per mille. Zeroed by --no-faults. */
struct faults {
    uint32_t repeat_event; /* the very same event again */
    uint32_t repeat_frame; /* same fCnt, another deduplication id */
    uint32_t late;         /* held back, told later with its own time */
    uint32_t truncated;    /* payload cut inside a record */
    uint32_t garbage;      /* no JSON at all */
    uint32_t stranger;     /* a DevEUI that nobody registered */
    uint32_t cut;          /* gas: line dropped before the ack */
    uint32_t noise;        /* gas: half a message, then silence */
    uint32_t alarm;        /* gas: a tamper or valve alarm */
};

struct counts {
    int64_t uplinks, joins, repeats, late, broken;
    int64_t calls, rows, rows_acked, gas_sent, gas_acked, gas_repeats,
        gas_broken, naks, slots, commands;
};

struct sim {
    struct faults faults;
    struct counts counts;
    int64_t start_us; /* of this run; sessions and sequences begin here */
    int64_t period_ms;
    bool once;
    bool stopping; /* begin nothing new */
};
