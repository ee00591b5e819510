/*
 * certificate.c - see certificate.h.
 */
#include "server/tls/certificate.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

struct certificate {
    uv_loop_t *loop;
    char *cert, *key, *ca;
    bool may;
    struct tls_context *context;
    struct tls_context *found; /* the pool's, as why[] */
    char why[TLS_TEXT], reported[TLS_TEXT];
    bool busy, again;
    void (*settled)(void *arg); /* NULL: freed */
    void *arg;
};

struct certificate *certificate_new(uv_loop_t *loop, const struct tls_files *f,
                                    void (*settled)(void *arg), void *arg)
{
    struct certificate *i = mem_alloc(sizeof *i);

    i->loop = loop;
    i->cert = mem_strdup(f->cert);
    i->key = mem_strdup(f->key);
    i->ca = mem_strdup(f->ca ? f->ca : "");
    i->may = f->may;
    i->settled = settled;
    i->arg = arg;
    return i;
}

static void certificate_end(struct certificate *i)
{
    tls_context_free(i->context);
    free(i->cert);
    free(i->key);
    free(i->ca);
    free(i);
}

static int load(void *arg)
{
    struct certificate *i = arg;

    return tls_context_load(&(struct tls_files){i->cert, i->key, i->ca, i->may},
                            &i->found, i->why);
}

static void use(struct certificate *i)
{
    log_info(i->context ? "certificate renewed" : "certificate loaded",
             "cert=%s", i->cert);
    tls_context_free(i->context);
    i->context = i->found;
    i->reported[0] = 0;
}

static void refuse(struct certificate *i)
{
    if (strcmp(i->why, i->reported) == 0)
        return;
    log_error(i->context ? "certificate not renewed, the older one is used on"
                         : "certificate cannot be used",
              "reason=%s", i->why);
    memcpy(i->reported, i->why, sizeof i->reported);
}

int certificate_load_now(struct certificate *i)
{
    int err = load(i);

    if (err == 0)
        use(i);
    else
        refuse(i);
    return err;
}

static void loaded(void *arg, int err)
{
    struct certificate *i = arg;

    i->busy = false;
    if (!i->settled) {
        if (err == 0)
            tls_context_free(i->found);
        certificate_end(i);
        return;
    }
    if (err == 0)
        use(i);
    else
        refuse(i);
    if (i->again) {
        i->again = false;
        certificate_load(i);
    }
    i->settled(i->arg);
}

void certificate_load(struct certificate *i)
{
    if (i->busy) {
        i->again = true;
        return;
    }
    i->busy = true;
    offload(i->loop, load, loaded, i);
}

struct tls_context *certificate_context(const struct certificate *i)
{
    return i->context;
}

void certificate_free(struct certificate *i)
{
    if (!i)
        return;
    i->settled = NULL;
    if (!i->busy)
        certificate_end(i);
}
