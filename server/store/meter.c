/*
 * meter.c - queries for meters. The newest capture is found through the
 * primary key, one probe per partition and meter.
 */
#include "server/store/meter.h"

#include <inttypes.h>
#include <stdio.h>

#define SELECT_METER                                                           \
    "SELECT m.meter_id, m.serial, d.name, d.medium, d.codec, m.dev_eui,"       \
    " coalesce(m.timezone, t.timezone), m.state, " SQL_US(                     \
        "l.received_at") " FROM meter m"                                       \
                         " JOIN meter_model d USING (tenant_id, model_id)"     \
                         " JOIN tenant t USING (tenant_id)"                    \
                         " LEFT JOIN LATERAL (SELECT c.received_at FROM "      \
                         "capture c"                                           \
                         " WHERE c.tenant_id = m.tenant_id AND c.meter_id = "  \
                         "m.meter_id"                                          \
                         " ORDER BY c.time DESC LIMIT 1) l ON true"            \
                         " WHERE m.tenant_id = $1::int"

static const char list_sql[] = SELECT_METER
    " AND m.meter_id > $2::bigint AND ($3::text IS NULL OR m.serial = $3)"
    " ORDER BY m.meter_id LIMIT $4::bigint";

static const char get_sql[] = SELECT_METER " AND m.meter_id = $2::bigint";

int meter_list(struct pg_pool *p, const struct meter_filter *f,
               const struct pg_taker *taker)
{
    char tenant[16], after[24], limit[24];
    const struct pg_call call = {.tenant_id = f->tenant_id,
                                 .sql = list_sql,
                                 .n = 4,
                                 .values = {tenant, after, f->serial, limit},
                                 .row = taker->row,
                                 .done = taker->done,
                                 .arg = taker->arg};

    snprintf(tenant, sizeof tenant, "%d", f->tenant_id);
    snprintf(after, sizeof after, "%" PRId64, f->after);
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    return pg_call(p, &call);
}

int meter_get(struct pg_pool *p, int32_t tenant_id, int64_t meter_id,
              const struct pg_taker *taker)
{
    return column_get(p, get_sql, tenant_id, meter_id, taker);
}

void meter_read(const PGresult *res, int row, struct meter_row *ret)
{
    *ret = (struct meter_row){
        .meter_id = column_int(res, row, 0, 0),
        .serial = column_str(res, row, 1),
        .model = column_str(res, row, 2),
        .medium = column_str(res, row, 3),
        .codec = column_str(res, row, 4),
        .dev_eui = column_str(res, row, 5),
        .timezone = column_str(res, row, 6),
        .state = column_str(res, row, 7),
        .last_frame_us = column_int(res, row, 8, TIME_NONE),
    };
}
