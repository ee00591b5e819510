/*
 * quarantine.h - frames that could not become readings, as the API shows them.
 * Read only; replaying them is the pipeline's.
 */
#pragma once

#include "server/store/column.h"

/* `serial` and `device` (a DevEUI) also find what an unknown meter called
 * itself; `codec` is that of its meter's model, `source` a number. */
enum quarantine_filters {
    QUARANTINE_REASON,
    QUARANTINE_FROM,
    QUARANTINE_TO,
    QUARANTINE_METER,
    QUARANTINE_SERIAL,
    QUARANTINE_DEVICE,
    QUARANTINE_CODEC,
    QUARANTINE_SOURCE,
    QUARANTINE_INTEGRATION,
    QUARANTINE_FILTERS
};

struct quarantine_filter {
    int32_t tenant_id;
    const char *by[QUARANTINE_FILTERS]; /* as text; NULL: any */
    int64_t before_us, before_id;       /* TIME_NONE, or only what is older */
    int64_t limit;
};

struct quarantine_row {
    int64_t frame_id, received_us;
    struct str reason, detail;
    struct str meter_id, serial; /* none where the meter is not known */
    /* Of quarantine_get alone: */
    struct str codec;  /* that refused it; none where no meter is known */
    struct str record; /* as journaled, in PostgreSQL's hex form: \x... */
};

/* Rows of (reason, frames), most frames first, whatever the filter's reason.
 * ERR_FULL as pg_call. */
int quarantine_reasons(struct pg_pool *p, const struct quarantine_filter *f,
                       const struct pg_taker *taker);
/* Newest first. */
int quarantine_list(struct pg_pool *p, const struct quarantine_filter *f,
                    const struct pg_taker *taker);
/* One row or none. */
int quarantine_get(struct pg_pool *p, int32_t tenant_id, int64_t frame_id,
                   const struct pg_taker *taker);
void quarantine_read(const PGresult *res, int row, struct quarantine_row *ret);
