/*
 * heo_command.c - commands to a HEO meter as HEO-JSON "cmd" objects, one line
 * each; the session adds the line feed.
 */
#include "codecs/heo_json.h"
#include "server/base/err.h"

enum { ID_MAX = 64, PERIOD_MAX_H = 24 * 31 };

/* Correlation ids are ours: no character of them needs escaping in JSON. */
static bool id_ok(const char *id)
{
    size_t n = id ? strlen(id) : 0;

    return n > 0 && n <= ID_MAX &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                      "0123456789._:-") == n;
}

static int args_read_archive(const struct command *c, struct arena *a,
                             struct str *ret)
{
    static const char *const kinds[] = {"hour", "day", "month", "event"};
    char from[TIME_TEXT], to[TIME_TEXT];

    if (c->from_us == TIME_NONE || c->to_us == TIME_NONE ||
        c->from_us > c->to_us)
        return ERR_RANGE;
    for (int i = 0; c->archive && i < 4; i++) {
        if (strcmp(c->archive, kinds[i]) != 0)
            continue;
        *ret = arena_printf(a, ",\"kind\":\"%s\",\"from\":\"%s\",\"to\":\"%s\"",
                            kinds[i], time_text(c->from_us, from),
                            time_text(c->to_us, to));
        return 0;
    }
    return ERR_FORMAT;
}

static int args_set_clock(const struct command *c, struct arena *a,
                          struct str *ret)
{
    char now[TIME_TEXT];

    if (c->from_us == TIME_NONE)
        return ERR_RANGE;
    *ret = arena_printf(a, ",\"now\":\"%s\"", time_text(c->from_us, now));
    return 0;
}

static int args_set_subst(const struct command *c, struct arena *a,
                          struct str *ret)
{
    char p[DECIMAL_TEXT], z[DECIMAL_TEXT], w[DECIMAL_TEXT];

    *ret = arena_printf(a, ",\"p_kpa\":%s,\"z\":%s,\"w\":%s",
                        decimal_text(c->pressure_kpa, p), decimal_text(c->z, z),
                        decimal_text(c->w, w));
    return 0;
}

static int args_valve(const struct command *c, struct arena *a, struct str *ret)
{
    *ret = arena_printf(a, ",\"pos\":\"%s\"", c->open ? "open" : "close");
    return 0;
}

static int args_set_schedule(const struct command *c, struct arena *a,
                             struct str *ret)
{
    if (c->period_h < 1 || c->period_h > PERIOD_MAX_H)
        return ERR_RANGE;
    *ret = arena_printf(a, ",\"period_h\":%d", c->period_h);
    return 0;
}

static int args_none(const struct command *c, struct arena *a, struct str *ret)
{
    (void)c;
    *ret = arena_str(a, STR(""));
    return 0;
}

static const struct op {
    const char *name;
    int (*args)(const struct command *c, struct arena *a, struct str *ret);
} ops[] = {
    [OP_READ_ARCHIVE] = {"read_archive", args_read_archive},
    [OP_SET_CLOCK] = {"set_clock", args_set_clock},
    [OP_SET_SUBSTITUTION] = {"set_subst", args_set_subst},
    [OP_VALVE] = {"valve", args_valve},
    [OP_SET_SCHEDULE] = {"set_schedule", args_set_schedule},
    [OP_REBOOT] = {"reboot", args_none},
};

int heo_encode(const struct command *c, struct encoded *out)
{
    struct str args = {0}, text;

    if ((unsigned)c->op >= sizeof(ops) / sizeof(*ops))
        return ERR_UNSUPPORTED;
    if (!id_ok(c->id))
        return ERR_FORMAT;
    int r = ops[c->op].args(c, out->arena, &args);
    if (r < 0)
        return r;
    text = arena_printf(out->arena,
                        "{\"t\":\"cmd\",\"id\":\"%s\",\"op\":\"%s\"%.*s}",
                        c->id, ops[c->op].name, STR_ARGS(args));
    if (!args.p || !text.p)
        return ERR_FULL;
    out->port = 0;
    out->payload = text;
    return 0;
}
