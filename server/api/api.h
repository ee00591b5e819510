/*
 * api.h - the public HTTP API: health, metrics, meters, readings, frames, the
 * ledger and the quarantine.
 * Loop thread only.
 */
#pragma once

#include "server/base/clock.h"
#include "server/http/http.h"
#include "server/oidc/provider.h"
#include "server/store/pg.h"
#include "server/vault/vault.h"

/* What a quarantined frame turns out to be. Slices may be {NULL, 0}. */
struct api_examined {
    struct str device, payload, codec, decoded, error;
    uint32_t offset; /* of the error in the payload */
};

struct api_replayed;
/* Quarantined frames decoded again, and what became of them. */
struct api_replay {
    int32_t tenant_id;
    int64_t frame_id, after, most; /* as in server/pipeline/replay.h */
    const char *reason, *serial, *codec, *from, *to;
    bool dry_run;
    /* Of a dry run: what would become of a frame. */
    void (*changed)(void *of, int64_t frame_id, const char *was,
                    const char *fate, const char *reason, uint32_t readings);
    void (*done)(void *of, int err, const struct api_replayed *r);
    void *of;
};
struct api_replayed {
    int64_t seen, stored, duplicate, quarantined, rejected, readings, next;
};

struct api_deps {
    uv_loop_t *loop;
    struct http *http;
    struct pg_pool *pool;
    const struct clock *clock;
    void (*metrics)(struct buf *out, void *arg); /* Prometheus text, 0.0.4 */
    const char *(*not_ready)(void *arg);         /* why not, or NULL */
    /* Frames of a tenant that are journaled and not stored; -1 not known. */
    int64_t (*pending)(int32_t tenant_id, void *arg);
    /* `record` as journaled, `codec` that refused it; into the arena. */
    void (*examine)(struct str record, struct str codec, struct arena *a,
                    struct api_examined *ret, void *arg);
    /* What `r` points at must stay until its done. ERR_FULL: one runs. */
    int (*replay)(const struct api_replay *r, void *arg);
    /* On a pool thread: do a payload codec's vectors pass? *why lives in `a`.
     */
    int (*prove)(int32_t tenant_id, struct str script, struct str mapping,
                 struct str vectors, struct arena *a, struct str *why,
                 void *arg);
    /* Requests a second of one key or account, one tenant, one address; 0: no
     * limit. */
    int64_t rate, tenant_rate, address_rate;
    const struct oidc_options *oidc;
    bool signup; /* anybody may ask for a tenant */
    struct vault *vault;
    void (*keys_wanted)(void *arg); /* one is missing: look for it again */
    int64_t session_idle_s, session_most_s; /* how long a session lasts */
    void *arg;
};

struct api; /* opaque */

/* Adds its routes to deps->http. */
int api_new(const struct api_deps *deps, struct api **ret);
/* After the HTTP server has stopped and the pool has closed: until then
 * answers may be under way. */
void api_free(struct api *a);
