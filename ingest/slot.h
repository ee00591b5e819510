/*
 * slot.h - one bridge slot of an MQTT integration: its child process, and the
 * frames under way. Private to mqtt.c. Loop thread only.
 */
#pragma once

#include "ingest/admit.h"
#include "ingest/ingest.h"

/* One integration row, copied. */
struct setup {
    int32_t tenant_id, integration_id;
    enum frame_source source;
    const char *const *topics; /* after the prefix; ends with NULL */
    char *url; /* without credentials: this is also the frames' peer */
    char *username, *password, *ca_file, *cert_file, *key_file, *prefix;
    int slots;
    int64_t revision;
};

/* What the slots of an integration share; outlives them. */
struct site {
    uv_loop_t *loop;
    struct journal *journal;
    struct quotas *quotas;
    const struct ingest_options *options;
    const struct setup *setup;
    struct door *door;
    struct ingest_stats *totals;
    void (*slot_ended)(void *arg); /* never inside slot_end */
    void *arg;
};

struct slot; /* opaque */

/* Starts slot k at once and again whenever its process ends. */
struct slot *slot_new(const struct site *site, int k);
/* SIGTERM, SIGKILL three seconds later. Frames under way are still answered
 * when the journal has them in that time. A slot that has no process ends here
 * and now, else slot_ended is called. */
void slot_end(struct slot *s);
bool slot_ended(const struct slot *s); /* nothing of it is left */
void slot_free(struct slot *s);        /* only then; NULL is fine */

/* Through this slot's connection. ERR_AWAY: it has none now. */
int slot_publish(struct slot *s, struct str topic, struct str payload);

/* Adds to bridges, bridges_connected. */
void slot_stats(const struct slot *s, struct ingest_stats *stats);
