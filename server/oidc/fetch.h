/*
 * fetch.h - one HTTP request, blocking: for a pool thread. HTTPS, but for
 * loopback; no redirects; 10 s and 1 MiB at most.
 */
#pragma once

#include "server/base/buf.h"

enum { FETCH_ERROR = 320 };

/* `form` NULL: GET; else its bytes are posted. `user` and `secret`: basic
 * authentication, or NULL. True with a 200 whose body is in `body`, else
 * `error` says what. */
bool fetch(const char *url, const char *form, const char *user,
           const char *secret, struct buf *body, char error[FETCH_ERROR]);
