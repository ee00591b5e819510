/*
 * options.c - see options.h: one table for reading and for --help.
 */
#include "options.h"
#include "server/base/err.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { FLAG, NUMBER, TEXT };

struct option {
    const char *name, *value, *help;
    enum type type;
    size_t offset;
    int64_t min, max;
};

#define AT(field) offsetof(struct options, field)
static const struct option table[] = {
    {"--broker", "URL", "publish LoRaWAN uplinks there, mqtt://host:port", TEXT,
     AT(broker), 0, 0},
    {"--tcp", "ADDRESS", "gas meters dial there, 127.0.0.1:4460", TEXT, AT(tcp),
     0, 0},
    {"--lorawan", "N", "heat meters over LoRaWAN (300)", NUMBER, AT(lorawan), 0,
     10000000},
    {"--gas", "N", "gas meters over TCP (30)", NUMBER, AT(gas), 0, 1000000},
    {"--seed", "N", "which fleet; the same seed, the same meters (1)", NUMBER,
     AT(seed), 0, INT64_MAX},
    {"--period", "S", "seconds between two messages of one meter (10)", NUMBER,
     AT(period_s), 1, 86400},
    {"--rate", "N",
     "LoRaWAN uplinks per second in all instead of --period; "
     "0: as fast as the broker takes them",
     NUMBER, AT(rate), 0, 10000000},
    {"--count", "N", "end after N LoRaWAN uplinks, all acknowledged", NUMBER,
     AT(count), 1, INT64_MAX},
    {"--once", NULL, "every meter sends once, then end", FLAG, AT(once), 0, 0},
    {"--duration", "S", "end after S seconds", NUMBER, AT(duration_s), 1,
     86400 * 365},
    {"--no-faults", NULL, "nothing is repeated, late or broken", FLAG,
     AT(no_faults), 0, 0},
    {"--fleet-csv", NULL, "print the fleet for `headend meter import`, no more",
     FLAG, AT(csv), 0, 0},
};
enum { OPTIONS = sizeof(table) / sizeof(table[0]) };

static void help(void)
{
    printf("headend-sim: a fleet of simulated meters\n\n");
    for (int i = 0; i < OPTIONS; i++)
        printf("  %-12s %-8s %s\n", table[i].name,
               table[i].value ? table[i].value : "", table[i].help);
}

static int refuse(const char *name, const char *why)
{
    fprintf(stderr, "headend-sim: %s: %s (see --help)\n", name, why);
    return 3;
}

static int set(struct options *o, const struct option *t, const char *value)
{
    char *field = (char *)o + t->offset, *end;
    int64_t n;

    if (t->type == FLAG) {
        *(bool *)field = true;
        return 0;
    }
    if (!value)
        return refuse(t->name, "needs a value");
    if (t->type == TEXT) {
        *(const char **)(void *)field = value;
        return 0;
    }
    n = strtoll(value, &end, 10);
    if (!*value || *end || n < t->min || n > t->max)
        return refuse(t->name, "not a number within bounds");
    *(int64_t *)(void *)field = n;
    return 0;
}

static const struct option *find(const char *arg, size_t n)
{
    for (int i = 0; i < OPTIONS; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, arg, n) == 0)
            return &table[i];
    return NULL;
}

int options_read(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .lorawan = 300, .gas = 30, .seed = 1, .period_s = 10, .rate = -1};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *eq = strchr(arg, '=');
        const struct option *t;
        int r;

        if (strcmp(arg, "--help") == 0) {
            help();
            return 1;
        }
        t = find(arg, eq ? (size_t)(eq - arg) : strlen(arg));
        if (!t)
            return refuse(arg, "no such option");
        r = set(o, t, eq ? eq + 1 : t->type == FLAG ? "" : argv[++i]);
        if (r)
            return r;
    }
    return 0;
}

int parse_address(const char *text, struct sockaddr_storage *ret)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    int port, n;

    if (!colon)
        return ERR_FORMAT;
    port = atoi(colon + 1);
    n = (int)(colon - text);
    if (text[0] == '[') {
        snprintf(host, sizeof(host), "%.*s", n - 2, text + 1);
        return uv_ip6_addr(host, port, (struct sockaddr_in6 *)ret);
    }
    snprintf(host, sizeof(host), "%.*s", n, text);
    return uv_ip4_addr(host, port, (struct sockaddr_in *)ret);
}
