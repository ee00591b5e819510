/*
 * replay.h - quarantined frames once more through the stages, after a codec, a
 * model or a registration changed. Loop thread only.
 */
#pragma once

#include "ingest/directory.h"
#include "server/store/batch.h"

/* What a dry run would make of one frame; whether the store knows its readings
 * already is not asked. */
struct replay_change {
    int64_t frame_id;
    const char *was; /* its reason in quarantine */
    enum fate fate;
    const char *reason; /* NULL where it would be stored */
    uint32_t readings;
};

struct replay_options {
    int32_t tenant_id;
    int64_t frame_id;         /* one frame; 0: all */
    int64_t after, most;      /* those behind this one; how many; 0: all */
    const char *reason;       /* of quarantine; NULL: any, as for the others */
    const char *serial;       /* of its meter */
    const char *codec;        /* of its meter's model, as it is now */
    const char *from, *to;    /* arrival, as PostgreSQL reads times */
    const char *strangers;    /* only unknown meters that gave one of these
                                 names, as PostgreSQL's text[]; NULL: any */
    bool dry_run;             /* decode and count, change nothing */
    const int16_t *codec_ids; /* as in pipeline_options */
    int pause_ms; /* between chunks, for what else the database does */
    /* May be NULL. `changed` only in a dry run, `counted` only otherwise. */
    void (*changed)(void *arg, const struct replay_change *c);
    void (*counted)(void *arg, const struct store_result *stored);
};

struct replay_result {
    int err; /* 0, ERR_DATABASE, ERR_AWAY, UV_ECANCELED */
    char error[PG_ERROR];
    int64_t seen, stored, duplicate, quarantined, rejected, readings;
    int64_t next; /* frame behind which there may be more; 0: none */
};

struct replay; /* opaque */

/* `progress` may be NULL; it runs after each chunk. The writer must be up;
 * everything must outlive `done`. */
struct replay *replay_start(
    uv_loop_t *loop, struct pg_pool *pool, struct store_writer *writer,
    const struct directory *d, const struct replay_options *o,
    void (*progress)(void *, const struct replay_result *),
    void (*done)(void *, const struct replay_result *), void *arg);
/* Ends after the chunk under way. */
void replay_stop(struct replay *r);
void replay_free(struct replay *r); /* from `done` on; NULL is fine */
