/*
 * row.h - a row of clock_read() as a clock_row, and what was found as one of
 * clock_write(): their columns and members stand here only.
 */
#pragma once

#include "server/base/arena.h"
#include "server/base/buf.h"
#include "server/clocks/judge.h"
#include "server/store/pg.h"

/* A column as a number; `none` where it is NULL. */
int64_t row_number(const PGresult *res, int row, int column, int64_t none);
/* A column of meter_clock.model; one that cannot be read begins anew. */
void row_model(const PGresult *res, int row, int column, struct clock_model *m);
/* The arena is only used inside. */
void row_read(const PGresult *res, int row, struct arena *arena,
              struct clock_row *ret);
/* One object; the list's comma before it where something is there already. */
void row_write(const struct clock_row *r, const struct clock_outcome *o,
               struct buf *out);
