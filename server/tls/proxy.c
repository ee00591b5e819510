/*
 * proxy.c - see proxy.h. Bytes 0-11 signature, 12 version and command, 13
 * family and protocol, 14-15 length of what follows (network order): the
 * addresses, and fields (TLV) that we pass over.
 */
#include "server/tls/proxy.h"
#include "server/base/err.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { FIXED = 16, LOCAL = 0x20, PROXIED = 0x21, TCP4 = 0x11, TCP6 = 0x21 };

/* source address, destination address, source port, destination port */
static int read_peer(const uint8_t *p, size_t n, uint8_t family,
                     struct proxy *ret)
{
    char name[INET6_ADDRSTRLEN];
    size_t bytes = family == TCP4 ? 4 : 16;
    int port;

    if (n < 2 * bytes + 4)
        return ERR_FORMAT;
    if (!inet_ntop(family == TCP4 ? AF_INET : AF_INET6, p, name, sizeof name))
        return ERR_FORMAT;
    port = p[2 * bytes] << 8 | p[2 * bytes + 1];
    snprintf(ret->peer, sizeof ret->peer, family == TCP4 ? "%s:%d" : "[%s]:%d",
             name, port);
    return 0;
}

int proxy_parse(struct str in, struct proxy *ret)
{
    const uint8_t *p = (const uint8_t *)in.p;
    size_t seen = in.n < sizeof signature ? in.n : sizeof signature, n;

    *ret = (struct proxy){0};
    if (seen > 0 && memcmp(p, signature, seen) != 0)
        return ERR_FORMAT;
    if (in.n < FIXED)
        return 0;
    n = (size_t)(p[14] << 8 | p[15]);
    if ((p[12] != LOCAL && p[12] != PROXIED) || FIXED + n > PROXY_HEADER_MAX)
        return ERR_FORMAT;
    if (in.n < FIXED + n)
        return 0;
    ret->local = p[12] == LOCAL;
    if (!ret->local && (p[13] == TCP4 || p[13] == TCP6) &&
        read_peer(p + FIXED, n, p[13], ret) < 0)
        return ERR_FORMAT;
    return (int)(FIXED + n);
}
