/*
 * nets.h - a list of networks, as a setting names them: "10.0.0.0/8, ::1".
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>
#include <sys/socket.h>

enum { NETS_MAX = 32 };

struct nets {
    uint32_t n;
    struct net {
        uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
        uint8_t bits;
    } list[NETS_MAX];
};

/* Addresses and networks (address/bits), separated by commas or blanks.
 * ERR_FORMAT, also for bits set behind the prefix; ERR_FULL: over NETS_MAX. */
int nets_parse(struct str text, struct nets *ret);
/* A numeric address without a port, such as "192.0.2.7". */
bool nets_has_text(const struct nets *all, struct str address);
bool nets_has(const struct nets *all, const struct sockaddr *a);
