/*
 * reader.h - records out of a directory of segments, damage included. Any
 * thread; holds nothing between calls, so that it needs no lock beside the
 * writer: below `until` nothing changes any more.
 */
#pragma once

#include "ingest/journal.h"

enum { DAMAGE_KEPT = 64 * 1024 }; /* most bytes shown of a damaged stretch */

/* What journal_read promises, of the journal in `dir`. */
int reader_read(int dir, int64_t segment_size, int64_t from, int64_t until,
                size_t max_bytes, uint32_t max_records,
                struct journal_chunk *chunk);

/* Offset behind the last valid record of a segment; SEGMENT_HEAD if it has
 * none. */
int reader_segment_end(int dir, int64_t segment_size, int64_t number,
                       int64_t *ret);
