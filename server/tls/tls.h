/*
 * tls.h - the server's side of one TLS connection, without sockets: what the
 * line brought goes in, plain bytes and what is to be sent come out.
 *
 * TLS 1.3 or 1.2. No session tickets: no key that outlives a connection, no
 * state between nodes, and a revoked client certificate ends with its
 * connection; a meter pays for that with a full handshake, some 2 KB. No
 * renegotiation, no compression, no early data. An idle connection holds no
 * buffer.
 */
#pragma once

#include "server/base/buf.h"
#include "server/tls/client.h"

enum { TLS_TEXT = 256 };

struct tls_files {
    const char *cert; /* PEM, leaf first, its chain behind it */
    const char *key;  /* PEM, not encrypted */
    const char *ca;   /* clients must have a certificate of it; "" or NULL: none
                         is asked for */
    bool may;         /* they may have one: who shows none is welcome, too */
};

struct tls_context; /* certificate and rules; counted, any thread */
/* Reads the files, so not on the loop thread. ERR_FORMAT: `why` says which file
 * and what is wrong with it. */
int tls_context_load(const struct tls_files *f, struct tls_context **ret,
                     char why[TLS_TEXT]);
struct tls_context *tls_context_ref(struct tls_context *c); /* NULL is fine */
void tls_context_free(struct tls_context *c); /* when the last lets go */

struct tls; /* opaque; one thread at a time */
struct tls *tls_new(struct tls_context *c);
void tls_free(struct tls *t); /* NULL is fine */

/* All three take off *in what they have used, and may add to tls_out().
 * Handshake: 1 done, 0 more is needed (*in is used up), or an error; costs up
 * to a millisecond of signing: not on the loop thread. */
int tls_handshake(struct tls *t, struct str *in);
/* Plain bytes into out, how many; 0: *in is used up; ERR_AWAY: the client has
 * said that no more comes; or an error. */
int tls_read(struct tls *t, struct str *in, char *out, size_t max);
int tls_write(struct tls *t, struct str plain);
void tls_say_end(struct tls *t); /* close_notify */
/* To be sent; the caller empties it. */
struct buf *tls_out(struct tls *t);

/* After the handshake: what the client has shown, and proven to be its own. */
void tls_client(const struct tls *t, struct tls_client *ret);

/* Why the last call failed. */
const char *tls_why(const struct tls *t);
