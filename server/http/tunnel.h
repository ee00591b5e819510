/*
 * tunnel.h - inside of secure.c and tunnel.c: one HTTPS connection, and all of
 * them.
 */
#pragma once

#include "server/http/secure.h"
#include "server/tls/certificate.h"
#include "server/tls/greeting.h"

#include <uthash.h>

enum {
    TUNNEL_READ = 64 * 1024,
    TUNNEL_RECORD = 16 * 1024, /* most that one TLS record holds */
    LINGER_S = 2,              /* a client's time to read the last of it */
};

enum tunnel_state {
    GREETING, /* the handshake */
    OPEN,     /* both ends talk */
    LEAVING,  /* all was said; what the client still sends is dropped */
    CLOSED,   /* uv_close is under way */
};

struct tunnel {
    struct secure *all;
    struct tunnel *prev, *next;
    enum tunnel_state state;
    uv_tcp_t client;
    uv_pipe_t server;
    int handles; /* to be closed */
    bool deaf;   /* the client is not heard any more */
    struct greeting *greeting;
    struct tls *tls;
    struct tls_client who;
    int64_t since_us; /* the state began; or something last went out */
    size_t unsent;    /* to the client, when that was looked at */
    int fd;           /* the other end of the pair, libmicrohttpd's */
    UT_hash_handle hh;
};

struct secure {
    struct secure_options o;
    uv_tcp_t listener;
    struct certificate *certificate;
    struct greeter *greeter;
    struct ticker *sweep;
    struct tunnel *tunnels; /* in the order in which they came */
    struct tunnel *by_fd;   /* uthash; the OPEN ones */
    int unserved;           /* that greet or leave */
    bool waiting;           /* a connection is there, there was no room */
    bool listening, quiet, stopping;
    int64_t stop_us;
    void (*done)(void *);
    void *done_arg;
    char scratch[TUNNEL_READ]; /* what is read, by whichever */
    char plain[TUNNEL_RECORD]; /* what it means */
};

/* tunnel.c: from its accept to its close. */
void tunnel_start(struct tunnel *t, struct tls_context *tls);
void tunnel_close(struct tunnel *t);
void tunnel_break(struct tunnel *t); /* so that the client sees it */
/* secure.c: its last handle is closed. */
void tunnel_gone(struct tunnel *t);
