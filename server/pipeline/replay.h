/*
 * replay.h - quarantined frames once more through the stages, after a codec, a
 * model or a registration changed. Loop thread only.
 */
#pragma once

#include "ingest/directory.h"
#include "server/store/batch.h"

struct replay_options {
    int32_t tenant_id;
    int64_t frame_id;         /* one frame; 0: all */
    const char *reason;       /* of quarantine; NULL: any */
    bool dry_run;             /* decode and count, change nothing */
    const int16_t *codec_ids; /* as in pipeline_options */
};

struct replay_result {
    int err; /* 0, ERR_DATABASE, ERR_AWAY */
    char error[PG_ERROR];
    int64_t seen, stored, duplicate, quarantined, rejected, readings;
};

struct replay; /* opaque */

/* `progress` may be NULL; it runs after each chunk. The writer must be up;
 * everything must outlive `done`. */
struct replay *replay_start(
    uv_loop_t *loop, struct pg_pool *pool, struct store_writer *writer,
    const struct directory *d, const struct replay_options *o,
    void (*progress)(void *, const struct replay_result *),
    void (*done)(void *, const struct replay_result *), void *arg);
void replay_free(struct replay *r); /* after done */
