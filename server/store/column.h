/*
 * column.h - reading a row's text columns, and who takes rows. Slices live as
 * long as the result, that is until the row function returns.
 */
#pragma once

#include "server/base/clock.h"
#include "server/store/pg.h"
#include <stdlib.h>

/* Where the rows and the end of a query go. */
struct pg_taker {
    pg_row_fn *row;
    pg_done_fn *done;
    void *arg;
};

/* Runs `sql` (static) with $1 the tenant and $2 the id. As pg_call. */
int column_get(struct pg_pool *p, const char *sql, int32_t tenant_id,
               int64_t id, const struct pg_taker *taker);

/* A timestamptz as int64 microseconds, exact. */
#define SQL_US(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

/* {NULL, 0} for SQL NULL. */
static inline struct str column_str(const PGresult *res, int row, int i)
{
    if (PQgetisnull(res, row, i))
        return (struct str){0};
    return (struct str){PQgetvalue(res, row, i),
                        (size_t)PQgetlength(res, row, i)};
}

static inline int64_t column_int(const PGresult *res, int row, int i,
                                 int64_t fallback)
{
    if (PQgetisnull(res, row, i))
        return fallback;
    return strtoll(PQgetvalue(res, row, i), NULL, 10);
}
