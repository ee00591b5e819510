/*
 * signature.h - what a receiver checks: Standard Webhooks 1.0, symmetric.
 * HMAC-SHA256 over "id.timestamp.body" under the secret's bytes. Any thread.
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

enum {
    SECRET_BYTES = 32,
    SECRET_TEXT = 6 + 44 + 1,   /* "whsec_" base64 NUL */
    SIGNATURE_TEXT = 3 + 44 + 1 /* "v1," base64 NUL */
};

/* As it is shown once: "whsec_" and the bytes in base64. */
void secret_text(const uint8_t secret[SECRET_BYTES], char ret[SECRET_TEXT]);
/* The value of the header webhook-signature. */
void signature(struct str secret, const char *id, int64_t unix_s,
               struct str body, char ret[SIGNATURE_TEXT]);
