/*
 * options.h - the command line of headend-sim.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct options {
    bool csv, once, no_faults;
    const char *broker, *tcp; /* NULL: that half of the fleet stays silent */
    int64_t lorawan, gas;     /* meters */
    int64_t seed, period_s, duration_s, rate, count;
};

/* Fills *o; 0 to go on, else the process's exit status + 1 (help, or a wrong
 * option, which it has explained). */
int options_read(struct options *o, int argc, char **argv);
/* "127.0.0.1:4460", "[::1]:4460". ERR_FORMAT, or libuv's. */
int parse_address(const char *text, struct sockaddr_storage *ret);
