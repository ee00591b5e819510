/* book.c - see book.h: a hash over (tenant, meter). */
#include "server/clocks/book.h"
#include "server/base/mem.h"

#include <stdlib.h>
#include <uthash.h>

struct row {
    uint64_t key;
    struct book_entry entry;
    UT_hash_handle hh;
};

struct clock_book {
    struct row *rows;
};

static uint64_t key_of(int32_t tenant, int32_t meter)
{
    return (uint64_t)(uint32_t)tenant << 32 | (uint32_t)meter;
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
    HASH_ITER (hh, b->rows, r, next) {
        HASH_DEL(b->rows, r);
        free(r);
    }
    free(b);
}

void book_put(struct clock_book *b, int32_t tenant, int32_t meter,
              const struct book_entry *e)
{
    uint64_t key = key_of(tenant, meter);
    struct row *r;

    HASH_FIND(hh, b->rows, &key, sizeof key, r);
    if (!r) {
        r = mem_alloc(sizeof *r);
        r->key = key;
        HASH_ADD(hh, b->rows, key, sizeof r->key, r);
    }
    r->entry = *e;
}

const struct book_entry *book_get(const struct clock_book *b, int32_t tenant,
                                  int32_t meter)
{
    uint64_t key = key_of(tenant, meter);
    struct row *r = NULL;

    if (b)
        HASH_FIND(hh, b->rows, &key, sizeof key, r);
    return r ? &r->entry : NULL;
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

void book_count(const struct clock_book *b, int64_t now_us,
                struct book_counts *ret)
{
    *ret = (struct book_counts){0};
    for (const struct row *r = b->rows; r; r = r->hh.next) {
        struct clock_error e = clock_now(&r->entry.model, now_us);
        int64_t off = e.offset_us < 0 ? -e.offset_us : e.offset_us;

        ret->by_state[clock_state(&r->entry.model, now_us,
                                  r->entry.accepted_us)]++;
        if (e.trusted && off > ret->offset_us_worst)
            ret->offset_us_worst = off;
    }
}
