/*
 * obis.h - OBIS codes A-B:C.D.E*F (IEC 62056-61). F = 255 means "current" and
 * is left out in text: "6-0:1.0.0"; a stored value is "6-0:1.0.0*1".
 */
#pragma once

#include "server/base/str.h"
#include <stdint.h>

struct obis {
    uint8_t a, b, c, d, e, f;
};

enum { OBIS_TEXT = 24 };
#define OBIS_NONE           ((struct obis){255, 255, 255, 255, 255, 255})
#define OBIS(a, b, c, d, e) ((struct obis){a, b, c, d, e, 255})

bool obis_is_none(struct obis o);
bool obis_eq(struct obis a, struct obis b);
/* Accepts "6-0:1.0.0", "6-0:1.0.0*255", "6.0.1.0.0.255". ERR_FORMAT. */
int obis_parse(struct str s, struct obis *ret);
char *obis_text(struct obis o, char out[OBIS_TEXT]);
