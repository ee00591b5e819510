/*
 * keyring.c - see keyring.h. Keys are one sorted array in memory that is not
 * dumped: a lookup is two binary searches, a change is one merge.
 */
#include "server/vault/keyring.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

struct keyring {
    _Atomic uint32_t refs;
    uint32_t n, n_formats;
    struct meter_key *keys; /* sodium_malloc; in the order of `before` */
    struct str *formats;    /* each its own copy */
    bool refuse_unprotected;
};

struct tenant_ring {
    int32_t tenant_id;
    struct keyring *ring; /* NULL before the first publish */
    /* What changes: purpose KEY_PURPOSES stands for a key that goes. */
    struct meter_key *changes;
    uint32_t n, cap;
    struct str *formats; /* new ones */
    uint32_t n_formats;
    bool refuse_unprotected, changed;
    UT_hash_handle hh;
};

struct keyrings {
    struct tenant_ring *tenants;
};

static const char *const purposes[KEY_PURPOSES] = {
    "encryption", "authentication", "appkey", "appskey"};

const char *key_purpose_name(enum key_purpose p)
{
    return (unsigned)p < KEY_PURPOSES ? purposes[p] : "?";
}

int key_purpose_find(struct str name)
{
    for (int i = 0; i < KEY_PURPOSES; i++)
        if (str_is(name, purposes[i]))
            return i;
    return ERR_UNKNOWN;
}

void key_address(struct str serial, char ret[KEY_ADDRESS_MAX + 1])
{
    size_t n = 0;

    while (serial.n > 1 && *serial.p == '0')
        serial = (struct str){serial.p + 1, serial.n - 1};
    for (; n < serial.n && n < KEY_ADDRESS_MAX; n++)
        ret[n] = serial.p[n] > ' ' && serial.p[n] < 0x7F ? serial.p[n] : '_';
    ret[n] = 0;
}

/* ---- order ---- */

static int rank(const struct meter_key *k)
{
    return (*k->manufacturer ? 4 : 0) + (k->device_type >= 0 ? 2 : 0) +
           (k->version >= 0 ? 1 : 0);
}

/* By purpose, meter and address, which are looked up; then in the order in
 * which they are tried. */
static int place(const struct meter_key *a, const struct meter_key *b)
{
    if (a->purpose != b->purpose)
        return a->purpose < b->purpose ? -1 : 1;
    if (a->meter_id != b->meter_id)
        return a->meter_id < b->meter_id ? -1 : 1;
    return strcmp(a->address, b->address);
}

static int before(const void *pa, const void *pb)
{
    const struct meter_key *a = pa, *b = pb;
    int r = place(a, b);

    if (r == 0)
        r = rank(b) - rank(a);
    if (r == 0 && a->key_id != b->key_id)
        r = a->key_id > b->key_id ? -1 : 1;
    return r;
}

/* ---- lookup ---- */

