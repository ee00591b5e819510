/*
 * heo_json.h - inside the HEO-JSON codec: its command half.
 */
#pragma once

#include "codecs/codec.h"

/* One "cmd" object without line end. ERR_FORMAT: an id or archive that cannot
 * stand in it; ERR_RANGE: a time or period out of bounds; ERR_FULL. */
int heo_encode(const struct command *c, struct encoded *out);
