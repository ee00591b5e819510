/*
 * lorawan.h - a pretend LoRaWAN network server: publishes what ChirpStack v4
 * publishes (JSON, one join per meter, then its uplinks), evenly spread.
 */
#pragma once

#include "counts.h"
#include "fleet.h"
#include "publisher.h"

struct lorawan; /* opaque */

struct lorawan_options {
    struct sim *sim;
    struct fleet *fleet;
    const char *broker;
    double rate;   /* uplinks per second; 0: as fast as they are taken */
    int64_t limit; /* uplinks in all; 0: no end */
};

int lorawan_new(uv_loop_t *loop, const struct lorawan_options *o,
                struct lorawan **ret);
/* Nothing left to send (limit, or stopping) and all is acknowledged. */
bool lorawan_idle(const struct lorawan *l);
struct publisher_stats lorawan_stats(const struct lorawan *l);
void lorawan_free(struct lorawan *l); /* NULL is fine */
