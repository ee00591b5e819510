/*
 * book.c - see book.h: hashes over (tenant, meter), so many that one grows, or
 * is counted, within a moment however many meters there are. Models are kept as
 * bytes: that of a clock with few samples is a fifth of struct clock_model.
 */
#include "server/clocks/book.h"
#include "server/base/mem.h"
#include "server/clocks/model_bytes.h"

#include <stdlib.h>
#include <uthash.h>

enum { SHARDS = 256, COUNT_ROWS = 40000 /* at once: some milliseconds */ };

struct row {
    uint64_t key;
    int64_t accepted_us, interval_us, slot_look_us;
    UT_hash_handle hh;
    bool calm;
    uint16_t n;
    char model[];
};

struct shard {
    struct row *rows;
    struct book_counts counts; /* when its turn was */
};

struct clock_book {
    struct shard shards[SHARDS];
    uint32_t next; /* to be counted */
    struct buf model;
};

static uint64_t key_of(int32_t tenant, int32_t meter)
{
    return (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
}

/* Neighbours stay together: they lie together in memory, too. */
static uint32_t shard_of(uint64_t key)
{
    return (uint32_t)(key >> 12 ^ key >> 32) % SHARDS;
}

struct clock_book *book_new(void)
{
    return mem_alloc(sizeof(struct clock_book));
}

void book_free(struct clock_book *b)
{
    struct row *r, *next;

    if (!b)
        return;
    for (uint32_t i = 0; i < SHARDS; i++) {
        HASH_ITER (hh, b->shards[i].rows, r, next) {
            HASH_DEL(b->shards[i].rows, r);
            free(r);
        }
    }
    buf_done(&b->model);
    free(b);
}

void book_put(struct clock_book *b, int32_t tenant, int32_t meter,
              const struct book_entry *e)
{
    uint64_t key = key_of(tenant, meter);
    struct shard *s = &b->shards[shard_of(key)];
    struct row *r;

    buf_clear(&b->model);
    model_write(&e->model, &b->model);
    HASH_FIND(hh, s->rows, &key, sizeof key, r);
    if (r && r->n != b->model.n) {
        HASH_DEL(s->rows, r);
        free(r);
        r = NULL;
    }
    if (!r) {
        r = mem_alloc(sizeof *r + b->model.n);
        r->key = key;
        r->n = (uint16_t)b->model.n;
        HASH_ADD(hh, s->rows, key, sizeof r->key, r);
    }
    r->accepted_us = e->accepted_us;
    r->interval_us = e->interval_us;
    r->slot_look_us = e->slot_look_us;
    r->calm = e->calm;
    memcpy(r->model, b->model.p, b->model.n);
}

static void row_entry(const struct row *r, struct book_entry *ret)
{
    model_read((struct str){r->model, r->n}, &ret->model);
    ret->accepted_us = r->accepted_us;
    ret->interval_us = r->interval_us;
    ret->slot_look_us = r->slot_look_us;
    ret->calm = r->calm;
}

bool book_get(const struct clock_book *b, int32_t tenant, int32_t meter,
              struct book_entry *ret)
{
    uint64_t key = key_of(tenant, meter);
    struct row *r = NULL;

    if (b)
        HASH_FIND(hh, b->shards[shard_of(key)].rows, &key, sizeof key, r);
    if (r)
        row_entry(r, ret);
    return r != NULL;
}

bool book_old_news(const struct book_entry *e, int64_t heard_us,
                   int64_t clock_us)
{
    enum { MINUTE_US = 60 * US_PER_S, ROUGHLY_US = 3 * US_PER_S };

    if (!e || !e->calm || clock_us == TIME_NONE ||
        heard_us - e->model.last_us >= MINUTE_US)
        return false;
    int64_t off = clock_us - heard_us - e->model.offset_us;
    return off > -ROUGHLY_US && off < ROUGHLY_US;
}

static void count(struct shard *s, int64_t now_us)
{
    struct book_counts *c = &s->counts;
    struct book_entry one;

    *c = (struct book_counts){0};
    for (const struct row *r = s->rows; r; r = r->hh.next) {
        row_entry(r, &one);
        struct clock_error e = clock_now(&one.model, now_us);
        int64_t off = e.offset_us < 0 ? -e.offset_us : e.offset_us;

        c->by_state[clock_state(&one.model, now_us, one.accepted_us)]++;
        if (e.trusted && off > c->offset_us_worst)
            c->offset_us_worst = off;
    }
}

void book_count(struct clock_book *b, int64_t now_us, struct book_counts *ret)
{
    uint32_t rows = 0;

    for (int i = 0; i < SHARDS && rows < COUNT_ROWS; i++) {
        struct shard *s = &b->shards[b->next++ % SHARDS];
        count(s, now_us);
        rows += HASH_COUNT(s->rows);
    }
    *ret = (struct book_counts){0};
    for (int i = 0; i < SHARDS; i++) {
        const struct book_counts *c = &b->shards[i].counts;
        for (int state = 0; state <= CLOCK_UNTRUSTED; state++)
            ret->by_state[state] += c->by_state[state];
        if (c->offset_us_worst > ret->offset_us_worst)
            ret->offset_us_worst = c->offset_us_worst;
    }
}
