/*
 * secure.h - inside of the room: HTTPS until it is HTTP. Accepts connections,
 * has their handshakes done (on the pool, server/tls/greeting.h), and then
 * carries plain bytes between each and a socket pair, of which libmicrohttpd
 * serves the other end as if it were the client. So the loop does what a
 * memory copy and a symmetric cipher cost, and no more. Loop thread only.
 */
#pragma once

#include "server/tls/tls.h"
#include <uv.h>

struct secure; /* opaque */

struct secure_options {
    uv_loop_t *loop;
    const char *cert, *key, *ca; /* ca: clients may show a certificate of it */
    int most;                    /* connections that greet or leave, at once */
    int64_t idle_us;             /* to greet, and to take what was sent */
    /* A connection is ready: `fd` is the other end, now the callee's, `from`
     * the client. Outside of any call. */
    void (*ready)(void *arg, int fd, const struct sockaddr *from);
    void *arg;
};

/* Listens on `fd`, which is taken over. ERR_UNSUPPORTED after logging what is
 * wrong with the certificate or its key. */
int secure_new(const struct secure_options *o, int fd, struct secure **ret);
void secure_reload(struct secure *s); /* certificate, key and CA */
void secure_quiet(struct secure *s);  /* accepts no more */
/* Of the connection that ends in `fd`: its client's certificate. */
const struct tls_client *secure_client(const struct secure *s, int fd);
/* Cuts it so that its client sees that this was not the end. */
void secure_break(struct secure *s, int fd);
/* Once all the other ends are closed: what they said goes out, at most for
 * that long, then all is closed and `done` runs. */
void secure_stop(struct secure *s, uint64_t ms, void (*done)(void *),
                 void *arg);
void secure_free(struct secure *s); /* after done; NULL is fine */
