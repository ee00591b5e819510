/*
 * wire.h - what headend and codec-host say to each other: records over a
 * socketpair, each behind its length (u32, little-endian). One question, one
 * answer. A host that has just started says READY without being asked.
 */
#pragma once

#include "server/base/buf.h"
#include "server/base/bytes.h"
#include "server/base/hash.h"

enum { WIRE_VERSION = 1, WIRE_FD = 3, WIRE_MAX = 2 << 20 };
/* What a script may be, and what it may answer. */
enum { SCRIPT_MAX = 1 << 20, SCRIPT_RESULT_MAX = 256 << 10 };

enum wire_op { WIRE_LOAD = 1, WIRE_RUN = 2 };

/* The functions of TS013; the host maps older names to them. */
enum script_function {
    SCRIPT_DECODE_UPLINK,
    SCRIPT_DECODE_DOWNLINK,
    SCRIPT_ENCODE_DOWNLINK,
    SCRIPT_FUNCTIONS
};

enum wire_status {
    WIRE_OK,        /* text: data, errors, warnings, normalized; one a line */
    WIRE_READY,     /* text: version */
    WIRE_LOADED,    /* the script is kept and can be run */
    WIRE_MISSING,   /* no such script here (any more): load it, run again */
    WIRE_SYNTAX,    /* text: message and line; also of the three below */
    WIRE_EXCEPTION, /* thrown by the script */
    WIRE_NO_FUNCTION,
    WIRE_BAD_RESULT,
    WIRE_TIME,   /* the script was stopped */
    WIRE_MEMORY, /* the script was stopped */
    WIRE_TOO_LARGE,
    WIRE_STATUSES
};

struct wire_request {
    enum wire_op op;
    struct hash128 key; /* names tenant and script */
    struct str script;  /* WIRE_LOAD */
    enum script_function function;
    bool normalize;   /* normalizeUplink too, where the script has it */
    int port;         /* 0..255 */
    int64_t time_ms;  /* "now" and recvTime; INT64_MIN: neither is given */
    struct str time;  /* the same as it was written; may be empty */
    struct str input; /* payload, or the object to encode as JSON */
    struct str vars;  /* JSON object; may be empty */
};

struct wire_answer {
    enum wire_status status;
    uint32_t cost_us; /* what it took to compute */
    struct str text;
};

/* Whole records, with their length. */
void wire_put_request(struct buf *b, const struct wire_request *q);
void wire_put_answer(struct buf *b, const struct wire_answer *a);
/* Of a record's body; slices point into it. ERR_SHORT, ERR_FORMAT. */
int wire_get_request(struct str body, struct wire_request *ret);
int wire_get_answer(struct str body, struct wire_answer *ret);

/* Blocking, over a descriptor. wire_read: 1 record in *b, 0 end of file,
 * negative errno; `wait` is asked before each read that would block and may
 * give up with an error (NULL: never). */
int wire_write(int fd, struct str bytes);
int wire_read(int fd, struct buf *b, int (*wait)(void *arg), void *arg);
