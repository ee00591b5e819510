/*
 * ledger.h - the books of one process, per tenant: the frames that it
 * received, those that are pending, and what became of the others. A record
 * counts for as many frames as it stands for. For each tenant, whenever no
 * callback is running:
 *   received = stored + duplicate + quarantined + rejected + repeated + moved
 *              + pending
 * Loop thread only.
 */
#pragma once

#include "schema/frame.h"
#include <uthash.h>

struct ledger; /* opaque */

enum {
    LEDGER_REPEATED = FATE_REJECTED + 1, /* run again by hand, or stored by a
                                            COMMIT that nobody told of: it has
                                            its fate already */
    LEDGER_MOVED, /* no tenant's at the door; its meter was known by the time
                     it was decoded, and received there */
    LEDGER_FATES
};
const char *ledger_fate_name(int fate);

struct ledger_row {
    int32_t tenant_id;
    int64_t received, pending;
    int64_t fates[LEDGER_FATES];         /* [FATE_STORED] ... [LEDGER_MOVED] */
    int64_t readings;                    /* of stored frames */
    int64_t replayed[FATE_REJECTED + 1]; /* second fates, not part of the sum */
    int64_t missing, late; /* what counters of frames showed: never came, or
                              came after all; not part of the sum either */
    int64_t marked;
    UT_hash_handle hh;
};

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l);

/* At the door: durable now. */
void ledger_received(struct ledger *l, int32_t tenant, int64_t n);

/* Frames journaled for `from` were committed for `to`. What each of them became
 * follows at once through ledger_fate; what does not was there already. More
 * than are pending: the journal held what its sender was never told of. */
void ledger_taken(struct ledger *l, int32_t from, int32_t to, int64_t n);
void ledger_fate(struct ledger *l, int32_t tenant, enum fate fate, int64_t n,
                 int64_t readings);
void ledger_replayed(struct ledger *l, int32_t tenant, enum fate fate,
                     int64_t n);
void ledger_gaps(struct ledger *l, int32_t tenant, int64_t missing,
                 int64_t late);
/* All that the journal holds was taken: what is pending all the same was in
 * stretches that the disk has damaged. It stays unaccounted. Returns how many.
 */
int64_t ledger_drained(struct ledger *l);

/* The journal is being counted up to its present end: mark, then one backlog
 * for each tenant that it has frames of, then known. */
void ledger_mark(struct ledger *l);
void ledger_backlog(struct ledger *l, int32_t tenant, int64_t n);
void ledger_counted(struct ledger *l);
bool ledger_known(const struct ledger *l); /* was it ever counted? */

int64_t ledger_pending(const struct ledger *l); /* of all tenants */
/* Of one tenant; -1 before it is known. */
int64_t ledger_pending_of(const struct ledger *l, int32_t tenant);
/* Sum of what the equation is off by, over all tenants: 0. */
int64_t ledger_unaccounted(const struct ledger *l);
/* The platform's row first; NULL ends. */
const struct ledger_row *ledger_first(const struct ledger *l);
const struct ledger_row *ledger_next(const struct ledger_row *r);
