/*
 * nets.c - see nets.h. All addresses are compared as IPv6 (RFC 4291, 2.5.5.2).
 */
#include "server/base/nets.h"
#include "server/base/err.h"

#include <arpa/inet.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* The widest prefix that the address can have (32 or 128), or ERR_FORMAT. */
static int parse_address(struct str text, uint8_t ret[16])
{
    char z[INET6_ADDRSTRLEN];

    if (text.n == 0 || text.n >= sizeof z)
        return ERR_FORMAT;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    if (inet_pton(AF_INET6, z, ret) == 1)
        return 128;
    memcpy(ret, mapped, sizeof mapped);
    return inet_pton(AF_INET, z, ret + sizeof mapped) == 1 ? 32 : ERR_FORMAT;
}

static int parse_bits(struct str text, int most)
{
    int bits = 0;

    if (text.n == 0 || text.n > 3)
        return ERR_FORMAT;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return ERR_FORMAT;
        bits = bits * 10 + text.p[i] - '0';
    }
    return bits <= most ? bits : ERR_FORMAT;
}

static bool within(const struct net *net, const uint8_t a[16])
{
    size_t whole = net->bits / 8;
    uint8_t mask = (uint8_t)(0xff00 >> net->bits % 8);

    return memcmp(net->address, a, whole) == 0 &&
           (whole == 16 || ((net->address[whole] ^ a[whole]) & mask) == 0);
}

/* No bit may be set behind the prefix: 10.0.0.1/8 is a slip of somebody. */
static bool is_prefix(const struct net *net)
{
    struct net lowest = *net;

    for (int bit = net->bits; bit < 128; bit++)
        lowest.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    return memcmp(lowest.address, net->address, sizeof net->address) == 0;
}

static int parse_net(struct str text, struct net *ret)
{
    const char *slash = memchr(text.p, '/', text.n);
    size_t n = slash ? (size_t)(slash - text.p) : text.n;
    int most = parse_address((struct str){text.p, n}, ret->address), bits;

    if (most < 0)
        return most;
    bits = slash ? parse_bits((struct str){slash + 1, text.n - n - 1}, most)
                 : most;
    if (bits < 0)
        return bits;
    ret->bits = (uint8_t)(128 - most + bits);
    return is_prefix(ret) ? 0 : ERR_FORMAT;
}

static bool parts(char c)
{
    return c == ',' || c == ' ' || c == '\t';
}

int nets_parse(struct str text, struct nets *ret)
{
    struct nets all = {0};
    size_t at = 0, n;
    int r;

    while (at < text.n) {
        for (n = 0; at + n < text.n && !parts(text.p[at + n]);)
            n++;
        if (n > 0 && all.n == NETS_MAX)
            return ERR_FULL;
        r = n ? parse_net((struct str){text.p + at, n}, &all.list[all.n]) : 0;
        if (r < 0)
            return r;
        all.n += n > 0;
        at += n + 1;
    }
    *ret = all;
    return 0;
}

static bool has(const struct nets *all, const uint8_t a[16])
{
    for (uint32_t i = 0; i < all->n; i++)
        if (within(&all->list[i], a))
            return true;
    return false;
}

bool nets_has_text(const struct nets *all, struct str address)
{
    uint8_t a[16];

    return parse_address(address, a) > 0 && has(all, a);
}

bool nets_has(const struct nets *all, const struct sockaddr *a)
{
    uint8_t b[16];

    if (a->sa_family == AF_INET6)
        return has(all, ((const struct sockaddr_in6 *)a)->sin6_addr.s6_addr);
    if (a->sa_family != AF_INET)
        return false;
    memcpy(b, mapped, sizeof mapped);
    memcpy(b + sizeof mapped, &((const struct sockaddr_in *)a)->sin_addr, 4);
    return has(all, b);
}
