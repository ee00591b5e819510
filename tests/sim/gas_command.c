/* gas_command.c - see gas_command.h. */
#include "gas_command.h"

static bool take_time(const struct json *c, const char *name, int64_t *ret)
{
    struct stamp t;

    if (stamp_parse(json_str(json_get(c, name)), &t) < 0 || !t.has_zone)
        return false;
    *ret = t.us;
    return true;
}

static const char *valve(struct gas_meter *m, const struct json *c, int64_t now,
                         struct obeyed *ret)
{
    struct str pos = json_str(json_get(c, "pos"));
    bool closed = str_is(pos, "close");

    (void)now;
    if (!closed && !str_is(pos, "open"))
        return "bad_position";
    ret->moved = closed != m->valve_closed;
    m->valve_closed = closed;
    return NULL;
}

static const char *set_clock(struct gas_meter *m, const struct json *c,
                             int64_t now, struct obeyed *ret)
{
    int64_t told;

    (void)ret;
    if (!take_time(c, "now", &told))
        return "bad_time";
    m->clock.step_us += told - now;
    return NULL;
}

static const char *read_archive(struct gas_meter *m, const struct json *c,
                                int64_t now, struct obeyed *ret)
{
    (void)m;
    (void)now;
    if (!str_is(json_str(json_get(c, "kind")), "hour"))
        return "no_archive";
    if (!take_time(c, "from", &ret->from_us) ||
        !take_time(c, "to", &ret->to_us))
        return "bad_time";
    return NULL;
}

/* A contact slot is ours (set_schedule of our own profile); the period of its
 * calls is the simulator's. */
static const char *set_schedule(struct gas_meter *m, const struct json *c,
                                int64_t now, struct obeyed *ret)
{
    int64_t at_s, window_s;

    (void)m;
    (void)now;
    if (!json_get(c, "at_s"))
        return NULL;
    if (!json_int(json_get(c, "at_s"), &at_s) ||
        !json_int(json_get(c, "window_s"), &window_s) || at_s < 0 ||
        window_s <= at_s || window_s > 86400)
        return "bad_slot";
    ret->at_s = at_s;
    ret->window_s = window_s;
    return NULL;
}

/* Values that it would convert with it does not have. */
static const char *agree(struct gas_meter *m, const struct json *c, int64_t now,
                         struct obeyed *ret)
{
    (void)m;
    (void)c;
    (void)now;
    (void)ret;
    return NULL;
}

static const char *reboot(struct gas_meter *m, const struct json *c,
                          int64_t now, struct obeyed *ret)
{
    ret->restarts = true;
    return agree(m, c, now, ret);
}

void gas_obey(struct gas_meter *m, const struct json *command, int64_t now_us,
              struct obeyed *ret)
{
    static const struct {
        const char *op;
        const char *(*obey)(struct gas_meter *m, const struct json *c,
                            int64_t now, struct obeyed *ret);
    } ops[] = {{"valve", valve},
               {"set_clock", set_clock},
               {"read_archive", read_archive},
               {"set_schedule", set_schedule},
               {"set_subst", agree},
               {"reboot", reboot}};
    struct str op = json_str(json_get(command, "op"));

    *ret = (struct obeyed){.err = "unsupported", .from_us = TIME_NONE};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (str_is(op, ops[i].op))
            ret->err = ops[i].obey(m, command, now_us, ret);
}
