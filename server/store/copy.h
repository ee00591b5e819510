/*
 * copy.h - PostgreSQL's binary COPY format (PostgreSQL 15 manual, COPY, "Binary
 * Format"): fields are a length and the type's send form, big-endian.
 */
#pragma once

#include "server/base/buf.h"
#include "server/base/hash.h"

void copy_header(struct buf *b);
void copy_trailer(struct buf *b);
void copy_row(struct buf *b, uint16_t fields);
void copy_null(struct buf *b);
void copy_int2(struct buf *b, int16_t v);
void copy_int4(struct buf *b, int32_t v);
void copy_int8(struct buf *b, int64_t v);
/* TIME_NONE is NULL. */
void copy_time(struct buf *b, int64_t utc_us);
/* Any bytes: what is no UTF-8 without NUL becomes '?'. An empty p is NULL. */
void copy_text(struct buf *b, struct str s);
void copy_bytes(struct buf *b, struct str s);
void copy_uuid(struct buf *b, struct hash128 h);
void copy_jsonb(struct buf *b, struct str json);
/* VALUE_NONE (INT64_MIN) becomes NULL. */
void copy_int8_array(struct buf *b, const int64_t *v, uint32_t n);
void copy_int4_array(struct buf *b, const uint32_t *v, uint32_t n);
