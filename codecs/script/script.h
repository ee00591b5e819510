/*
 * script.h - runs payload codecs (LoRa Alliance TS013 and its forerunners) in
 * codec-host processes. Blocks for as long as a script may take: for pool
 * threads and commands, never for the loop thread. Any number of threads.
 *
 * A script that computes for longer than 100 ms, takes more memory than a host
 * may, or answers more than 256 KiB is stopped and its frame refused. A host
 * that does not answer within `wall_ms` is killed and replaced; so is one that
 * crashes. A script that cost three hosts is quarantined: refused without being
 * run for the life of this `scripts`; one whose frames compute for more than 10
 * ms each is, beyond a burst, held to a tenth of the time. A host that ends
 * through no fault of the script is replaced and the question asked again.
 */
#pragma once

#include "codecs/script/wire.h"
#include "server/base/arena.h"

struct scripts; /* opaque */

struct scripts_options {
    const char *program; /* NULL: codec-host beside this executable */
    int hosts;           /* most processes at a time; 0: 1 */
    int wall_ms;         /* 0: 500 */
    bool patient;        /* a person waits: many slow frames are no offence */
};

enum { SCRIPT_KILLS_MAX = 3 };

/* Starts nothing yet: a host starts when it is first needed. */
struct scripts *scripts_new(const struct scripts_options *o);
/* Ends the hosts; no call may be under way. NULL is fine. */
void scripts_free(struct scripts *s);

/* What names a script inside a host: nothing of one tenant is ever run, or
 * kept, under the key of another. */
struct hash128 script_key(int32_t tenant_id, struct str source);

struct script_call {
    struct hash128 key;
    struct str source;
    enum script_function function;
    int port;
    struct str input; /* payload bytes; SCRIPT_ENCODE_DOWNLINK: JSON */
    int64_t time_us;  /* received; TIME_NONE: the script gets no time */
    struct str time;  /* as it was written, if it was; else empty */
    struct str vars;  /* JSON object for `variables`; may be empty */
    bool normalize;
};

/* JSON texts in the arena; empty: the script gave none. */
struct script_result {
    struct str data;   /* TS013 `data`; of an encoder {"bytes","fPort"} */
    struct str errors; /* arrays */
    struct str warnings;
    struct str normalized; /* `data` of normalizeUplink, where asked for */
    uint32_t cost_us;      /* computing time in the host */
    struct str error;      /* on failure: what happened, for a person */
    bool unusable;         /* failed as it always will: syntax, no function */
    bool barred;           /* failed without being run: killed or slow before */
};

/* 0; ERR_FORMAT (syntax, exception, the script's own errors - then data may be
 * there too), ERR_FULL (time, memory, size), ERR_AWAY (no host can be had, or
 * it was lost twice), ERR_UNSUPPORTED (barred). ret->error is set. */
int script_run(struct scripts *s, const struct script_call *c, struct arena *a,
               struct script_result *ret);
