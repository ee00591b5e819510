/*
 * meter.h - meters as the API shows them, and the columns of their CSV.
 */
#pragma once

#include "server/store/column.h"

/* What meters_take() of migrations/ takes of a file (csv.h). */
enum { METER_COLUMNS = 13 };
extern const char *const meter_columns[METER_COLUMNS];

struct meter_row {
    int64_t meter_id;
    struct str serial, model, medium, codec;
    struct str dev_eui;  /* hex; none for a TCP meter */
    struct str timezone; /* its own, else the tenant's */
    struct str state;
    int64_t last_frame_us; /* arrival of its newest reading; TIME_NONE */
};

/* One row or none. */
int meter_get(struct pg_pool *p, int32_t tenant_id, int64_t meter_id,
              const struct pg_taker *taker);
void meter_read(const PGresult *res, int row, struct meter_row *ret);
