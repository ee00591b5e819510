/*
 * directory.h - who and whose: the meters and integrations of all tenants, in
 * memory, so that a frame is admitted without asking PostgreSQL (which may be
 * away). Filled by the pipeline from the store; loop thread only.
 */
#pragma once

#include "ingest/quota.h"
#include "server/base/str.h"
#include "server/vault/keyring.h"
#include <stdint.h>

struct directory; /* opaque */

enum integration_kind {
    INTEGRATION_CHIRPSTACK,
    INTEGRATION_TTS,
    INTEGRATION_HEO
};

struct integration {
    int32_t tenant_id; /* TENANT_PLATFORM: a shared TCP listener */
    int32_t integration_id;
    enum integration_kind kind;
    char *name;
    bool enabled;
    char *url; /* MQTT: mqtt://host:port, mqtts://host:port; TCP: tcp://
                  address:port to listen on */
    char *username, *password; /* NULL: none */
    char *ca_file, *cert_file, *key_file;
    char *topic_prefix; /* put before the kind's own topics, may be "" */
    int bridges;        /* 1..64 slots; more than one share the subscription */
    int64_t revision;   /* changes when any of these changed */
};

struct meter_entry {
    int32_t tenant_id, meter_id;
    uint64_t dev_eui; /* 0: none */
    struct str serial;
    const char *codec; /* interned in the directory */
    const char *zone;  /* IANA name, the meter's or its tenant's; interned */
};

/* Payload codecs of tenants, by name (server/pipeline/tenant_codec.h); counted
 * elsewhere: `drop` gives up what was put. */
struct tenant_codec;
typedef void tenant_codec_drop_fn(struct tenant_codec *c);

struct directory *directory_new(void);
void directory_free(struct directory *d);

/* Copies. Same (tenant, meter): replaced. */
void directory_put_meter(struct directory *d, const struct meter_entry *m);
void directory_drop_meter(struct directory *d, int32_t tenant, int32_t meter);
/* NULL when unknown. Valid until the next put or drop. */
const struct meter_entry *directory_by_eui(const struct directory *d,
                                           int32_t tenant, uint64_t dev_eui);
/* tenant TENANT_PLATFORM looks among all tenants. ERR_UNKNOWN; ERR_CONFLICT
 * when more than one meter has that serial. */
int directory_by_serial(const struct directory *d, int32_t tenant,
                        struct str serial, const struct meter_entry **ret);

/* Integrations are few: replaced whole. Takes over the array and its texts
 * (mem_alloc'ed). */
void directory_put_integrations(struct directory *d, struct integration *list,
                                uint32_t n);
const struct integration *directory_integrations(const struct directory *d,
                                                 uint32_t *n);
/* What each tenant may send; the directory's. */
struct quotas *directory_quotas(const struct directory *d);
/* Takes *c over; one of the same name is dropped. */
void directory_put_codec(struct directory *d, int32_t tenant, const char *name,
                         struct tenant_codec *c, tenant_codec_drop_fn *drop);
/* NULL when unknown. Valid until the next put. */
struct tenant_codec *directory_codec(const struct directory *d, int32_t tenant,
                                     const char *name);
/* What opens the tenants' frames; the directory's own. */
struct keyrings *directory_keys(const struct directory *d);
bool directory_loaded(
    const struct directory *d); /* put_integrations was called */
uint32_t directory_meters(const struct directory *d);
