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

/* In the order of enum quarantine_filters; absent ones fall out of the plan. */
#define CHOSEN                                                                 \
    " WHERE tenant_id = $1::int"                                               \
    " AND ($3::timestamptz IS NULL OR q.received_at >= $3)"                    \
    " AND ($4::timestamptz IS NULL OR q.received_at < $4)"                     \
    " AND ($5::int IS NULL OR q.meter_id = $5)"                                \
    " AND ($6::text IS NULL OR m.serial = $6 OR q.detail = 'serial ' || $6)"   \
    " AND ($7::text IS NULL OR m.dev_eui = eui_text($7)"                       \
    " OR q.detail = 'DevEUI ' || eui_text($7))"                                \
    " AND ($8::text IS NULL OR EXISTS (SELECT FROM meter_model d"              \
    " WHERE d.tenant_id = m.tenant_id AND d.model_id = m.model_id"             \
    " AND d.codec = $8))"                                                      \
    " AND ($9::int IS NULL AND $10::int IS NULL OR EXISTS (SELECT FROM frame"  \
    " f WHERE f.tenant_id = q.tenant_id AND f.received_at = q.received_at"     \
    " AND f.frame_id = q.frame_id AND ($9::int IS NULL OR f.source = $9)"      \
    " AND ($10::int IS NULL OR f.integration_id = $10)))"

static const char reasons_sql[] =
    "SELECT q.reason, count(*) FROM quarantine q" ITS_METER CHOSEN
    " AND ($2::text IS NULL OR true)"
    " GROUP BY q.reason ORDER BY count(*) DESC, q.reason";

static const char list_sql[] =
    "SELECT " COLUMNS " FROM quarantine q" ITS_METER CHOSEN
    " AND ($2::text IS NULL OR q.reason = $2)"
    " AND ($11::timestamptz IS NULL OR q.received_at <= $11)"
    " AND ($11::timestamptz IS NULL"
    " OR (q.received_at, q.frame_id) < ($11, $12::bigint))"
    " ORDER BY q.received_at DESC, q.frame_id DESC LIMIT $13::bigint";

static const char get_sql[] =
    "SELECT " COLUMNS ", f.codec, q.record FROM quarantine q" ITS_METER
    " LEFT JOIN frame f USING (tenant_id, received_at, frame_id)"
    " WHERE tenant_id = $1::int AND q.frame_id = $2::bigint";

/* $1 and the filters. */
static void choose(const struct quarantine_filter *f, char tenant[16],
                   struct pg_call *call)
{
    snprintf(tenant, 16, "%d", f->tenant_id);
    call->tenant_id = f->tenant_id;
    call->values[0] = tenant;
    for (int i = 0; i < QUARANTINE_FILTERS; i++)
        call->values[1 + i] = f->by[i];
    call->n = 1 + QUARANTINE_FILTERS;
}

int quarantine_reasons(struct pg_pool *p, const struct quarantine_filter *f,
                       const struct pg_taker *taker)
{
    char tenant[16];
    struct pg_call call = {.sql = reasons_sql,
                           .row = taker->row,
                           .done = taker->done,
                           .arg = taker->arg};

    choose(f, tenant, &call);
    return pg_call(p, &call);
}

int quarantine_list(struct pg_pool *p, const struct quarantine_filter *f,
                    const struct pg_taker *taker)
{
    char tenant[16], before[TIME_TEXT], before_id[24], limit[24];
    bool cursor = f->before_us != TIME_NONE;
    struct pg_call call = {.sql = list_sql,
                           .row = taker->row,
                           .done = taker->done,
                           .arg = taker->arg};

    choose(f, tenant, &call);
    snprintf(before_id, sizeof before_id, "%" PRId64, f->before_id);
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    call.values[call.n++] = cursor ? time_text(f->before_us, before) : NULL;
    call.values[call.n++] = cursor ? before_id : NULL;
    call.values[call.n++] = limit;
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
