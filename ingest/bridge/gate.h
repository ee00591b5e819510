/*
 * gate.h - the way between paho and the broker. paho writes a PUBACK as soon
 * as its callback returns, and delivers nothing else until then; so the
 * callback returns at once, and what paho writes is held here until every
 * frame that it had handed over by then is durable. Thus many frames are under
 * way at once, and no byte that could acknowledge one leaves before its time,
 * whatever it says: under TLS too, where the gate sees nothing but records.
 *
 * paho reaches the gate as an HTTP proxy on a loopback port that serves one
 * connection; names are verified by paho, against the broker's own URL.
 * Main thread only; nothing blocks but the resolver.
 */
#pragma once

#include "server/base/buf.h"
#include <poll.h>

struct gate; /* opaque; one broker, one connection at a time */

enum gate_event {
    GATE_QUIET,  /* nothing to tell */
    GATE_OPENED, /* the broker has answered: paho may connect */
    GATE_CLOSED, /* gate_text() says why; paho sees its connection end */
};

/* `url` as in link_config, copied. ERR_FORMAT. */
int gate_new(struct str url, struct gate **ret);
void gate_free(struct gate *g); /* NULL is fine */

/* Dials; answered by an event. Whatever was open is closed first. */
void gate_open(struct gate *g);
bool gate_is_open(const struct gate *g);
/* Nothing more comes from the broker; what paho writes still goes out. */
void gate_shut(struct gate *g);

enum { GATE_PROXY = 24, GATE_POLLS = 3 };
/* "127.0.0.1:port", for paho. */
const char *gate_proxy(const struct gate *g);
const char *gate_text(const struct gate *g);

/* What the gate waits for; and what came of it. `sent`: the last frame that
 * paho handed over, as known after poll(); `durable`: the last that is. */
void gate_poll(const struct gate *g, struct pollfd at[GATE_POLLS]);
enum gate_event gate_turn(struct gate *g, const struct pollfd at[GATE_POLLS],
                          uint64_t (*sent)(void), uint64_t durable);
/* More frames are durable: lets go what waited for them. */
void gate_durable(struct gate *g, uint64_t durable);
