/*
 * gap.c - the list of gaps, through an index of the meters that have any.
 */
#include "server/store/gap.h"

#include <inttypes.h>
#include <stdio.h>

static const char list_sql[] =
    "SELECT k.meter_id, m.serial, m.dev_eui, k.received, k.skipped - k.late,"
    " k.late, k.last - k.base, " SQL_US(
        "k.last_at") ", coalesce((SELECT json_agg(json_build_array("
                     "lower(r) - k.base, upper(r) - 1 - k.base) ORDER BY r)"
                     " FROM unnest(k.open) r), '[]')"
                     " FROM frame_counter k JOIN meter m"
                     " USING (tenant_id, meter_id)"
                     " WHERE tenant_id = $1::int AND k.meter_id > $2::bigint"
                     " AND k.skipped > k.late"
                     " ORDER BY k.meter_id LIMIT $3::bigint";

int gap_list(struct pg_pool *p, const struct gap_filter *f,
             const struct pg_taker *taker)
{
    char tenant[16], after[24], limit[24];
    const struct pg_call call = {.tenant_id = f->tenant_id,
                                 .sql = list_sql,
                                 .n = 3,
                                 .values = {tenant, after, limit},
                                 .row = taker->row,
                                 .done = taker->done,
                                 .arg = taker->arg};

    snprintf(tenant, sizeof tenant, "%d", f->tenant_id);
    snprintf(after, sizeof after, "%" PRId64, f->after);
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    return pg_call(p, &call);
}

void gap_read(const PGresult *res, int row, struct gap_row *ret)
{
    *ret = (struct gap_row){
        .meter_id = column_int(res, row, 0, 0),
        .serial = column_str(res, row, 1),
        .dev_eui = column_str(res, row, 2),
        .received = column_int(res, row, 3, 0),
        .missing = column_int(res, row, 4, 0),
        .late = column_int(res, row, 5, 0),
        .last_counter = column_int(res, row, 6, 0),
        .last_us = column_int(res, row, 7, TIME_NONE),
        .open = column_str(res, row, 8),
    };
}
