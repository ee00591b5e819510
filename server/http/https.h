/*
 * https.h - inside of the room: the certificate of the HTTP server, for
 * libmicrohttpd's GnuTLS. One in a process: GnuTLS asks without saying for
 * whom.
 */
#pragma once

#include <gnutls/abstract.h>
#include <uv.h>

/* TLS 1.3, 1.2 (RFC 9325). */
#define HTTPS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Reads both files (PEM), now. ERR_FORMAT after logging what is wrong. */
int https_open(const char *cert, const char *key);
/* The same on the pool; files that cannot be used are logged, and the older
 * ones stay. */
void https_reload(uv_loop_t *loop);
void https_close(void);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK. */
int https_choose(gnutls_session_t session, const gnutls_datum_t *authorities,
                 int n_authorities, const gnutls_pk_algorithm_t *algorithms,
                 int n_algorithms, gnutls_pcert_st **certs, unsigned int *n,
                 gnutls_privkey_t *key);
