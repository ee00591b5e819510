/* kinds.c - see kinds.h. */
#include "server/downlink/kinds.h"
#include "codecs/registry.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/json.h"

#include <stdio.h>

enum { PERIOD_MOST_H = 744, PAYLOAD_MOST = 242, PORT_MOST = 223 };

static const char *const archives[] = {"hour", "day", "month", "event"};
enum { ARCHIVES = sizeof archives / sizeof *archives };

/* ---- arguments ---- */

static int take_time(const struct json *args, const char *name, int64_t *ret)
{
    struct stamp t;

    if (stamp_parse(json_str(json_get(args, name)), &t) < 0 || !t.has_zone)
        return ERR_FORMAT;
    *ret = t.us;
    return 0;
}

static int take_none(const struct json *args, struct command *c)
{
    (void)args;
    (void)c;
    return 0;
}

static int take_open(const struct json *args, struct command *c)
{
    (void)args;
    c->open = true;
    return 0;
}

static int take_archive(const struct json *args, struct command *c)
{
    struct str name = json_str(json_get(args, "archive"));
    int r = take_time(args, "from", &c->from_us);

    for (int i = 0; i < ARCHIVES; i++)
        if (str_is(name, archives[i]))
            c->archive = archives[i];
    if (r == 0)
        r = take_time(args, "to", &c->to_us);
    return r < 0 || c->archive ? r : ERR_FORMAT;
}

static int take_period(const struct json *args, struct command *c)
{
    int64_t h = 0;

    if (!json_int(json_get(args, "period_h"), &h) || h < 1 || h > PERIOD_MOST_H)
        return ERR_FORMAT;
    c->period_h = (int)h;
    return 0;
}

static int take_substitution(const struct json *args, struct command *c)
{
    int r = decimal_parse(json_str(json_get(args, "pressure_kpa")),
                          &c->pressure_kpa);

    if (r == 0)
        r = decimal_parse(json_str(json_get(args, "z")), &c->z);
    if (r == 0)
        r = decimal_parse(json_str(json_get(args, "w")), &c->w);
    return r;
}

static const struct kind {
    const char *name;
    enum command_op op;
    int (*take)(const struct json *args, struct command *c);
} kinds[] = {
    {"valve_open", OP_VALVE, take_open},
    {"valve_close", OP_VALVE, take_none},
    {"read_archive", OP_READ_ARCHIVE, take_archive},
    {"set_schedule", OP_SET_SCHEDULE, take_period},
    {"set_substitution", OP_SET_SUBSTITUTION, take_substitution},
    {"reboot", OP_REBOOT, take_none},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static int encode_raw(const struct json *args, struct encoded *ret,
                      bool *confirmed)
{
    struct str hex = json_str(json_get(args, "payload"));
    uint8_t *bytes = arena_alloc(ret->arena, PAYLOAD_MOST);
    int64_t port = 0;
    int n = bytes ? hex_decode(hex, bytes, PAYLOAD_MOST) : ERR_FULL;

    if (n <= 0)
        return n < 0 ? n : ERR_FORMAT;
    if (!json_int(json_get(args, "port"), &port) || port < 1 ||
        port > PORT_MOST)
        return ERR_RANGE;
    ret->port = (int)port;
    ret->payload = (struct str){(const char *)bytes, (size_t)n};
    *confirmed = json_bool(json_get(args, "confirmed"), true);
    return 0;
}

int kind_encode(struct str kind, struct str arguments, const char *id,
                const struct codec *codec, struct encoded *ret, bool *confirmed)
{
    struct command c = {.id = id, .from_us = TIME_NONE, .to_us = TIME_NONE};
    struct json_error why;
    struct json *args;
    int r =
        json_parse(ret->arena, arguments, (struct json_limits){0}, &args, &why);

    *confirmed = true;
    if (r < 0)
        return r;
    if (str_is(kind, "raw"))
        return encode_raw(args, ret, confirmed);
    for (int i = 0; i < KINDS; i++) {
        if (!str_is(kind, kinds[i].name))
            continue;
        c.op = kinds[i].op;
        r = kinds[i].take(args, &c);
        if (r == 0 && !(codec && codec->encode))
            r = ERR_UNSUPPORTED;
        return r < 0 ? r : codec->encode(&c, ret);
    }
    return ERR_UNKNOWN;
}

/* ---- what codecs can say ---- */

static bool says(const struct codec *codec, const char *kind, const char *args,
                 struct arena *a)
{
    struct encoded e = {.arena = a};
    bool confirmed;

    arena_reset(a);
    return kind_encode(str_of(kind), str_of(args), "c-1", codec, &e,
                       &confirmed) == 0;
}

/* The values of the one argument that the codec takes; how many. */
static int put_choices(struct buf *b, const struct codec *codec,
                       const char *kind, struct arena *a)
{
    char args[128];
    int n = 0;

    if (strcmp(kind, "set_schedule") == 0) {
        for (int h = 1; h <= PERIOD_MOST_H; h++) {
            snprintf(args, sizeof args, "{\"period_h\":%d}", h);
            if (says(codec, kind, args, a))
                buf_printf(b, "%s\"%d\"", n++ ? "," : "", h);
        }
        return n;
    }
    for (int i = 0; i < ARCHIVES; i++) {
        snprintf(args, sizeof args,
                 "{\"archive\":\"%s\",\"from\":\"2026-01-15T00:00:00Z\","
                 "\"to\":\"2026-01-16T00:00:00Z\"}",
                 archives[i]);
        if (says(codec, kind, args, a))
            buf_printf(b, "%s\"%s\"", n++ ? "," : "", archives[i]);
    }
    return n;
}

static void put_kinds(struct buf *rows, const struct codec *codec,
                      struct arena *a)
{
    for (int i = 0; i < KINDS; i++) {
        const char *kind = kinds[i].name;
        bool chosen = strcmp(kind, "read_archive") == 0 ||
                      strcmp(kind, "set_schedule") == 0;
        struct buf choices = {0};

        if (chosen ? put_choices(&choices, codec, kind, a) > 0
                   : says(codec, kind,
                          "{\"pressure_kpa\":\"101.325\",\"z\":\"1\","
                          "\"w\":\"0.95\"}",
                          a))
            buf_printf(rows, "%s[\"%s\",\"%s\",[%.*s]]", rows->n > 1 ? "," : "",
                       codec->name, kind, (int)choices.n,
                       choices.n ? (char *)choices.p : "");
        buf_done(&choices);
    }
}

void kinds_put(struct buf *names, struct buf *rows)
{
    struct arena *a = arena_new(0);

    buf_z(rows, "[");
    for (const struct codec *const *k = codec_list(); *k; k++) {
        buf_printf(names, "%s%s", k == codec_list() ? "{" : ",", (*k)->name);
        if ((*k)->encode)
            put_kinds(rows, *k, a);
    }
    buf_put(names, "}", 2); /* with its NUL */
    buf_put(rows, "]", 2);
    arena_free(a);
}
