/*
 * etag.h - inside of the room: two people who change one thing. Its revision
 * is its ETag (RFC 9110, 8.8.3); If-Match says which one was seen, as the
 * field "revision" does.
 */
#pragma once

#include "server/api/call.h"

/* If-Match becomes the body's "revision" (revision_check() of migrations/ holds
 * it against the row's). `body` NULL: the endpoint takes none. False after a
 * refusal was answered. */
bool etag_take(struct call *c, struct json *body);
/* Of an answer that has a revision. */
void etag_give(struct call *c, struct str answer);
