/*
 * ledger.c - one row for each tenant that was heard of, never dropped: tenants
 * are few, and counters must not fall.
 */
#include "ingest/ledger.h"
#include "server/base/mem.h"
#include <stdlib.h>

struct ledger {
    struct ledger_row *rows;
    bool known;
};

const char *ledger_fate_name(int fate)
{
    return fate == LEDGER_REPEATED ? "repeated"
           : fate == LEDGER_MOVED  ? "moved"
                                   : fate_name((enum fate)fate);
}

static struct ledger_row *row_of(struct ledger *l, int32_t tenant)
{
    struct ledger_row *r = NULL;

    /* The analyzer loses the bytes of the key inside uthash's macro. */
    HASH_FIND(hh, l->rows, &tenant, sizeof tenant, r); /* NOLINT */
    if (!r) {
        r = mem_alloc(sizeof *r);
        r->tenant_id = tenant;
        HASH_ADD(hh, l->rows, tenant_id, sizeof r->tenant_id, r);
    }
    return r;
}

struct ledger *ledger_new(void)
{
    struct ledger *l = mem_alloc(sizeof *l);

    row_of(l, TENANT_PLATFORM);
    return l;
}

void ledger_free(struct ledger *l)
{
    struct ledger_row *r, *next;

    if (!l)
        return;
    r = l->rows;
    HASH_CLEAR(hh, l->rows);
    for (; r; r = next) {
        next = r->hh.next;
        free(r);
    }
    free(l);
}

void ledger_received(struct ledger *l, int32_t tenant, int64_t n)
{
    struct ledger_row *r = row_of(l, tenant);

    r->received += n;
    r->pending += n;
}

void ledger_taken(struct ledger *l, int32_t from, int32_t to, int64_t n)
{
    struct ledger_row *r = row_of(l, from);

    if (r->pending < n) {
        r->received += n - r->pending;
        r->pending = n;
    }
    r->pending -= n;
    if (from != to) {
        r->fates[LEDGER_MOVED] += n;
        r = row_of(l, to);
        r->received += n;
    }
    r->fates[LEDGER_REPEATED] += n;
}

void ledger_fate(struct ledger *l, int32_t tenant, enum fate fate, int64_t n,
                 int64_t readings)
{
    struct ledger_row *r = row_of(l, tenant);

    r->fates[LEDGER_REPEATED] -= n;
    r->fates[fate] += n;
    r->readings += readings;
}

void ledger_replayed(struct ledger *l, int32_t tenant, enum fate fate,
                     int64_t n)
{
    row_of(l, tenant)->replayed[fate] += n;
}

void ledger_gaps(struct ledger *l, int32_t tenant, int64_t missing,
                 int64_t late)
{
    struct ledger_row *r = row_of(l, tenant);

    r->missing += missing;
    r->late += late;
}

int64_t ledger_drained(struct ledger *l)
{
    int64_t lost = ledger_pending(l);

    for (struct ledger_row *r = l->rows; lost && r; r = r->hh.next)
        r->pending = 0;
    return lost;
}

void ledger_mark(struct ledger *l)
{
    for (struct ledger_row *r = l->rows; r; r = r->hh.next)
        r->marked = r->pending;
}

/* What was pending at the mark lies in the stretch that was counted; what does
 * not has its fate, though nobody told of it. */
void ledger_backlog(struct ledger *l, int32_t tenant, int64_t n)
{
    struct ledger_row *r = row_of(l, tenant);
    int64_t more = n - r->marked;

    r->pending += more;
    if (more > 0)
        r->received += more;
    else
        r->fates[LEDGER_REPEATED] -= more;
    r->marked = 0;
}

void ledger_counted(struct ledger *l)
{
    for (struct ledger_row *r = l->rows; r; r = r->hh.next) {
        r->pending -= r->marked; /* the journal has none of this tenant's */
        r->fates[LEDGER_REPEATED] += r->marked;
        r->marked = 0;
    }
    l->known = true;
}

bool ledger_known(const struct ledger *l)
{
    return l->known;
}

int64_t ledger_pending(const struct ledger *l)
{
    int64_t n = 0;

    for (const struct ledger_row *r = l->rows; r; r = r->hh.next)
        n += r->pending;
    return n;
}

int64_t ledger_pending_of(const struct ledger *l, int32_t tenant)
{
    const struct ledger_row *r = NULL;

    if (!l->known)
        return -1;
    HASH_FIND(hh, l->rows, &tenant, sizeof tenant, r); /* NOLINT */
    return r ? r->pending : 0;
}

int64_t ledger_unaccounted(const struct ledger *l)
{
    int64_t n = 0;

    for (const struct ledger_row *r = l->rows; r; r = r->hh.next) {
        int64_t off = r->received - r->pending;
        for (int f = FATE_STORED; f < LEDGER_FATES; f++)
            off -= r->fates[f] > 0 ? r->fates[f] : 0;
        n += off < 0 ? -off : off;
    }
    return n;
}

const struct ledger_row *ledger_first(const struct ledger *l)
{
    return l->rows;
}

const struct ledger_row *ledger_next(const struct ledger_row *r)
{
    return r->hh.next;
}
