/*
 * broker.h - paho's side of a bridge: one MQTT client with a persistent
 * session. What happens is reported on other threads. MQTT 3.1.1 and not 5:
 * every broker and The Things Stack speak it, and its session simply stays,
 * without an expiry that brokers bound differently. Private to the bridge.
 */
#pragma once

#include "ingest/link.h"

struct broker; /* opaque; lives as long as the process */

enum broker_event {
    BROKER_NOTHING,
    BROKER_CONNECTED,
    BROKER_SUBSCRIBED, /* to every topic */
    BROKER_REFUSED,    /* a subscription; the connection may stand */
    BROKER_LOST,       /* or never came to be */
    BROKER_LEFT,       /* broker_leave is done */
};

struct broker_hooks {
    /* `text` says why, for a person; valid during the call. */
    void (*happened)(enum broker_event event, const char *text);
    /* paho writes its PUBACK when this returns; the gate lets it out. */
    void (*arrived)(struct str topic, struct str payload);
    void (*unsent)(const char *topic, const char *text);
};

/* Copies `c`. ERR_FORMAT: a URL or client id that is none. */
int broker_new(const struct link_config *c, const struct broker_hooks *hooks,
               struct broker **ret);

/* Connects through the proxy "host:port" (copied), or subscribes where that is
 * what is missing; answered by events. Neither blocks: paho's calls wait while
 * `arrived` does, so a thread of the broker's own makes them. */
void broker_begin(struct broker *b, const char *proxy);
/* Publishes with QoS 1, when its turn comes; copies. What cannot be sent then
 * is told to `unsent` (on another thread) and forgotten. ERR_FULL: too many
 * wait already. */
int broker_publish(struct broker *b, struct str topic, struct str payload);
/* Disconnects, keeping the session; BROKER_LEFT when that is done. */
void broker_leave(struct broker *b);
