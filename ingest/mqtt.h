/*
 * mqtt.h - the server's side of the MQTT bridges: one `headend bridge` child
 * per slot of an MQTT integration, spoken to over a socketpair, restarted when
 * it ends. A frame is answered only when the journal has it. Loop thread only.
 */
#pragma once

#include "ingest/ingest.h"

struct mqtt; /* opaque */

struct mqtt *mqtt_new(uv_loop_t *loop, struct journal *j, struct quotas *q,
                      const struct ingest_options *o);
/* Makes the running bridges match the enabled MQTT integrations of the list
 * (others are ignored): start, restart when `revision` changed, stop. */
void mqtt_apply(struct mqtt *m, const struct integration *list, uint32_t n);
void mqtt_stop(struct mqtt *m, void (*done)(void *), void *arg);
void mqtt_free(struct mqtt *m); /* after done */
/* As one message of that integration, QoS 1. ERR_UNKNOWN: it has no bridges;
 * ERR_AWAY: none of them is connected. */
int mqtt_publish(struct mqtt *m, int32_t integration_id, struct str topic,
                 struct str payload);
/* The integrations with a connected bridge; how many, at most `most`. */
uint32_t mqtt_connected(const struct mqtt *m, int32_t *ids, uint32_t most);
/* Adds to *s. */
void mqtt_stats(const struct mqtt *m, struct ingest_stats *s);
