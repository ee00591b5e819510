/*
 * replay.h - what headend replay hands on.
 */
#pragma once

#include "server/cli/cli.h"

/* Prints how a version (NULL: the newest) of a tenant's payload codec differs
 * from the one in force, over its newest 10 000 frames. Exit status. */
int codec_diff(struct cli *c, PGconn *pq, int32_t tenant, const char *name,
               const char *version);
