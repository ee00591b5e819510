/*
 * directory.c - see directory.h. One array of meters and four hash indexes of
 * 32-bit places into it: about 120 bytes a meter, where a pointer-chained
 * table of the usual kind (uthash: 56 bytes a key) would take three times that.
 * An index holds one slot per distinct key; meters that share a key (a serial
 * in two tenants) form a chain, so that equal keys cannot slow a lookup down.
 * The hash is keyed (SipHash): a tenant cannot choose serials that collide.
 */
#include "ingest/directory.h"
#include "schema/frame.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum key { BY_METER, BY_EUI, BY_TENANT_SERIAL, BY_SERIAL, KEYS };
enum { SLOTS_FIRST = 64, HASHED_MAX = 256, MOVES = 8 };
#define NOWHERE UINT32_MAX /* no node */

struct node {
    struct meter_entry m;
    uint32_t next[KEYS]; /* same key; of an unused node next[0]: next unused */
};

struct table {
    uint32_t *slots; /* head of a chain, or NOWHERE; linear probing */
    uint32_t mask;
};

/* One that grows moves over bit by bit: a million keys at once would hold up
 * the loop. */
struct index {
    struct table now, old; /* old: without slots when all has moved */
    uint32_t used, moved;  /* keys in both; slots of `old` that are empty */
};

struct word { /* an interned string */
    UT_hash_handle hh;
    char text[];
};

struct named_codec {
    UT_hash_handle hh;
    struct tenant_codec *codec;
    tenant_codec_drop_fn *drop;
    char key[]; /* tenant, '/', name */
};

struct directory {
    struct node *nodes;
    uint32_t n, cap, unused, meters;
    struct index index[KEYS];
    uint8_t secret[crypto_shorthash_KEYBYTES];
    struct word *words;
    struct named_codec *codecs;
    struct keyrings *keys;
    struct integration *integrations;
    uint32_t n_integrations;
    struct quotas *quotas;
    bool loaded;
};

/* -- keys ------------------------------------------------------------------ */

static bool has_key(enum key k, const struct meter_entry *m)
{
    switch (k) {
    case BY_METER:
        return true;
    case BY_EUI:
        return m->dev_eui != 0;
    default:
        return m->serial.n > 0;
    }
}

static bool same_key(enum key k, const struct meter_entry *a,
                     const struct meter_entry *b)
{
    if (k != BY_SERIAL && a->tenant_id != b->tenant_id)
        return false;
    switch (k) {
    case BY_METER:
        return a->meter_id == b->meter_id;
    case BY_EUI:
        return a->dev_eui == b->dev_eui;
    default:
        return str_eq(a->serial, b->serial);
    }
}

static uint64_t hash_key(const struct directory *d, enum key k,
                         const struct meter_entry *m)
{
    uint8_t in[16 + HASHED_MAX] = {(uint8_t)k};
    uint8_t out[crypto_shorthash_BYTES];
    size_t n = 16;
    uint64_t hash;

    if (k != BY_SERIAL)
        memcpy(in + 1, &m->tenant_id, 4);
    if (k == BY_METER)
        memcpy(in + 5, &m->meter_id, 4);
    if (k == BY_EUI)
        memcpy(in + 5, &m->dev_eui, 8);
    if (k == BY_TENANT_SERIAL || k == BY_SERIAL) {
        /* Longer serials differ soon enough, or share a probe sequence. */
        size_t part = m->serial.n < HASHED_MAX ? m->serial.n : HASHED_MAX;
        memcpy(in + n, m->serial.p, part);
        n += part;
    }
    crypto_shorthash(out, in, n, d->secret);
    memcpy(&hash, out, sizeof(hash));
    return hash;
}

/* -- indexes --------------------------------------------------------------- */

/* The slot of that key, or the empty one where it would go. */
static uint32_t slot_of(const struct directory *d, enum key k,
                        const struct table *t, const struct meter_entry *m)
{
    uint32_t i = (uint32_t)hash_key(d, k, m) & t->mask;

    while (t->slots[i] != NOWHERE && !same_key(k, &d->nodes[t->slots[i]].m, m))
        i = (i + 1) & t->mask;
    return i;
}

struct place {
    const struct table *table;
    uint32_t slot;
};

static struct place place_of(const struct directory *d, enum key k,
                             const struct meter_entry *m)
{
    const struct index *x = &d->index[k];
    struct place p = {&x->old, 0};

    if (x->old.slots)
        p.slot = slot_of(d, k, &x->old, m);
    if (!x->old.slots || x->old.slots[p.slot] == NOWHERE)
        p = (struct place){&x->now, slot_of(d, k, &x->now, m)};
    return p;
}

static const struct node *find(const struct directory *d, enum key k,
                               const struct meter_entry *m)
{
    if (!d->index[k].now.slots)
        return NULL;
    struct place p = place_of(d, k, m);
    uint32_t head = p.table->slots[p.slot];
    return head == NOWHERE ? NULL : &d->nodes[head];
}

