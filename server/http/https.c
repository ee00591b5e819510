/*
 * https.c - see https.h. A pair that was replaced stays in memory until the
 * end: connections may still point to it, and renewals are months apart.
 */
#include "server/http/https.h"
#include "server/base/err.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN = 8, KEY_ID = 64 };

struct pair {
    struct pair *older;
    gnutls_pcert_st certs[CHAIN];
    unsigned n;
    gnutls_privkey_t key;
};

static struct {
    char *cert, *key;
    struct pair *now; /* and all before it */
    struct pair *found;
    const char *what; /* the file that was wrong */
    const char *why;
    bool busy, again, closed;
} site;

static void pair_free(struct pair *p)
{
    for (unsigned i = 0; i < p->n; i++)
        gnutls_pcert_deinit(&p->certs[i]);
    gnutls_privkey_deinit(p->key);
    free(p);
}

static int read_certs(const char *path, struct pair *p)
{
    gnutls_datum_t file;
    int r = gnutls_load_file(path, &file);

    if (r < 0)
        return r;
    p->n = CHAIN;
    r = gnutls_pcert_list_import_x509_raw(p->certs, &p->n, &file,
                                          GNUTLS_X509_FMT_PEM, 0);
    if (r < 0)
        p->n = 0;
    gnutls_free(file.data);
    return r;
}

static int read_key(const char *path, struct pair *p)
{
    gnutls_datum_t file;
    int r = gnutls_load_file(path, &file);

    if (r < 0)
        return r;
    r = gnutls_privkey_import_x509_raw(p->key, &file, GNUTLS_X509_FMT_PEM, NULL,
                                       0);
    gnutls_memset(file.data, 0, file.size);
    gnutls_free(file.data);
    return r;
}

/* The certificate is of this key. */
static int belongs(const struct pair *p)
{
    unsigned char a[KEY_ID], b[KEY_ID];
    size_t n_a = sizeof a, n_b = sizeof b;
    gnutls_pubkey_t public;
    int r = gnutls_pubkey_init(&public);

    if (r < 0)
        return r;
    r = gnutls_pubkey_import_privkey(public, p->key, 0, 0);
    if (r == 0)
        r = gnutls_pubkey_get_key_id(public, 0, a, &n_a);
    if (r == 0)
        r = gnutls_pubkey_get_key_id(p->certs[0].pubkey, 0, b, &n_b);
    if (r == 0 && (n_a != n_b || memcmp(a, b, n_a) != 0))
        r = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
    gnutls_pubkey_deinit(public);
    return r;
}

static int load(void *arg)
{
    struct pair *p = mem_alloc(sizeof *p);
    int r;

    (void)arg;
    gnutls_privkey_init(&p->key);
    site.what = site.cert;
    r = read_certs(site.cert, p);
    if (r >= 0) {
        site.what = site.key;
        r = read_key(site.key, p);
    }
    if (r >= 0)
        r = belongs(p);
    if (r < 0) {
        site.why = gnutls_strerror(r);
        pair_free(p);
        return ERR_FORMAT;
    }
    site.found = p;
    return 0;
}

static int use(int err)
{
    if (err < 0) {
        log_error(site.now ? "https certificate not renewed, the older one is "
                             "used on"
                           : "https certificate cannot be used",
                  "file=%s reason=%s", site.what, site.why);
        return err;
    }
    log_info(site.now ? "https certificate renewed"
                      : "https certificate loaded",
             "cert=%s", site.cert);
    site.found->older = site.now;
    site.now = site.found;
    return 0;
}

int https_open(const char *cert, const char *key)
{
    site.cert = mem_strdup(cert);
    site.key = mem_strdup(key);
    return use(load(NULL));
}

static void loaded(void *arg, int err)
{
    use(err);
    site.busy = false;
    if (site.closed)
        https_close();
    else if (site.again)
        https_reload(arg);
}

void https_reload(uv_loop_t *loop)
{
    site.again = site.busy;
    if (site.busy || !site.cert)
        return;
    site.busy = true;
    offload(loop, load, loaded, loop);
}

void https_close(void)
{
    struct pair *p;

    site.closed = true;
    if (site.busy)
        return; /* the pool reads; then here again */
    while ((p = site.now)) {
        site.now = p->older;
        pair_free(p);
    }
    free(site.cert);
    free(site.key);
    site.cert = site.key = NULL;
}

int https_choose(gnutls_session_t session, const gnutls_datum_t *authorities,
                 int n_authorities, const gnutls_pk_algorithm_t *algorithms,
                 int n_algorithms, gnutls_pcert_st **certs, unsigned int *n,
                 gnutls_privkey_t *key)
{
    (void)session, (void)authorities, (void)n_authorities;
    (void)algorithms, (void)n_algorithms;
    *certs = site.now->certs;
    *n = site.now->n;
    *key = site.now->key;
    return 0;
}
