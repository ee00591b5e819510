/*
 * client.h - the certificate of a client: what tells it from others.
 */
#pragma once

#include "server/base/str.h"

#include <stdint.h>

enum { TLS_FINGERPRINT = 65, TLS_SUBJECT = 256 };

struct tls_client {
    char sha256[TLS_FINGERPRINT]; /* of all of it, lower hex; "": none */
    char subject[TLS_SUBJECT];    /* RFC 4514, ASCII alone; "": not known,
                                     or too long */
    int64_t until_us;             /* its end; INT64_MAX: not known */
};

/* A certificate in DER. ERR_FORMAT: it is none. */
int tls_client_der(struct str der, struct tls_client *ret);
/* What a proxy says of the certificate that it has verified, in one header:
 * ":...:" (RFC 9440, base64 of DER); PEM, percent-encoded (nginx, Traefik) or
 * its base64 alone; or the SHA-256 of it, hex with or without colons (HAProxy,
 * Envoy). ERR_FORMAT: nothing of that. */
int tls_client_told(struct str header, struct tls_client *ret);
