/*
 * balance.h - the ledger as the API shows it: the fates of frames by period of
 * arrival, UTC. Read only.
 */
#pragma once

#include "schema/frame.h"
#include "server/store/column.h"

enum balance_by { BY_MINUTE, BY_HOUR, BY_DAY, BY_TOTAL };
const char *balance_by_name(enum balance_by by); /* "minute"... */
int balance_by_of(struct str name);              /* ERR_UNKNOWN */

struct balance_filter {
    int32_t tenant_id;
    enum balance_by by;
    int64_t from_us, to_us; /* of the minutes' beginnings; TIME_NONE: open */
    int64_t after_us;       /* TIME_NONE, or periods behind this one */
    int64_t limit;
};

struct balance_row {
    int64_t period_us;                /* its beginning; TIME_NONE: a total */
    int64_t fates[FATE_REJECTED + 1]; /* [FATE_STORED] ... */
    int64_t missing, late;            /* by counters; not part of the sum */
};

/* Ascending by period, those with frames only; a total is always one row.
 * ERR_FULL as pg_call. */
int balance_list(struct pg_pool *p, const struct balance_filter *f,
                 const struct pg_taker *taker);
void balance_read(const PGresult *res, int row, struct balance_row *ret);
