/*
 * decode.h - one job of `headend decode`: what is asked, what came of it, and
 * how that is shown.
 */
#pragma once

#include "codecs/registry.h"
#include "codecs/script/script.h"
#include "server/base/json.h"
#include "server/cli/cli.h"

enum { DECODE_KEY = 16 };

/* Dies with the arena. */
struct job {
    struct arena *arena;
    struct codec_input in;
    const struct codec *codec;
    uint8_t key[DECODE_KEY], auth_key[DECODE_KEY];
    struct decoded d;
    int err;
    struct str error; /* for a person; empty: none */
    bool scripted;    /* by a payload codec in JavaScript, with this result: */
    struct script_result result;
};

void decode_refuse(struct job *j, int err, const char *text);

/* decode_show.c: one JSON line; a table, with the exit status. */
void decode_put_answer(struct buf *o, struct str name, const struct job *j);
int decode_print_table(const struct job *j);

/* decode_script.c: payload codecs, each script and mapping read once. */
struct script_files; /* opaque */
struct script_ask {
    struct str script, mapping; /* paths; mapping may be empty */
    enum script_function function;
    int port;
    struct str input; /* payload, or JSON to encode */
    struct str time;  /* recvTime, RFC 3339; may be empty */
    struct str vars;  /* JSON; may be empty */
    bool normalize;
    bool extras; /* without a mapping, show the fields all the same */
};
struct script_files *script_files_new(const struct settings *s);
void script_files_free(struct script_files *f); /* NULL is fine */
void decode_script(struct script_files *f, struct job *j,
                   const struct script_ask *q);
