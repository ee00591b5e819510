/*
 * table.h - a query result for a person (aligned columns) or a program (JSON).
 */
#pragma once

#include "server/base/buf.h"
#include <libpq-fe.h>

void table_print(const PGresult *r);
/* One row as a JSON object: numbers and booleans as such, by column type. */
void table_json_row(struct buf *o, const PGresult *r, int row);
/* "name":[...] */
void table_json_rows(struct buf *o, const char *name, const PGresult *r);
/* {"name":[...]} and a newline, on stdout. */
void table_json(const PGresult *r, const char *name);
