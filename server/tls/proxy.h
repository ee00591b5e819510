/*
 * proxy.h - the header of the PROXY protocol, version 2 (haproxy's
 * proxy-protocol.txt, section 2.2): who is behind the load balancer. Pure.
 */
#pragma once

#include "server/base/str.h"

enum { PROXY_HEADER_MAX = 16 + 1024, PROXY_PEER = 64 };

struct proxy {
    bool local;            /* the balancer's own connection: a health check */
    char peer[PROXY_PEER]; /* "192.0.2.7:40112"; empty: the header does not
                              say (local, or not an IP connection) */
};

/* The length of the header at the start of `in`, 0 while more is needed,
 * ERR_FORMAT for anything else: say nothing, hang up (section 2.2). */
int proxy_parse(struct str in, struct proxy *ret);
