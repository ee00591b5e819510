/*
 * deliver.h - posts what becomes new in a tenant to its webhooks: takes
 * deliveries from PostgreSQL (webhook_take), sends each on a pool thread, tells
 * what became of it (webhook_done). Loop thread only.
 */
#pragma once

#include "server/store/pg.h"
#include "server/vault/vault.h"

struct deliver; /* opaque */

struct deliver_options {
    uv_loop_t *loop;
    struct pg_pool *pool;
    struct vault *vault;            /* with the tenants' keys */
    void (*keys_wanted)(void *arg); /* one is missing: look for it again */
    void *arg;
    int64_t timeout_s, attempts, pause_s, entries; /* settings webhook.* */
    bool allow_private;
    const char *ca_file;
};

struct deliver_stats {
    int64_t delivered, failed, entries, disabled;
    int sending; /* now */
};

struct deliver *deliver_new(const struct deliver_options *o);
void deliver_start(struct deliver *d); /* once the schema is known to fit */
/* What is under way is cut short and given back; `done` runs once, maybe inside
 * the call. */
void deliver_stop(struct deliver *d, void (*done)(void *), void *arg);
void deliver_stats(const struct deliver *d, struct deliver_stats *ret);
void deliver_free(struct deliver *d);
