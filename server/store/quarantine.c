/*
 * quarantine.c - queries for quarantined frames, each through an index.
 */
#include "server/store/quarantine.h"

#include <inttypes.h>
#include <stdio.h>

#define COLUMNS                                                                \
    "q.frame_id, " SQL_US("q.received_at") ", q.reason, q.detail,"             \
                                           " q.meter_id, m.serial"
#define ITS_METER " LEFT JOIN meter m USING (tenant_id, meter_id)"

static const char reasons_sql[] =
    "SELECT reason, count(*) FROM quarantine WHERE tenant_id = $1::int"
    " GROUP BY reason ORDER BY count(*) DESC, reason";

static const char list_sql[] =
    "SELECT " COLUMNS " FROM quarantine q" ITS_METER
    " WHERE tenant_id = $1::int AND ($2::text IS NULL OR q.reason = $2)"
    " AND ($3::timestamptz IS NULL OR q.received_at <= $3)"
    " AND ($3::timestamptz IS NULL"
    " OR (q.received_at, q.frame_id) < ($3, $4::bigint))"
    " ORDER BY q.received_at DESC, q.frame_id DESC LIMIT $5::bigint";

static const char get_sql[] =
    "SELECT " COLUMNS ", f.codec, q.record FROM quarantine q" ITS_METER
    " LEFT JOIN frame f USING (tenant_id, received_at, frame_id)"
    " WHERE tenant_id = $1::int AND q.frame_id = $2::bigint";

int quarantine_reasons(struct pg_pool *p, int32_t tenant_id,
                       const struct pg_taker *taker)
{
    char tenant[16];
    const struct pg_call call = {.tenant_id = tenant_id,
                                 .sql = reasons_sql,
                                 .n = 1,
                                 .values = {tenant},
                                 .row = taker->row,
                                 .done = taker->done,
                                 .arg = taker->arg};

    snprintf(tenant, sizeof tenant, "%d", tenant_id);
    return pg_call(p, &call);
}

int quarantine_list(struct pg_pool *p, const struct quarantine_filter *f,
                    const struct pg_taker *taker)
{
    char tenant[16], before[TIME_TEXT], before_id[24], limit[24];
    bool cursor = f->before_us != TIME_NONE;
    const struct pg_call call = {
        .tenant_id = f->tenant_id,
        .sql = list_sql,
        .n = 5,
        .values = {tenant, f->reason,
                   cursor ? time_text(f->before_us, before) : NULL,
                   cursor ? before_id : NULL, limit},
        .row = taker->row,
        .done = taker->done,
        .arg = taker->arg};

    snprintf(tenant, sizeof tenant, "%d", f->tenant_id);
    snprintf(before_id, sizeof before_id, "%" PRId64, f->before_id);
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    return pg_call(p, &call);
}

int quarantine_get(struct pg_pool *p, int32_t tenant_id, int64_t frame_id,
                   const struct pg_taker *taker)
{
    return column_get(p, get_sql, tenant_id, frame_id, taker);
}

void quarantine_read(const PGresult *res, int row, struct quarantine_row *ret)
{
    *ret = (struct quarantine_row){
        .frame_id = column_int(res, row, 0, 0),
        .received_us = column_int(res, row, 1, TIME_NONE),
        .reason = column_str(res, row, 2),
        .detail = column_str(res, row, 3),
        .meter_id = column_str(res, row, 4),
        .serial = column_str(res, row, 5),
    };
    if (PQnfields(res) > 6) {
        ret->codec = column_str(res, row, 6);
        ret->record = column_str(res, row, 7);
    }
}
