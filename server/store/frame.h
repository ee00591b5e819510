/*
 * frame.h - frames and their fates as the API shows them. Read only.
 */
#pragma once

#include "schema/frame.h"
#include "server/store/column.h"

struct frame_filter {
    int32_t tenant_id;
    int64_t from_us, to_us;       /* of arrival; TIME_NONE: open */
    int64_t meter_id;             /* 0: any */
    int fate;                     /* enum fate; 0: any */
    const char *reason;           /* NULL: any */
    int64_t before_us, before_id; /* TIME_NONE, or only what is older */
    int64_t limit;
};

struct frame_row {
    int64_t frame_id, received_us, frame_us;
    int64_t source, fate, size;
    struct str reason, codec, peer;
    /* Decimal text as stored, {NULL, 0} where there is none. */
    struct str integration_id, meter_id, codec_version, counter, port, rssi_dbm,
        snr_tenths, duplicate_of;
    /* Of frame_get alone: */
    struct str detail, extras; /* extras is JSON */
    struct str payload;        /* hex */
    int64_t frames;            /* how many the row stands for */
    int64_t captures;
};

/* Newest first. ERR_FULL as pg_call. */
int frame_list(struct pg_pool *p, const struct frame_filter *f,
               const struct pg_taker *taker);
/* One row or none. */
int frame_get(struct pg_pool *p, int32_t tenant_id, int64_t frame_id,
              const struct pg_taker *taker);
void frame_read(const PGresult *res, int row, struct frame_row *ret);
