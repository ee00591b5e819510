/*
 * target.h - a request target (RFC 9112 3.2) taken apart: path segments and
 * query pairs, percent-decoded after splitting, so that %2F stays inside its
 * segment. Pure: hostile bytes in, slices in an arena out.
 */
#pragma once

#include "server/base/arena.h"
#include <stdint.h>

enum { TARGET_SEGMENTS = 16, TARGET_PAIRS = 32 };

struct pair {
    struct str name, value;
};

struct target {
    struct str segments[TARGET_SEGMENTS]; /* "/" is one empty segment */
    uint32_t n;
    struct pair pairs[TARGET_PAIRS];
    uint32_t n_pairs;
};

/* Origin form, or absolute form (whose authority is skipped). '+' in the
 * query is a blank. ERR_FORMAT: a bad escape, NUL, not UTF-8, not a path;
 * ERR_CONFLICT: a query name given twice; ERR_FULL: too many parts. */
int target_parse(struct arena *a, struct str raw, struct target *ret);

/* pattern: "/meters/{id}"; {x} takes one segment that is not empty. */
bool target_match(const struct target *t, const char *pattern);
/* The segment that {name} took; empty when the pattern has no such place. */
struct str target_param(const struct target *t, const char *pattern,
                        const char *name);
