/*
 * gas.h - HEO gas meters that really dial the TCP port and speak HEO-JSON v1
 * (protocol notes meters.md, 4.4): hello, archive rows, alarms; they wait for
 * each ack and repeat on the next call what was not acknowledged.
 */
#pragma once

#include "counts.h"
#include "fleet.h"
#include <uv.h>

struct gas; /* opaque: all gas meters of the fleet */

struct gas_options {
    struct sim *sim;
    struct fleet *fleet;
    const char *server; /* "127.0.0.1:4460" */
};

/* ERR_FORMAT (address). */
int gas_new(uv_loop_t *loop, const struct gas_options *o, struct gas **ret);
/* Nobody is on the line, and nothing waits for an ack unless stopping. */
bool gas_idle(const struct gas *g);
void gas_free(struct gas *g); /* hangs up; ends itself on the loop */
