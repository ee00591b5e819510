/*
 * greeting.h - what comes before a session: the PROXY header of a load
 * balancer, the TLS handshake. Without sockets: bytes go in, a handshake's
 * come out; its arithmetic runs on the pool, a few at a time, so that neither
 * the loop nor the journal waits for it. Loop thread only.
 */
#pragma once

#include "server/base/str.h"
#include "server/tls/tls.h"
#include <uv.h>

struct greeter; /* opaque: all greetings of a process */
struct greeting;

struct greeter *greeter_new(uv_loop_t *loop);
/* After the last greeting; lives on until the pool has nothing of it. */
void greeter_free(struct greeter *g);
int64_t greeter_open(const struct greeter *g); /* under way */
/* The `arg` of the oldest greeting that waits for its client; NULL if none. */
void *greeter_idlest(const struct greeter *g);

/* `tls` NULL: no handshake. `moved` runs outside of any call, in a turn of its
 * own, when there is something to send or the state has changed. */
struct greeting *greeting_new(struct greeter *g, struct tls_context *tls,
                              bool proxied, void (*moved)(void *arg),
                              void *arg);
/* `moved` runs no more. NULL is fine. */
void greeting_free(struct greeting *h);

void greeting_feed(struct greeting *h, struct str bytes); /* copies */
bool greeting_wants_bytes(const struct greeting *h);
struct buf *greeting_out(struct greeting *h); /* the caller empties it */

enum greeting_state { GREETING_GOES_ON, GREETING_DONE, GREETING_FAILED };
enum greeting_state greeting_state(const struct greeting *h);

/* FAILED: why; static text or valid as long as the greeting. */
const char *greeting_why(const struct greeting *h);
/* DONE, once: the connection's TLS (NULL: none), now the caller's. */
struct tls *greeting_tls(struct greeting *h);
/* DONE: what came behind; and whom the balancer names, "" for nobody. */
struct str greeting_rest(const struct greeting *h);
const char *greeting_peer(const struct greeting *h);
bool greeting_silent(const struct greeting *h); /* nothing ever came */
