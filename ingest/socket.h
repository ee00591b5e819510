/*
 * socket.h - what the system knows of, and does for, one accepted connection.
 */
#pragma once

#include <uv.h>

enum { SOCKET_PEER = 64 };

/* Notices a line that is dead; sends without delay. */
int socket_tune(const uv_tcp_t *handle);
/* "192.0.2.7:40112", "[2001:db8::7]:40112"; the address itself if `a` is
 * given. */
int socket_peer(const uv_tcp_t *handle, char text[SOCKET_PEER],
                struct sockaddr_storage *a);
int64_t socket_rtt_us(const uv_tcp_t *handle); /* 0: unknown */
