/*
 * balance.c - sums over a tenant's minutes, through the ledger's primary key.
 */
#include "server/store/balance.h"

#include <inttypes.h>
#include <stdio.h>

#define SUMS                                                                   \
    "sum(stored), sum(duplicate), sum(quarantined), sum(rejected),"            \
    " sum(missing), sum(late)"                                                 \
    " FROM ledger WHERE tenant_id = $1::int"                                   \
    " AND minute >= $2::timestamptz AND minute < $3::timestamptz"

/* $4 is the step, $5 its length: a day is 24 hours of UTC. */
#define PERIOD SQL_US("date_trunc($4, minute, 'UTC')")

static const char list_sql[] =
    "SELECT " PERIOD ", " SUMS
    " AND ($6::timestamptz IS NULL OR minute >= $6::timestamptz +"
    " $5::interval) GROUP BY 1 ORDER BY 1 LIMIT $7::bigint";

static const char total_sql[] = "SELECT NULL, " SUMS;

static const struct {
    const char *name, *length;
} steps[] = {
    [BY_MINUTE] = {"minute", "1 minute"},
    [BY_HOUR] = {"hour", "1 hour"},
    [BY_DAY] = {"day", "24 hours"},
    [BY_TOTAL] = {"total", NULL},
};

const char *balance_by_name(enum balance_by by)
{
    return steps[by].name;
}

int balance_by_of(struct str name)
{
    for (int i = BY_MINUTE; i <= BY_TOTAL; i++)
        if (str_is(name, steps[i].name))
            return i;
    return ERR_UNKNOWN;
}

int balance_list(struct pg_pool *p, const struct balance_filter *f,
                 const struct pg_taker *taker)
{
    char tenant[16], from[TIME_TEXT], to[TIME_TEXT], after[TIME_TEXT];
    char limit[24];
    bool total = f->by == BY_TOTAL;
    const struct pg_call call = {
        .tenant_id = f->tenant_id,
        .sql = total ? total_sql : list_sql,
        .n = total ? 3 : 7,
        .values = {tenant,
                   f->from_us == TIME_NONE ? "-infinity"
                                           : time_text(f->from_us, from),
                   f->to_us == TIME_NONE ? "infinity" : time_text(f->to_us, to),
                   steps[f->by].name, steps[f->by].length,
                   f->after_us == TIME_NONE ? NULL
                                            : time_text(f->after_us, after),
                   limit},
        .row = taker->row,
        .done = taker->done,
        .arg = taker->arg,
    };

    snprintf(tenant, sizeof tenant, "%d", f->tenant_id);
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    return pg_call(p, &call);
}

void balance_read(const PGresult *res, int row, struct balance_row *ret)
{
    ret->period_us = column_int(res, row, 0, TIME_NONE);
    for (int fate = FATE_STORED; fate <= FATE_REJECTED; fate++)
        ret->fates[fate] = column_int(res, row, fate, 0);
    ret->missing = column_int(res, row, FATE_REJECTED + 1, 0);
    ret->late = column_int(res, row, FATE_REJECTED + 2, 0);
}
