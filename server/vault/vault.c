/*
 * vault.c - see vault.h. Tenant keys in a hash table, each in locked memory.
 */
#include "server/vault/vault.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/mem.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

struct tenant_key {
    int32_t id[2]; /* tenant, number */
    uint8_t *key;  /* locked */
    UT_hash_handle hh;
};

struct newest { /* of a tenant: what seals */
    int32_t tenant_id, key_no;
    UT_hash_handle hh;
};

/* Keys of 32 bytes in locked blocks: a page for each would be too much. */
enum { BLOCK_KEYS = 120 };
struct block {
    struct block *next;
    uint32_t used;
    uint8_t keys[BLOCK_KEYS][VAULT_KEY];
};

struct vault {
    struct masters *masters;
    struct tenant_key *keys;
    struct newest *newest;
    struct block *blocks;
};

struct vault *vault_new(void)
{
    struct vault *v = mem_alloc(sizeof *v);

    v->masters = masters_new();
    return v;
}

void vault_clear(struct vault *v)
{
    struct tenant_key *k, *next;
    struct newest *n, *after;

    HASH_ITER (hh, v->keys, k, next) {
        HASH_DEL(v->keys, k);
        free(k);
    }
    HASH_ITER (hh, v->newest, n, after) {
        HASH_DEL(v->newest, n);
        free(n);
    }
    while (v->blocks) {
        struct block *b = v->blocks;
        v->blocks = b->next;
        sodium_free(b);
    }
}

void vault_free(struct vault *v)
{
    if (!v)
        return;
    vault_clear(v);
    masters_free(v->masters);
    free(v);
}

void vault_masters(struct vault *v, struct masters *m)
{
    masters_free(v->masters);
    v->masters = m;
}

bool vault_ready(const struct vault *v)
{
    return v->masters->n > 0;
}

/* ---- tenant keys ---- */

static struct tenant_key *find(const struct vault *v, int32_t tenant,
                               int32_t key_no)
{
    int32_t id[2] = {tenant, key_no};
    struct tenant_key *k;

    HASH_FIND(hh, v->keys, id, sizeof id, k);
    return k;
}

static int32_t newest_of(const struct vault *v, int32_t tenant)
{
    struct newest *n;

    HASH_FIND(hh, v->newest, &tenant, sizeof tenant, n);
    return n ? n->key_no : 0;
}

static uint8_t *locked_key(struct vault *v)
{
    if (!v->blocks || v->blocks->used == BLOCK_KEYS) {
        struct block *b = sodium_malloc(sizeof *b);
        if (!b)
            abort(); /* as mem_alloc */
        b->next = v->blocks;
        b->used = 0;
        v->blocks = b;
    }
    return v->blocks->keys[v->blocks->used++];
}

static struct tenant_key *put(struct vault *v, int32_t tenant, int32_t key_no)
{
    struct tenant_key *k = find(v, tenant, key_no);
    struct newest *n;

    if (k)
        return k;
    k = mem_alloc(sizeof *k);
    k->id[0] = tenant;
    k->id[1] = key_no;
    k->key = locked_key(v);
    HASH_ADD(hh, v->keys, id, sizeof k->id, k);
    HASH_FIND(hh, v->newest, &tenant, sizeof tenant, n);
    if (!n) {
        n = mem_alloc(sizeof *n);
        n->tenant_id = tenant;
        HASH_ADD(hh, v->newest, tenant_id, sizeof n->tenant_id, n);
    }
    if (key_no > n->key_no)
        n->key_no = key_no;
    return k;
}

enum { BOUND = 160 };

static struct str key_bound(char text[BOUND], int32_t tenant, int32_t key_no)
{
    int n = snprintf(text, BOUND, "headend tenant key|%d|%d", tenant, key_no);
    return (struct str){text, (size_t)n};
}