/* Empties a slot and moves up what probed past it (Knuth, 6.4, R). */
static void slot_empty(const struct directory *d, enum key k,
                       const struct table *t, uint32_t hole)
{
    for (uint32_t i = (hole + 1) & t->mask; t->slots[i] != NOWHERE;
         i = (i + 1) & t->mask) {
        uint32_t home =
            (uint32_t)hash_key(d, k, &d->nodes[t->slots[i]].m) & t->mask;
        if (((i - home) & t->mask) < ((i - hole) & t->mask))
            continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole] = NOWHERE;
}

/* Takes some keys over. The next slot is emptied until nothing moves up into
 * it, so what lies before it stays empty. */
static void index_move(struct directory *d, enum key k)
{
    struct index *x = &d->index[k];

    assert(x->now.slots || !x->old.slots);
    for (int i = 0; i < MOVES && x->old.slots; i++) {
        uint32_t head = x->old.slots[x->moved];
        if (head != NOWHERE) {
            slot_empty(d, k, &x->old, x->moved);
            x->now.slots[slot_of(d, k, &x->now, &d->nodes[head].m)] = head;
        } else if (x->moved++ == x->old.mask) {
            free(x->old.slots);
            x->old.slots = NULL;
        }
    }
}

/* Twice the slots, as soon as two thirds are used. By then MOVES a key have
 * long emptied the old ones. */
static void index_grow(struct directory *d, enum key k)
{
    struct index *x = &d->index[k];
    uint32_t slots = x->now.slots ? x->now.mask + 1 : 0;

    if (slots && (uint64_t)x->used * 3 < (uint64_t)slots * 2)
        return;
    while (x->old.slots)
        index_move(d, k);
    x->old = x->now;
    x->moved = 0;
    x->now.mask = slots ? 2 * slots - 1 : SLOTS_FIRST - 1;
    x->now.slots =
        mem_grow(NULL, (size_t)x->now.mask + 1, sizeof(*x->now.slots));
    memset(x->now.slots, 0xff,
           ((size_t)x->now.mask + 1) * sizeof(*x->now.slots));
}

static void index_add(struct directory *d, enum key k, uint32_t at)
{
    struct index *x = &d->index[k];

    index_grow(d, k);
    index_move(d, k);
    struct place p = place_of(d, k, &d->nodes[at].m);
    uint32_t *head = &p.table->slots[p.slot];
    x->used += *head == NOWHERE;
    d->nodes[at].next[k] = *head;
    *head = at;
}

static void index_drop(struct directory *d, enum key k, uint32_t at)
{
    struct place p = place_of(d, k, &d->nodes[at].m);
    uint32_t *link = &p.table->slots[p.slot];

    if (*link == at && d->nodes[at].next[k] == NOWHERE) {
        slot_empty(d, k, p.table, p.slot);
        d->index[k].used--;
        return;
    }
    while (*link != at)
        link = &d->nodes[*link].next[k];
    *link = d->nodes[at].next[k];
}

/* -- meters ---------------------------------------------------------------- */

static const char *intern(struct directory *d, const char *text)
{
    struct word *w = NULL;

    if (!text)
        return NULL;
    size_t n = strlen(text);
    HASH_FIND(hh, d->words, text, n, w);
    if (!w) {
        w = mem_alloc(sizeof(*w) + n + 1);
        memcpy(w->text, text, n);
        HASH_ADD_KEYPTR(hh, d->words, w->text, n, w);
    }
    return w->text;
}

static uint32_t node_new(struct directory *d)
{
    uint32_t at = d->unused;

    if (at != NOWHERE) {
        d->unused = d->nodes[at].next[0];
        return at;
    }
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->nodes = mem_grow(d->nodes, d->cap, sizeof(*d->nodes));
    }
    return d->n++;
}

void directory_put_meter(struct directory *d, const struct meter_entry *m)
{
    struct meter_entry copy = *m; /* *m may be ours, about to be dropped */

    copy.serial.p = mem_strndup(m->serial.p, m->serial.n);
    copy.codec = intern(d, m->codec);
    copy.zone = intern(d, m->zone);
    directory_drop_meter(d, copy.tenant_id, copy.meter_id);

    uint32_t at = node_new(d);
    d->nodes[at].m = copy;
    for (enum key k = 0; k < KEYS; k++)
        if (has_key(k, &copy))
            index_add(d, k, at);
    d->meters++;
}

void directory_drop_meter(struct directory *d, int32_t tenant, int32_t meter)
{
    struct meter_entry key = {.tenant_id = tenant, .meter_id = meter};
    const struct node *node = find(d, BY_METER, &key);

    if (!node)
        return;
    uint32_t at = (uint32_t)(node - d->nodes);
    for (enum key k = 0; k < KEYS; k++)
        if (has_key(k, &node->m))
            index_drop(d, k, at);
    free((char *)node->m.serial.p);
    d->nodes[at].m = (struct meter_entry){0};
    d->nodes[at].next[0] = d->unused;
    d->unused = at;
    d->meters--;
}

