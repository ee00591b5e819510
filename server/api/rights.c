/*
 * rights.c - their names.
 */
#include "server/api/rights.h"

static const char *const names[] = {
    "view",    "edit_meters", "register", "substitution", "valve",
    "command", "export",      "users",    "integrations", "keys",
    "codecs",  "audit",       "settings", "ingest",       "platform"};

enum { RIGHTS = sizeof names / sizeof *names };

const char *right_name(uint32_t right)
{
    for (int i = 0; i < RIGHTS; i++)
        if (right == 1u << i)
            return names[i];
    return NULL;
}

void rights_json(struct buf *b, uint32_t rights)
{
    const char *comma = "";

    buf_u8(b, '[');
    for (int i = 0; i < RIGHTS; i++) {
        if (!(rights & 1u << i))
            continue;
        buf_printf(b, "%s\"%s\"", comma, names[i]);
        comma = ",";
    }
    buf_u8(b, ']');
}
