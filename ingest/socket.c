/*
 * socket.c - see socket.h.
 */
#include "ingest/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>

/* The system's own values are hours; a cut GPRS link must be seen sooner. */
int socket_tune(const uv_tcp_t *handle)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60}, /* s */
        {IPPROTO_TCP, TCP_KEEPINTVL, 15},
        {IPPROTO_TCP, TCP_KEEPCNT, 4},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 180 * 1000}, /* ms */
        {IPPROTO_TCP, TCP_NODELAY, 1},
    };
    int fd, r = uv_fileno((const uv_handle_t *)handle, &fd);

    for (size_t i = 0; r == 0 && i < sizeof options / sizeof *options; i++)
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                       sizeof options[i].value) < 0)
            r = uv_translate_sys_error(errno);
    return r;
}

int socket_peer(const uv_tcp_t *handle, char text[SOCKET_PEER],
                struct sockaddr_storage *a)
{
    struct sockaddr_storage own = {0};
    const struct sockaddr_in6 *in6;
    char name[INET6_ADDRSTRLEN];
    int n = sizeof *a, r;

    a = a ? a : &own;
    in6 = (const struct sockaddr_in6 *)a;
    r = uv_tcp_getpeername(handle, (struct sockaddr *)a, &n);
    if (r == 0)
        r = uv_ip_name((const struct sockaddr *)a, name, sizeof name);
    if (r == 0) /* the port lies at the same place in both families */
        snprintf(text, SOCKET_PEER,
                 a->ss_family == AF_INET6 ? "[%s]:%d" : "%s:%d", name,
                 ntohs(in6->sin6_port));
    return r;
}

int64_t socket_rtt_us(const uv_tcp_t *handle)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    int fd;

    if (uv_fileno((const uv_handle_t *)handle, &fd) < 0 ||
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
        return 0;
    return info.tcpi_rtt;
}
