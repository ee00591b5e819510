/*
 * certificate.h - the certificate and key that a TLS listener shows: read on
 * the pool, and again when they are said to have changed. Loop thread only.
 */
#pragma once

#include "server/tls/tls.h"
#include <uv.h>

struct certificate; /* opaque */

/* Copies *f. Nothing is read yet. `settled` after each reading, never inside
 * certificate_load: the listener may have a context now. */
struct certificate *certificate_new(uv_loop_t *loop, const struct tls_files *f,
                                    void (*settled)(void *arg), void *arg);
/* Reads the files, unless that is under way. Files that cannot be used are
 * logged (once, until they can); what was read before is kept. */
void certificate_load(struct certificate *i);
/* The same at once, before the loop runs. ERR_FORMAT: logged. */
int certificate_load_now(struct certificate *i);
/* NULL before files were read that can be used. */
struct tls_context *certificate_context(const struct certificate *i);
/* `settled` runs no more. NULL is fine. */
void certificate_free(struct certificate *i);
