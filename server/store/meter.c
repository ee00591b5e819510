/*
 * meter.c - queries for meters. The newest capture is found through the
 * primary key, one probe per partition and meter.
 */
#include "server/store/meter.h"

const char *const meter_columns[METER_COLUMNS] = {
    "serial",           "model",           "dev_eui",
    "timezone",         "name|position",   "note",
    "verification_due", "state",           "secondary_address",
    "baud_rate",        "addressing_mode", "primary_address",
    "enhanced_address"};

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

static const char get_sql[] = SELECT_METER " AND m.meter_id = $2::bigint";

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
