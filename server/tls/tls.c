/*
 * tls.c - see tls.h. OpenSSL reads and writes through a BIO of our own: it
 * reads from the slice that the caller has at hand and writes to one buffer,
 * so that nothing is kept between calls but OpenSSL's own state.
 */
#include "server/tls/tls.h"
#include "server/base/err.h"
#include "server/base/mem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* TLS 1.2 with forward secrecy only; what 1.3 offers is all good. */
static const char ciphers_12[] =
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM:ECDHE+AES";
enum { CHAIN_MAX = 16 * 1024 }; /* bytes of a client's certificates */

struct tls {
    SSL *ssl;
    struct str in;
    struct buf out;
    const char *why;
};

/* ---- the BIO ---- */

static int line_read(BIO *b, char *to, int max)
{
    struct tls *t = BIO_get_data(b);
    size_t n = t->in.n < (size_t)max ? t->in.n : (size_t)max;

    BIO_clear_retry_flags(b);
    if (n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(to, t->in.p, n);
    t->in.p += n;
    t->in.n -= n;
    return (int)n;
}

static int line_write(BIO *b, const char *from, int n)
{
    struct tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    buf_put(&t->out, from, (size_t)n);
    return n;
}

static long line_ctrl(BIO *b, int what, long number, void *p)
{
    (void)b, (void)number, (void)p;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *line; /* lives as long as the process */

static void line_make(void)
{
    line = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "line");
    BIO_meth_set_read(line, line_read);
    BIO_meth_set_write(line, line_write);
    BIO_meth_set_ctrl(line, line_ctrl);
}

/* ---- contexts ---- */

static int no_passphrase(char *to, int max, int writing, void *arg)
{
    (void)to, (void)max, (void)writing, (void)arg;
    return -1;
}

static int says(char why[TLS_TEXT], const char *what, const char *path)
{
    unsigned long e = ERR_peek_error();
    const char *reason = ERR_reason_error_string(e);

    snprintf(why, TLS_TEXT, "%s %s: %s", what, path,
             ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
             : reason            ? reason
                                 : "not readable");
    return ERR_FORMAT;
}

static int load(SSL_CTX *x, const struct tls_files *f, char why[TLS_TEXT])
{
    STACK_OF(X509_NAME) * names;

    SSL_CTX_set_default_passwd_cb(x, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(x, f->cert) != 1)
        return says(why, "certificate", f->cert);
    if (SSL_CTX_use_PrivateKey_file(x, f->key, SSL_FILETYPE_PEM) != 1)
        return says(why, "key", f->key);
    if (SSL_CTX_check_private_key(x) != 1)
        return says(why, "key", f->key);
    if (!f->ca || !*f->ca)
        return 0;
    names = SSL_load_client_CA_file(f->ca);
    if (!names || SSL_CTX_load_verify_file(x, f->ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return says(why, "client CA", f->ca);
    }
    SSL_CTX_set_client_CA_list(x, names);
    SSL_CTX_set_verify(
        x, SSL_VERIFY_PEER | (f->may ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
        NULL);
    return 0;
}

static void set_rules(SSL_CTX *x)
{
    SSL_CTX_set_min_proto_version(x, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(x, ciphers_12);
    SSL_CTX_set_options(
        x, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_num_tickets(x, 0);
    SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(x, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(x, CHAIN_MAX);
}

int tls_context_load(const struct tls_files *f, struct tls_context **ret,
                     char why[TLS_TEXT])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    SSL_CTX *x;
    int r;

    pthread_once(&once, line_make);
    ERR_clear_error();
    x = SSL_CTX_new(TLS_server_method());
    if (!x || !line)
        abort(); /* out of memory */
    set_rules(x);
    r = load(x, f, why);
    ERR_clear_error();
    if (r < 0)
        SSL_CTX_free(x);
    else
        *ret = (struct tls_context *)x;
    return r;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    if (c)
        SSL_CTX_up_ref((SSL_CTX *)c);
    return c;
}

void tls_context_free(struct tls_context *c)
{
    SSL_CTX_free((SSL_CTX *)c);
}

/* ---- connections ---- */

struct tls *tls_new(struct tls_context *c)
{
    struct tls *t = mem_alloc(sizeof *t);
    BIO *b = BIO_new(line);

    t->ssl = SSL_new((SSL_CTX *)c);
    if (!b || !t->ssl)
        abort(); /* out of memory */
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    buf_done(&t->out);
    free(t);
}

/* The call that returned r wants more, or has failed: then says why. */
static int verdict(struct tls *t, int r)
{
    int e = SSL_get_error(t->ssl, r);
    unsigned long why = ERR_peek_error();
    long verified = SSL_get_verify_result(t->ssl);

    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return 0;
    if (e == SSL_ERROR_ZERO_RETURN)
        return ERR_AWAY;
    t->why = verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                                   : ERR_reason_error_string(why);
    ERR_clear_error();
    return ERR_FORMAT;
}

int tls_handshake(struct tls *t, struct str *in)
{
    int r;

    ERR_clear_error();
    t->in = *in;
    r = SSL_do_handshake(t->ssl);
    if (r != 1)
        r = verdict(t, r);
    *in = t->in;
    return r;
}

int tls_read(struct tls *t, struct str *in, char *out, size_t max)
{
    int r;

    ERR_clear_error();
    t->in = *in;
    r = SSL_read(t->ssl, out, max < INT_MAX ? (int)max : INT_MAX);
    if (r <= 0)
        r = verdict(t, r);
    *in = t->in;
    return r;
}

int tls_write(struct tls *t, struct str plain)
{
    int r;

    if (plain.n == 0)
        return 0;
    ERR_clear_error();
    t->in = (struct str){0};
    r = SSL_write(t->ssl, plain.p, (int)plain.n);
    if (r == (int)plain.n) /* the buffer takes all */
        return 0;
    r = verdict(t, r);
    return r < 0 ? r : ERR_FORMAT;
}

void tls_say_end(struct tls *t)
{
    ERR_clear_error();
    t->in = (struct str){0};
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

void tls_client(const struct tls *t, struct tls_client *ret)
{
    X509 *x = SSL_get0_peer_certificate(t->ssl);
    unsigned char *der = NULL;
    int n = x ? i2d_X509(x, &der) : 0;

    *ret = (struct tls_client){0};
    if (n > 0)
        tls_client_der((struct str){(char *)der, (size_t)n}, ret);
    OPENSSL_free(der);
}

struct buf *tls_out(struct tls *t)
{
    return &t->out;
}

const char *tls_why(const struct tls *t)
{
    return t->why ? t->why : "unknown";
}