static uint32_t first_at(const struct keyring *k, const struct meter_key *at)
{
    uint32_t low = 0, high = k->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (place(&k->keys[mid], at) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool fits(const struct meter_key *k, const struct key_wanted *w)
{
    return (!*k->manufacturer ||
            strcmp(k->manufacturer, w->manufacturer) == 0) &&
           (k->device_type < 0 || k->device_type == w->device_type) &&
           (k->version < 0 || k->version == w->version);
}

static uint32_t add_all(const struct keyring *k, enum key_purpose purpose,
                        int32_t meter_id, const char *address,
                        const struct key_wanted *w, uint32_t n,
                        const struct meter_key *ret[KEYS_TRIED])
{
    struct meter_key at = {.meter_id = meter_id, .purpose = (uint8_t)purpose};

    memcpy(at.address, address, strlen(address) + 1);
    for (uint32_t i = first_at(k, &at);
         i < k->n && n < KEYS_TRIED && place(&k->keys[i], &at) == 0; i++)
        if (fits(&k->keys[i], w))
            ret[n++] = &k->keys[i];
    return n;
}

uint32_t keyring_match(const struct keyring *k, enum key_purpose purpose,
                       const struct key_wanted *w,
                       const struct meter_key *ret[KEYS_TRIED])
{
    uint32_t n = 0;

    if (!k)
        return 0;
    if (w->meter_id)
        n = add_all(k, purpose, w->meter_id, "", w, 0, ret);
    if (n)
        return n;
    if (*w->address)
        n = add_all(k, purpose, 0, w->address, w, n, ret);
    return add_all(k, purpose, 0, "", w, n, ret);
}

const struct str *keyring_formats(const struct keyring *k, uint32_t *n)
{
    *n = k ? k->n_formats : 0;
    return k ? k->formats : NULL;
}

static bool has_format(const struct str *list, uint32_t n, struct str format)
{
    for (uint32_t i = 0; i < n; i++)
        if (str_eq(list[i], format))
            return true;
    return false;
}

bool keyring_knows_format(const struct keyring *k, struct str list)
{
    return k && has_format(k->formats, k->n_formats, list);
}

bool keyring_refuses_unprotected(const struct keyring *k)
{
    return k && k->refuse_unprotected;
}

/* ---- changes ---- */

static struct tenant_ring *ring_of(struct keyrings *r, int32_t tenant_id)
{
    struct tenant_ring *t;

    HASH_FIND(hh, r->tenants, &tenant_id, sizeof tenant_id, t);
    if (!t) {
        t = mem_alloc(sizeof *t);
        t->tenant_id = tenant_id;
        HASH_ADD(hh, r->tenants, tenant_id, sizeof t->tenant_id, t);
    }
    return t;
}

void keyrings_put(struct keyrings *r, int32_t tenant_id,
                  const struct meter_key *k)
{
    struct tenant_ring *t = ring_of(r, tenant_id);

    if (t->n == t->cap) {
        uint32_t cap = t->cap ? 2 * t->cap : 16;
        struct meter_key *more = sodium_allocarray(cap, sizeof *more);
        if (!more)
            abort(); /* as mem_grow */
        if (t->n)
            memcpy(more, t->changes, t->n * sizeof *more);
        sodium_free(t->changes);
        t->changes = more;
        t->cap = cap;
    }
    t->changes[t->n++] = *k;
    t->changed = true;
}

void keyrings_drop(struct keyrings *r, int32_t tenant_id, int64_t key_id)
{
    keyrings_put(
        r, tenant_id,
        &(struct meter_key){.key_id = key_id, .purpose = KEY_PURPOSES});
}

void keyrings_format(struct keyrings *r, int32_t tenant_id, struct str list)
{
    struct tenant_ring *t = ring_of(r, tenant_id);

    if (keyring_knows_format(t->ring, list) ||
        has_format(t->formats, t->n_formats, list))
        return;
    t->formats = mem_grow(t->formats, t->n_formats + 1, sizeof *t->formats);
    t->formats[t->n_formats++] =
        (struct str){mem_strndup(list.p, list.n), list.n};
    t->changed = true;
}

void keyrings_refuse(struct keyrings *r, int32_t tenant_id, bool unprotected)
{
    struct tenant_ring *t = ring_of(r, tenant_id);

    t->changed |= t->refuse_unprotected != unprotected;
    t->refuse_unprotected = unprotected;
}

static int by_id(const void *pa, const void *pb)
{
    const struct meter_key *a = pa, *b = pb;

    return a->key_id < b->key_id ? -1 : a->key_id > b->key_id;
}

/* The old keys but those that change. */
static void take_old(const struct tenant_ring *t, struct keyring *k)
{
    const struct keyring *old = t->ring;

    if (t->n)
        qsort(t->changes, t->n, sizeof *t->changes, by_id);
    for (uint32_t i = 0; old && i < old->n; i++)
        if (t->n == 0 || !bsearch(&old->keys[i], t->changes, t->n,
                                  sizeof *t->changes, by_id))
            k->keys[k->n++] = old->keys[i];
}

static void merge(const struct tenant_ring *t, struct keyring *k)
{
    k->keys = sodium_allocarray((t->ring ? t->ring->n : 0) + t->n + 1,
                                sizeof *k->keys);
    if (!k->keys)
        abort(); /* as mem_alloc */
    take_old(t, k);
    if (t->n)
        qsort(t->changes, t->n, sizeof *t->changes, before);
    uint32_t old = k->n, fresh = t->n;
    while (fresh && t->changes[fresh - 1].purpose == KEY_PURPOSES)
        fresh--; /* those that go are last in order */
    k->n += fresh;
    for (uint32_t to = k->n; fresh;) /* from the end, so in place */
        k->keys[--to] =
            old && before(&k->keys[old - 1], &t->changes[fresh - 1]) > 0
                ? k->keys[--old]
                : t->changes[--fresh];
}

static void copy_formats(struct tenant_ring *t, struct keyring *k)
{
    const struct keyring *old = t->ring;
    uint32_t there = old ? old->n_formats : 0;

    k->n_formats = there + t->n_formats;
    k->formats = mem_alloc((k->n_formats + 1) * sizeof *k->formats);
    for (uint32_t i = 0; i < there; i++)
        k->formats[i] =
            (struct str){mem_strndup(old->formats[i].p, old->formats[i].n),
                         old->formats[i].n};
    for (uint32_t i = 0; i < t->n_formats; i++)
        k->formats[there + i] = t->formats[i];
}

static void changes_free(struct tenant_ring *t)
{
    sodium_free(t->changes);
    free(t->formats);
    t->changes = NULL;
    t->formats = NULL;
    t->n = t->cap = t->n_formats = 0;
    t->changed = false;
}

void keyrings_publish(struct keyrings *r)
{
    struct tenant_ring *t, *next;

    HASH_ITER (hh, r->tenants, t, next) {
        if (!t->changed)
            continue;
        struct keyring *k = mem_alloc(sizeof *k);
        k->refs = 1;
        k->refuse_unprotected = t->refuse_unprotected;
        merge(t, k);
        copy_formats(t, k);
        keyring_unref(t->ring);
        t->ring = k;
        changes_free(t);
    }
}

void keyrings_discard(struct keyrings *r)
{
    struct tenant_ring *t, *next;

    HASH_ITER (hh, r->tenants, t, next) {
        for (uint32_t i = 0; i < t->n_formats; i++)
            free((char *)t->formats[i].p);
        changes_free(t);
        t->refuse_unprotected = keyring_refuses_unprotected(t->ring);
    }
}

struct keyring *keyring_ref(struct keyrings *r, int32_t tenant_id)
{
    struct tenant_ring *t;

    HASH_FIND(hh, r->tenants, &tenant_id, sizeof tenant_id, t);
    if (!t || !t->ring)
        return NULL;
    atomic_fetch_add(&t->ring->refs, 1);
    return t->ring;
}

void keyring_unref(struct keyring *k)
{
    if (!k || atomic_fetch_sub(&k->refs, 1) > 1)
        return;
    sodium_free(k->keys);
    for (uint32_t i = 0; i < k->n_formats; i++)
        free((char *)k->formats[i].p);
    free(k->formats);
    free(k);
}

struct keyrings *keyrings_new(void)
{
    return mem_alloc(sizeof(struct keyrings));
}

void keyrings_free(struct keyrings *r)
{
    struct tenant_ring *t, *next;

    if (!r)
        return;
    keyrings_discard(r);
    HASH_ITER (hh, r->tenants, t, next) {
        HASH_DEL(r->tenants, t);
        keyring_unref(t->ring);
        free(t);
    }
    free(r);
}
