/*
 * watch.h - hears of changes in the directory (meters, integrations) through
 * LISTEN/NOTIFY. `changed` also runs after each (re)connect, because whatever
 * was announced in between is lost.
 */
#pragma once

#include <uv.h>

struct store_watch; /* opaque */
struct store_watch *store_watch_new(uv_loop_t *loop, const char *url,
                                    const char *role, int connect_s,
                                    void (*changed)(void *), void *arg);
void store_watch_close(struct store_watch *w, void (*done)(void *), void *arg);
