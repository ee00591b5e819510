/*
 * gap.h - meters of which frames are missing, as their counters show
 * (migrations/0008_counters.sql). Read only.
 */
#pragma once

#include "server/store/column.h"

struct gap_filter {
    int32_t tenant_id;
    int64_t after; /* meter ids above this */
    int64_t limit;
};

struct gap_row {
    int64_t meter_id;
    struct str serial, dev_eui;
    int64_t received, missing; /* frames; missing: and did not come late */
    int64_t late;              /* missing for a while */
    int64_t last_counter, last_us;
    struct str open; /* JSON: the newest missing ones, [[first, last], ...] */
};

/* Ascending by meter id, those with missing frames only. ERR_FULL as pg_call.
 */
int gap_list(struct pg_pool *p, const struct gap_filter *f,
             const struct pg_taker *taker);
void gap_read(const PGresult *res, int row, struct gap_row *ret);