int vault_put_tenant_key(struct vault *v, int32_t tenant_id, int32_t key_no,
                         const char *master, struct str sealed)
{
    const struct master *m = masters_find(v->masters, master);
    uint8_t key[VAULT_KEY];
    char bound[BOUND];

    if (!m)
        return ERR_UNKNOWN;
    int r = seal_open(m->key, key_bound(bound, tenant_id, key_no), sealed, key,
                      sizeof key);
    if (r == VAULT_KEY)
        memcpy(put(v, tenant_id, key_no)->key, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return r == VAULT_KEY ? 0 : r < 0 ? r : ERR_DAMAGED;
}

/* ---- text for PostgreSQL ---- */

static char *bytea(const void *p, size_t n)
{
    char *text = mem_alloc(2 + 2 * n + 1);

    memcpy(text, "\\x", 2);
    hex_encode(p, n, text + 2);
    return text;
}

static void describe_key(const struct vault *v, const struct tenant_key *k,
                         struct sealed *ret)
{
    const struct master *m = &v->masters->list[0];
    uint8_t check[KEY_CHECK];
    struct buf out = {0};
    char bound[BOUND];

    ret->key_no = k->id[1];
    memcpy(ret->master, m->name, sizeof ret->master);
    seal_close(m->key, key_bound(bound, k->id[0], k->id[1]),
               (struct str){(const char *)k->key, VAULT_KEY}, &out);
    ret->tenant_key = bytea(out.p, out.n);
    buf_done(&out);
    crypto_generichash(check, sizeof check, k->key, VAULT_KEY,
                       (const uint8_t *)"headend tenant key", 18);
    memcpy(ret->check, "\\x", 2);
    hex_encode(check, sizeof check, ret->check + 2);
}

int vault_renew(struct vault *v, int32_t tenant_id, struct sealed *ret)
{
    if (!vault_ready(v))
        return ERR_UNKNOWN;
    struct tenant_key *k = put(v, tenant_id, newest_of(v, tenant_id) + 1);
    randombytes_buf(k->key, VAULT_KEY);
    *ret = (struct sealed){0};
    describe_key(v, k, ret);
    return 0;
}

int vault_reseal(struct vault *v, int32_t tenant_id, int32_t key_no,
                 struct sealed *ret)
{
    const struct tenant_key *k = find(v, tenant_id, key_no);

    if (!k || !vault_ready(v))
        return ERR_UNKNOWN;
    *ret = (struct sealed){0};
    describe_key(v, k, ret);
    return 0;
}

void sealed_free(struct sealed *s)
{
    free(s->tenant_key);
    free(s->secret);
    *s = (struct sealed){0};
}

/* ---- secrets ---- */

static struct str secret_bound(char text[BOUND], const struct secret_name *n)
{
    int used = snprintf(text, BOUND, "headend secret|%d|%.60s|%lld|%.40s",
                        n->tenant_id, n->owner, (long long)n->row, n->name);
    return (struct str){text, (size_t)used};
}

int vault_seal(struct vault *v, const struct secret_name *n, struct str clear,
               struct sealed *ret)
{
    struct buf out = {0};
    char bound[BOUND];
    int32_t key_no = newest_of(v, n->tenant_id);

    if (clear.n > SECRET_MAX)
        return ERR_RANGE;
    int r = key_no ? vault_reseal(v, n->tenant_id, key_no, ret)
                   : vault_renew(v, n->tenant_id, ret);
    if (r < 0)
        return r;
    seal_close(find(v, n->tenant_id, ret->key_no)->key, secret_bound(bound, n),
               clear, &out);
    ret->secret = bytea(out.p, out.n);
    buf_done(&out);
    return 0;
}

int vault_open(const struct vault *v, const struct secret_name *n,
               int32_t key_no, struct str sealed, uint8_t *out, size_t cap)
{
    const struct tenant_key *k = find(v, n->tenant_id, key_no);
    char bound[BOUND];

    return k ? seal_open(k->key, secret_bound(bound, n), sealed, out, cap)
             : ERR_UNKNOWN;
}
