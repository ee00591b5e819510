/*
 * lines.h - inside of the room: the connections, and who of them keeps us
 * waiting. A line waits while no request of it is being answered: before a
 * request has arrived whole, and between two. It may wait so long and no
 * longer, however it dribbles; and when there are too many lines, the one that
 * has waited longest goes, so that slow ones cannot lock others out.
 */
#pragma once

#include "server/base/clock.h"
#include <microhttpd.h>

struct lines; /* opaque */

struct lines *lines_new(const struct clock *clock, int most, int64_t wait_us);
void lines_free(struct lines *all); /* NULL is fine */

/* For MHD_OPTION_NOTIFY_CONNECTION; `arg` is the lines. */
void lines_notify(void *arg, struct MHD_Connection *c, void **socket_context,
                  enum MHD_ConnectionNotificationCode what);
/* A request of it is answered from now on (1), or that is over (-1). */
void lines_answering(struct MHD_Connection *c, int change);
/* Cuts those that waited too long; when to look again, us from now. */
int64_t lines_expire(struct lines *all);
