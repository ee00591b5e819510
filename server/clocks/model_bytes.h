/*
 * model_bytes.h - a clock's model as the bytes of meter_clock.model.
 */
#pragma once

#include "server/base/buf.h"
#include "timesvc/evidence.h"

void model_write(const struct clock_model *m, struct buf *out);
/* Empty bytes are a clock of which nothing is known. ERR_SHORT, ERR_FORMAT:
 * not ours (a later version's): then too. */
int model_read(struct str bytes, struct clock_model *ret);
