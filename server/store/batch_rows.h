/*
 * batch_rows.h - the inside of a batch, shared by its builder (batch.c) and
 * its writer (writer.c).
 */
#pragma once

#include "server/store/batch.h"
#include <uthash.h>

struct capture_row {
    const struct capture *capture;
    int64_t frame_id, received_us;
    int32_t tenant_id, meter_id;
    int16_t codec_version_id;
};

struct profile_key {
    int64_t profile_id;
    int64_t tenant_id;
};

struct profile_known { /* in a batch: with its JSON; in the writer: the key */
    struct profile_key key;
    char *json;
    UT_hash_handle hh;
};

/* Frames of one meter whose counters follow one another; see 0026_continuity.
 */
struct counter_run {
    int64_t meter; /* tenant << 32 | meter */
    int64_t session, last;
    int64_t since_us, heard_us; /* of the first and of the last frame */
    int32_t n;                  /* -1: they do not */
    size_t at;                  /* where the last frame's row tells n */
    UT_hash_handle hh;
};

struct store_batch {
    struct buf frames, captures, events, notes;
    struct capture_row *rows;
    uint32_t n_rows, cap_rows, n_frames;
    bool wide; /* there is a row that might not fit into a page as it is */
    struct profile_known *profiles;
    struct counter_run *runs;
    int32_t tenants[64]; /* distinct, while they fit */
    uint32_t n_tenants;
    struct buf more_tenants; /* text of those that did not fit: ",7,8" */
    struct staged_frame last;
};

/* JSON text that jsonb takes: buf_json_str, but no NUL. */
void json_text(struct buf *o, struct str s);
struct profile_known *profile_find(struct profile_known *set,
                                   const struct profile_key *key);
struct profile_known *profile_put(struct profile_known **set,
                                  const struct profile_key *key);
void profiles_clear(struct profile_known **set);

/* Two columns of a frame's row: what its meter's run is up to it. */
void run_put(struct store_batch *b, const struct staged_frame *r);
void runs_clear(struct store_batch *b);
