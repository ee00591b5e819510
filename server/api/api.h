/*
 * api.h - the public HTTP API: health, metrics, meters, readings, frames.
 * Loop thread only.
 */
#pragma once

#include "server/base/clock.h"
#include "server/http/http.h"
#include "server/store/pg.h"

struct api_deps {
    struct http *http;
    struct pg_pool *pool;
    const struct clock *clock;
    void (*metrics)(struct buf *out, void *arg); /* Prometheus text, 0.0.4 */
    const char *(*not_ready)(void *arg);         /* why not, or NULL */
    void *arg;
};

struct api; /* opaque */

/* Adds its routes to deps->http. */
int api_new(const struct api_deps *deps, struct api **ret);
/* After the HTTP server has stopped and the pool has closed: until then
 * answers may be under way. */
void api_free(struct api *a);
