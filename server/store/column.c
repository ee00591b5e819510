/*
 * column.c - the query that all nouns share: one thing of a tenant by its id.
 */
#include "server/store/column.h"

#include <inttypes.h>
#include <stdio.h>

int column_get(struct pg_pool *p, const char *sql, int32_t tenant_id,
               int64_t id, const struct pg_taker *taker)
{
    char tenant[16], number[24];
    const struct pg_call call = {.tenant_id = tenant_id,
                                 .sql = sql,
                                 .n = 2,
                                 .values = {tenant, number},
                                 .row = taker->row,
                                 .done = taker->done,
                                 .arg = taker->arg};

    snprintf(tenant, sizeof tenant, "%d", tenant_id);
    snprintf(number, sizeof number, "%" PRId64, id);
    return pg_call(p, &call);
}
