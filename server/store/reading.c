/*
 * reading.c - the queries for readings. Both run through the primary key of
 * capture; what they cost depends on the window, not on what is stored.
 */
#include "server/store/reading.h"

#include <inttypes.h>
#include <stdio.h>

static const char list_sql[] = "SELECT obis, unit, kind, " SQL_US(
    "time") ", value, quality,"
            " " SQL_US("meter_time") ", " SQL_US(
                "received_at") ", uncertainty_ms,"
                               " revision, frame_id"
                               " FROM reading_current"
                               " WHERE tenant_id = $1::int AND meter_id = "
                               "$2::bigint"
                               " AND time >= $3::timestamptz AND time < "
                               "$4::timestamptz"
                               " AND ($5::text IS NULL OR obis = $5)"
                               " AND ($6::text IS NULL OR (time, obis) > "
                               "($3::timestamptz, $6))"
                               " ORDER BY time, obis LIMIT $7::bigint";

static const char window_sql[] = "SELECT " SQL_US(
    "max(time)") ", count(*) FROM"
                 " (SELECT time FROM capture WHERE tenant_id = $1::int"
                 " AND meter_id = $2::bigint AND time >= $3::timestamptz"
                 " AND time < $4::timestamptz ORDER BY time LIMIT $5::bigint) "
                 "c";

struct period {
    char tenant[16], meter[24], from[TIME_TEXT], to[TIME_TEXT], limit[24];
};

/* The parameters that both queries begin with. */
static void write_period(const struct reading_filter *f, struct period *p)
{
    snprintf(p->tenant, sizeof p->tenant, "%d", f->tenant_id);
    snprintf(p->meter, sizeof p->meter, "%" PRId64, f->meter_id);
    snprintf(p->from, sizeof p->from, "-infinity");
    snprintf(p->to, sizeof p->to, "infinity");
    if (f->from_us != TIME_NONE)
        time_text(f->from_us, p->from);
    if (f->to_us != TIME_NONE)
        time_text(f->to_us, p->to);
}

int reading_window(struct pg_pool *p, const struct reading_filter *f,
                   const struct pg_taker *taker)
{
    struct period t;
    const struct pg_call call = {
        .tenant_id = f->tenant_id,
        .sql = window_sql,
        .n = 5,
        .values = {t.tenant, t.meter, t.from, t.to, t.limit},
        .row = taker->row,
        .done = taker->done,
        .arg = taker->arg,
    };

    write_period(f, &t);
    snprintf(t.limit, sizeof t.limit, "%d", READING_WINDOW);
    return pg_call(p, &call);
}

void reading_window_read(const PGresult *res, int row, int64_t *last_us,
                         bool *more)
{
    *last_us = column_int(res, row, 0, TIME_NONE);
    *more = column_int(res, row, 1, 0) == READING_WINDOW;
}

int reading_list(struct pg_pool *p, const struct reading_filter *f,
                 const struct pg_taker *taker)
{
    struct period t;
    const struct pg_call call = {
        .tenant_id = f->tenant_id,
        .sql = list_sql,
        .n = 7,
        .values = {t.tenant, t.meter, t.from, t.to, f->obis, f->after_obis,
                   t.limit},
        .row = taker->row,
        .done = taker->done,
        .arg = taker->arg,
    };

    write_period(f, &t);
    snprintf(t.limit, sizeof t.limit, "%" PRId64, f->limit);
    return pg_call(p, &call);
}

void reading_read(const PGresult *res, int row, struct reading_row *ret)
{
    *ret = (struct reading_row){
        .obis = column_str(res, row, 0),
        .unit = column_str(res, row, 1),
        .kind = column_str(res, row, 2),
        .time_us = column_int(res, row, 3, TIME_NONE),
        .value = column_str(res, row, 4),
        .quality = column_int(res, row, 5, 0),
        .meter_time_us = column_int(res, row, 6, TIME_NONE),
        .received_us = column_int(res, row, 7, TIME_NONE),
        .uncertainty_ms = column_int(res, row, 8, 0),
        .revision = column_int(res, row, 9, 0),
        .frame_id = column_int(res, row, 10, 0),
    };
}
