/*
 * gas_command.h - what a gas meter does when it is told to (HEO-JSON "cmd").
 */
#pragma once

#include "fleet.h"
#include "server/base/json.h"

struct obeyed {
    const char *err;        /* why not; NULL: done */
    bool moved;             /* its valve has */
    bool restarts;          /* the line drops */
    int64_t at_s, window_s; /* when to dial in; window_s 0: as before */
    int64_t from_us, to_us; /* hours of its archive; TIME_NONE: not asked */
};
/* Changes *m. `now_us` is the meter's own time. A command that comes again
 * finds its work done. */
void gas_obey(struct gas_meter *m, const struct json *command, int64_t now_us,
              struct obeyed *ret);
