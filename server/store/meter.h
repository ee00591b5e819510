/*
 * meter.h - meters as the API shows them. Read only.
 */
#pragma once

#include "server/store/column.h"

struct meter_filter {
    int32_t tenant_id;
    int64_t after;      /* meter ids above this */
    const char *serial; /* NULL: any */
    int64_t limit;
};

struct meter_row {
    int64_t meter_id;
    struct str serial, model, medium, codec;
    struct str dev_eui;  /* hex; none for a TCP meter */
    struct str timezone; /* its own, else the tenant's */
    struct str state;
    int64_t last_frame_us; /* arrival of its newest reading; TIME_NONE */
};

/* Ascending by meter id. ERR_FULL as pg_call. */
int meter_list(struct pg_pool *p, const struct meter_filter *f,
               const struct pg_taker *taker);
/* One row or none. */
int meter_get(struct pg_pool *p, int32_t tenant_id, int64_t meter_id,
              const struct pg_taker *taker);
void meter_read(const PGresult *res, int row, struct meter_row *ret);