const struct meter_entry *directory_by_eui(const struct directory *d,
                                           int32_t tenant, uint64_t dev_eui)
{
    struct meter_entry key = {.tenant_id = tenant, .dev_eui = dev_eui};
    const struct node *node = dev_eui ? find(d, BY_EUI, &key) : NULL;

    return node ? &node->m : NULL;
}

int directory_by_serial(const struct directory *d, int32_t tenant,
                        struct str serial, const struct meter_entry **ret)
{
    struct meter_entry key = {.tenant_id = tenant, .serial = serial};
    enum key k = tenant == TENANT_PLATFORM ? BY_SERIAL : BY_TENANT_SERIAL;
    const struct node *node = serial.n ? find(d, k, &key) : NULL;

    if (!node)
        return ERR_UNKNOWN;
    if (node->next[k] != NOWHERE)
        return ERR_CONFLICT;
    *ret = &node->m;
    return 0;
}

/* -- integrations ---------------------------------------------------------- */

static void integrations_free(struct directory *d)
{
    for (uint32_t i = 0; i < d->n_integrations; i++) {
        struct integration *in = &d->integrations[i];
        char *texts[] = {in->name,     in->url,         in->username,
                         in->password, in->ca_file,     in->cert_file,
                         in->key_file, in->topic_prefix};
        for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++)
            free(texts[t]);
    }
    free(d->integrations);
}

void directory_put_integrations(struct directory *d, struct integration *list,
                                uint32_t n)
{
    integrations_free(d);
    d->integrations = list;
    d->n_integrations = n;
    d->loaded = true;
}

const struct integration *directory_integrations(const struct directory *d,
                                                 uint32_t *n)
{
    *n = d->n_integrations;
    return d->integrations;
}

/* -- codecs ---------------------------------------------------------------- */

enum { CODEC_KEY = 96 };

static struct named_codec *codec_named(const struct directory *d,
                                       int32_t tenant, const char *name,
                                       char key[CODEC_KEY])
{
    struct named_codec *n = NULL;

    snprintf(key, CODEC_KEY, "%d/%s", tenant, name);
    HASH_FIND_STR(d->codecs, key, n);
    return n;
}

void directory_put_codec(struct directory *d, int32_t tenant, const char *name,
                         struct tenant_codec *c, tenant_codec_drop_fn *drop)
{
    char key[CODEC_KEY];
    struct named_codec *n = codec_named(d, tenant, name, key);

    if (n) {
        n->drop(n->codec);
    } else {
        size_t size = strlen(key) + 1;
        n = mem_alloc(sizeof(*n) + size);
        memcpy(n->key, key, size);
        HASH_ADD_STR(d->codecs, key, n);
    }
    n->codec = c;
    n->drop = drop;
}

struct tenant_codec *directory_codec(const struct directory *d, int32_t tenant,
                                     const char *name)
{
    char key[CODEC_KEY];
    struct named_codec *n = codec_named(d, tenant, name, key);

    return n ? n->codec : NULL;
}

static void codecs_free(struct directory *d)
{
    struct named_codec *n, *next;

    HASH_ITER (hh, d->codecs, n, next) {
        HASH_DEL(d->codecs, n);
        n->drop(n->codec);
        free(n);
    }
}

/* -- the whole ------------------------------------------------------------- */

struct directory *directory_new(void)
{
    struct directory *d = mem_alloc(sizeof(*d));

    d->unused = NOWHERE;
    d->keys = keyrings_new();
    d->quotas = quotas_new(&clock_system);
    crypto_shorthash_keygen(d->secret);
    return d;
}

void directory_free(struct directory *d)
{
    struct word *w, *next;

    if (!d)
        return;
    for (uint32_t i = 0; i < d->n; i++)
        free((char *)d->nodes[i].m.serial.p);
    free(d->nodes);
    for (enum key k = 0; k < KEYS; k++) {
        free(d->index[k].now.slots);
        free(d->index[k].old.slots);
    }
    HASH_ITER (hh, d->words, w, next) {
        HASH_DEL(d->words, w);
        free(w);
    }
    codecs_free(d);
    integrations_free(d);
    keyrings_free(d->keys);
    quotas_free(d->quotas);
    free(d);
}

struct quotas *directory_quotas(const struct directory *d)
{
    return d->quotas;
}

struct keyrings *directory_keys(const struct directory *d)
{
    return d->keys;
}

bool directory_loaded(const struct directory *d)
{
    return d->loaded;
}

uint32_t directory_meters(const struct directory *d)
{
    return d->meters;
}
