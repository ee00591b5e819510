/*
 * extras.h - members of a JSON document that no mapping knows, kept as Q_TEXT
 * measurements "name=value": what a meter sent is never dropped.
 */
#pragma once

#include "codecs/codec.h"
#include "server/base/json.h"

/* One value; nested ones become "name.member=..." and "name.0=...". Names over
 * 64 bytes are ERR_FORMAT. `name` may be empty for a value without one. */
int extras_add(struct decoded *d, uint32_t row, struct str name,
               const struct json *v);

/* A text, number or boolean as text; {NULL, 0} for null, arrays, objects. */
struct str extras_text(const struct json *v);
