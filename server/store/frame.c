/*
 * frame.c - queries for frames, backwards through the primary key, or through
 * the indexes of a meter's and of those that were not stored; the planner sees
 * the parameters, so a filter that is not given costs nothing.
 */
#include "server/store/frame.h"

#include <inttypes.h>
#include <stdio.h>

#define SELECT_FRAME                                                           \
    "SELECT f.frame_id, " SQL_US("f.received_at") ", " SQL_US(                 \
        "f.frame_time") ", f.source, f.fate, f.size, f.reason, f.codec,"       \
                        " f.peer, f.integration_id, f.meter_id, "              \
                        "f.codec_version, f.counter,"                          \
                        " f.port, f.rssi, f.snr, f.duplicate_of"

static const char list_sql[] = SELECT_FRAME
    " FROM frame f WHERE f.tenant_id = $1::int"
    " AND f.received_at >= $2::timestamptz AND f.received_at < $3::timestamptz"
    " AND ($4::bigint IS NULL OR f.meter_id = $4)"
    " AND ($5::int IS NULL OR f.fate = $5)"
    " AND ($6::text IS NULL OR f.reason = $6 AND f.fate <> 1)"
    " AND ($7::timestamptz IS NULL OR f.received_at <= $7)"
    " AND ($7::timestamptz IS NULL"
    " OR (f.received_at, f.frame_id) < ($7, $8::bigint))"
    " ORDER BY f.received_at DESC, f.frame_id DESC LIMIT $9::bigint";

/* Captures have no index by frame; those of its meter do, by meter. */
static const char get_sql[] = SELECT_FRAME
    ", f.detail, f.extras, encode(f.payload, 'hex'), f.frames,"
    " (SELECT count(*) FROM capture c WHERE c.tenant_id = f.tenant_id"
    " AND c.meter_id = f.meter_id AND c.frame_id = f.frame_id)"
    " FROM frame f WHERE f.tenant_id = $1::int AND f.frame_id = $2::bigint"
    " LIMIT 1";

int frame_list(struct pg_pool *p, const struct frame_filter *f,
               const struct pg_taker *taker)
{
    char tenant[16], from[TIME_TEXT], to[TIME_TEXT], meter[24], fate[16];
    char before[TIME_TEXT], before_id[24], limit[24];
    bool cursor = f->before_us != TIME_NONE;
    const struct pg_call call = {
        .tenant_id = f->tenant_id,
        .sql = list_sql,
        .n = 9,
        .values = {tenant,
                   f->from_us == TIME_NONE ? "-infinity"
                                           : time_text(f->from_us, from),
                   f->to_us == TIME_NONE ? "infinity" : time_text(f->to_us, to),
                   f->meter_id ? meter : NULL, f->fate ? fate : NULL, f->reason,
                   cursor ? time_text(f->before_us, before) : NULL,
                   cursor ? before_id : NULL, limit},
        .row = taker->row,
        .done = taker->done,
        .arg = taker->arg,
    };

    snprintf(tenant, sizeof tenant, "%d", f->tenant_id);
    snprintf(meter, sizeof meter, "%" PRId64, f->meter_id);
    snprintf(fate, sizeof fate, "%d", f->fate);
    snprintf(before_id, sizeof before_id, "%" PRId64, f->before_id);
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    return pg_call(p, &call);
}

int frame_get(struct pg_pool *p, int32_t tenant_id, int64_t frame_id,
              const struct pg_taker *taker)
{
    return column_get(p, get_sql, tenant_id, frame_id, taker);
}

void frame_read(const PGresult *res, int row, struct frame_row *ret)
{
    *ret = (struct frame_row){
        .frame_id = column_int(res, row, 0, 0),
        .received_us = column_int(res, row, 1, TIME_NONE),
        .frame_us = column_int(res, row, 2, TIME_NONE),
        .source = column_int(res, row, 3, 0),
        .fate = column_int(res, row, 4, 0),
        .size = column_int(res, row, 5, 0),
        .reason = column_str(res, row, 6),
        .codec = column_str(res, row, 7),
        .peer = column_str(res, row, 8),
        .integration_id = column_str(res, row, 9),
        .meter_id = column_str(res, row, 10),
        .codec_version = column_str(res, row, 11),
        .counter = column_str(res, row, 12),
        .port = column_str(res, row, 13),
        .rssi_dbm = column_str(res, row, 14),
        .snr_tenths = column_str(res, row, 15),
        .duplicate_of = column_str(res, row, 16),
    };
    if (PQnfields(res) > 17) {
        ret->detail = column_str(res, row, 17);
        ret->extras = column_str(res, row, 18);
        ret->payload = column_str(res, row, 19);
        ret->frames = column_int(res, row, 20, 1);
        ret->captures = column_int(res, row, 21, 0);
    }
}
