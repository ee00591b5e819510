/*
 * reading.h - current readings of one meter as the API shows them. Read only.
 */
#pragma once

#include "schema/obis.h"
#include "server/store/column.h"

struct reading_filter {
    int32_t tenant_id;
    int64_t meter_id;
    int64_t from_us, to_us; /* TIME_NONE: open; from inclusive, to exclusive */
    const char *obis;       /* one register; NULL: all */
    const char *after_obis; /* NULL, or only what follows this register at
                               from_us, and all later */
    int64_t limit;
};

struct reading_row {
    struct str obis, unit, kind;
    struct str value;                            /* exact decimal */
    int64_t time_us, meter_time_us, received_us; /* TIME_NONE where NULL */
    int64_t quality, uncertainty_ms, revision, frame_id;
};

/* How far to read at once. Readings cannot be read in order without sorting
 * all that the filter lets through, captures can: so a long period is read in
 * windows of so many captures. One row: the time of the last capture (TIME_NONE
 * if none) and whether there may be captures behind it. */
enum { READING_WINDOW = 500 };
int reading_window(struct pg_pool *p, const struct reading_filter *f,
                   const struct pg_taker *taker);
void reading_window_read(const PGresult *res, int row, int64_t *last_us,
                         bool *more);

/* Ascending by time, then register; a register has one reading at a time.
 * ERR_FULL as pg_call. */
int reading_list(struct pg_pool *p, const struct reading_filter *f,
                 const struct pg_taker *taker);
void reading_read(const PGresult *res, int row, struct reading_row *ret);
