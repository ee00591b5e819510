/*
 * rights.h - what somebody may do: independent bits, not levels. The order is
 * that of right_list() in migrations/0012_people.sql.
 */
#pragma once

#include "server/base/buf.h"

enum right {
    RIGHT_VIEW = 1 << 0,         /* meters, readings, frames, events */
    RIGHT_EDIT_METERS = 1 << 1,  /* names, places, groups, zones */
    RIGHT_REGISTER = 1 << 2,     /* register, install, replace meters */
    RIGHT_SUBSTITUTION = 1 << 3, /* set substitution values */
    RIGHT_VALVE = 1 << 4,        /* valves and relays */
    RIGHT_COMMAND = 1 << 5,      /* other commands to meters */
    RIGHT_EXPORT = 1 << 6,       /* billing exports and reports */
    RIGHT_USERS = 1 << 7,        /* accounts, roles, API keys */
    RIGHT_INTEGRATIONS = 1 << 8, /* brokers and listeners */
    RIGHT_KEYS = 1 << 9,         /* meter keys; to see one is critical */
    RIGHT_CODECS = 1 << 10,      /* codecs and mappings */
    RIGHT_AUDIT = 1 << 11,       /* read the audit trail */
    RIGHT_SETTINGS = 1 << 12,    /* the tenant's own settings */
    RIGHT_INGEST = 1 << 13,      /* bring frames by HTTP */
    RIGHT_PLATFORM = 1 << 14,    /* tenants, quotas; members of tenant 0 */
};

/* "view", "edit_meters" ...; NULL for no single right. */
const char *right_name(uint32_t right);
/* ["view","export"] */
void rights_json(struct buf *b, uint32_t rights);
