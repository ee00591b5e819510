/*
 * decode_cmd.c - headend decode: bytes of a meter to what they mean, without
 * server or database. HEX (or text) in the arguments gives a table for a
 * person; --jsonl answers each line of standard input with one line:
 *
 *   {"name","codec","hex" or "text","key","auth_key","port"}
 *   {"name","readings":[...],"events":[...],"identity":{...},"error":null}
 *
 * With "codec":"ts013","script":PATH the answer holds the script's own result
 * as "object", "errors" and "warnings", and readings where "mapping":PATH says
 * what its fields mean. Further members: "recvTime", "variables", "normalize",
 * "function":"decodeDownlink"; "downlink":{...} is encoded.
 *
 * Values are exact decimals as strings, in canonical units. What a broken
 * telegram held before it broke is shown together with the error. Full wireless
 * frames teach the record lists that compact frames of later lines need.
 */
#include "server/base/buf.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/json.h"
#include "server/cli/decode.h"
#include <stdio.h>
#include <stdlib.h>

enum { KEY = DECODE_KEY, FORMATS_MAX = 256, ARENA_LIMIT = 64 << 20 };

const struct cli_arg decode_args[] = {
    {"codec", "NAME", false,
     "see `headend codecs list`; default: auto, which recognises the kind"},
    {"key", "HEX", false, "16 bytes, for encrypted telegrams"},
    {"auth-key", "HEX", false,
     "16 bytes, for telegrams that are authenticated"
     " with a second key (DLMS)"},
    {"port", "N", false, "LoRaWAN FPort"},
    {"script", "FILE", false,
     "payload codec in JavaScript (LoRa Alliance TS013), with --codec ts013"},
    {"mapping", "FILE", false,
     "which of its fields are registers and events (codecs/script/README.md)"},
    {"time", "TIME", false, "what the script gets as recvTime"},
    {"variables", "JSON", false, "what it gets as variables"},
    {"normalize", NULL, false, "show what its normalizeUplink makes, too"},
    {"downlink", "JSON", false, "encode this with its encodeDownlink; no HEX"},
    {"decode-downlink", NULL, false, "HEX is a downlink"},
    {"text", NULL, false, "the argument is the payload itself, not hex"},
    {"jsonl", NULL, false, "JSON lines from standard input to standard output"},
    {0}};

/* Record lists in the order they were learnt, for the life of the command. */
struct lessons {
    struct arena *arena;
    struct str formats[FORMATS_MAX];
    uint32_t n;
};

struct run {
    struct cli *cli;
    struct arena *arena; /* of one job */
    struct lessons *lessons;
    struct script_files *files;
};

static void learn(struct lessons *l, struct str format)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (str_eq(l->formats[i], format))
            return;
    }
    struct str copy = {0};
    if (format.n && l->n < FORMATS_MAX)
        copy = arena_str(l->arena, format);
    if (copy.p)
        l->formats[l->n++] = copy;
}

void decode_refuse(struct job *j, int err, const char *text)
{
    j->err = err;
    j->error = str_of(text);
}

static void choose(struct job *j, struct str codec)
{
    bool automatic = codec.n == 0 || str_is(codec, "auto");

    j->codec = automatic ? codec_recognise(j->in.payload, j->in.port)
                         : codec_find(codec);
    if (!j->codec)
        decode_refuse(j, ERR_UNKNOWN,
                      "no such codec; `headend codecs list` shows them");
}

static void take_hex(struct job *j, struct str hex)
{
    uint8_t *p = arena_alloc(j->arena, hex.n / 2 + 1);
    int n = p ? hex_decode(hex, p, hex.n / 2 + 1) : ERR_FULL;

    if (n < 0)
        decode_refuse(j, n, "the payload is not hexadecimal");
    else
        j->in.payload = (struct str){(char *)p, (size_t)n};
}

/* *ret stays NULL when there is none. */
static void take_key(struct job *j, struct str hex, uint8_t bytes[KEY],
                     const uint8_t **ret)
{
    if (hex.n == 0)
        return;
    if (hex_decode(hex, bytes, KEY) == KEY)
        *ret = bytes;
    else
        decode_refuse(j, ERR_FORMAT, "a key is not 16 bytes of hexadecimal");
}

static void decode_with(struct job *j, struct str codec, struct lessons *l)
{
    if (!j->error.n)
        choose(j, codec);
    if (j->error.n)
        return;
    j->in.formats = l->formats;
    j->in.n_formats = l->n;
    j->err = codec_decode(j->codec, &j->in, j->arena, &j->d);
    if (j->err < 0)
        j->error = arena_printf(j->arena, "%s, at byte %u (%s)", j->d.error,
                                j->d.error_offset, err_name(j->err));
    if (j->err < 0 && !j->error.n)
        decode_refuse(j, j->err, err_text(j->err));
    if (j->err == 0)
        learn(l, j->d.format);
}

static struct str json_of(struct arena *a, const struct json *v)
{
    struct buf b = {0};
    struct str s = {0};

    if (v) {
        json_write(&b, v);
        s = arena_str(a, buf_view(&b));
    }
    buf_done(&b);
    return s;
}

static void script_line(struct run *k, struct job *j, const struct json *ask)
{
    struct script_ask q = {
        .script = json_str(json_get(ask, "script")),
        .mapping = json_str(json_get(ask, "mapping")),
        .function =
            str_is(json_str(json_get(ask, "function")), "decodeDownlink")
                ? SCRIPT_DECODE_DOWNLINK
                : SCRIPT_DECODE_UPLINK,
        .port = j->in.port,
        .input = j->in.payload,
        .time = json_str(json_get(ask, "recvTime")),
        .vars = json_of(j->arena, json_get(ask, "variables")),
        .normalize = json_bool(json_get(ask, "normalize"), false)};
    const struct json *downlink = json_get(ask, "downlink");

    if (downlink) {
        q.function = SCRIPT_ENCODE_DOWNLINK;
        q.input = json_of(j->arena, downlink);
    }
    decode_script(k->files, j, &q);
}

static void answer_line(struct run *k, struct str line, struct buf *o)
{
    struct arena *a = k->arena;
    struct job j = {.arena = a, .d = {.version = -1, .device_type = -1}};
    struct json_error why;
    struct json *ask = NULL;
    int64_t port = 0;

    if (json_parse(a, line, (struct json_limits){0}, &ask, &why) < 0) {
        decode_refuse(&j, ERR_FORMAT, why.text);
        decode_put_answer(o, STR(""), &j);
        return;
    }
    struct str hex = json_str(json_get(ask, "hex"));
    take_key(&j, json_str(json_get(ask, "key")), j.key, &j.in.key);
    take_key(&j, json_str(json_get(ask, "auth_key")), j.auth_key,
             &j.in.auth_key);
    if (hex.n)
        take_hex(&j, hex);
    else
        j.in.payload = json_str(json_get(ask, "text"));
    if (json_int(json_get(ask, "port"), &port) && port >= 0 && port <= 255)
        j.in.port = (int)port;
    struct str codec = json_str(json_get(ask, "codec"));
    if (str_is(codec, "ts013"))
        script_line(k, &j, ask);
    else
        decode_with(&j, codec, k->lessons);
    decode_put_answer(o, json_str(json_get(ask, "name")), &j);
}

static int answer_lines(struct run *k)
{
    struct buf o = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct str text = str_trim((struct str){line, (size_t)n});
        if (text.n == 0)
            continue;
        arena_reset(k->arena);
        buf_clear(&o);
        answer_line(k, text, &o);
        if (fwrite(o.p, 1, o.n, stdout) != o.n || fflush(stdout) != 0)
            break;
    }
    buf_done(&o);
    free(line);
    return ferror(stdin) || ferror(stdout) ? cli_fail("standard input or output"
                                                      " failed")
                                           : 0;
}

/* --codec ts013 --script FILE ... */
static void show_script(struct run *k, struct job *j)
{
    const struct cli *c = k->cli;
    const char *downlink = cli_get(c, decode_args, "downlink");
    struct script_ask q = {
        .script = str_of(cli_get(c, decode_args, "script")),
        .mapping = str_of(cli_get(c, decode_args, "mapping")),
        .port = j->in.port,
        .input = downlink ? str_of(downlink) : j->in.payload,
        .time = str_of(cli_get(c, decode_args, "time")),
        .vars = str_of(cli_get(c, decode_args, "variables")),
        .normalize = cli_get(c, decode_args, "normalize") != NULL,
        .function = downlink ? SCRIPT_ENCODE_DOWNLINK
                    : cli_get(c, decode_args, "decode-downlink")
                        ? SCRIPT_DECODE_DOWNLINK
                        : SCRIPT_DECODE_UPLINK};
    struct json_error why;
    struct json *parsed;

    q.extras = !downlink;
    if (downlink && json_parse(j->arena, q.input, (struct json_limits){0},
                               &parsed, &why) < 0)
        decode_refuse(j, ERR_FORMAT, "--downlink is not JSON");
    if (q.vars.n && json_parse(j->arena, q.vars, (struct json_limits){0},
                               &parsed, &why) < 0)
        decode_refuse(j, ERR_FORMAT, "--variables is not JSON");
    decode_script(k->files, j, &q);
}

static int show_one(struct run *k)
{
    struct cli *c = k->cli;
    struct job j = {.arena = k->arena, .d = {.version = -1, .device_type = -1}};
    const char *key = cli_get(c, decode_args, "key");
    const char *auth_key = cli_get(c, decode_args, "auth-key");
    const char *codec = cli_get(c, decode_args, "codec");
    const char *port = cli_get(c, decode_args, "port");
    char *end = NULL;

    if (port) {
        j.in.port = (int)strtol(port, &end, 10);
        if (!*port || *end || j.in.port < 0 || j.in.port > 255)
            return cli_fail("--port %s: a number from 0 to 255", port);
    }
    take_key(&j, str_of(key), j.key, &j.in.key);
    take_key(&j, str_of(auth_key), j.auth_key, &j.in.auth_key);
    if (cli_get(c, decode_args, "text"))
        j.in.payload = str_of(c->free[0]);
    else
        take_hex(&j, str_of(c->free[0]));
    if (str_is(str_of(codec), "ts013") ||
        (!codec && cli_get(c, decode_args, "script")))
        show_script(k, &j);
    else
        decode_with(&j, str_of(codec), k->lessons);
    return decode_print_table(&j);
}

int cmd_decode(struct cli *c)
{
    struct lessons l = {.arena = arena_new(0)};
    struct run k = {.cli = c,
                    .arena = arena_new(ARENA_LIMIT),
                    .lessons = &l,
                    .files = script_files_new(&c->settings)};
    int ways = (cli_get(c, decode_args, "jsonl") != NULL) + (c->n_free > 0) +
               (cli_get(c, decode_args, "downlink") != NULL);
    int status = 2;

    if (ways != 1)
        cli_fail("either HEX, --downlink or --jsonl; see `headend help"
                 " decode`");
    else
        status =
            cli_get(c, decode_args, "jsonl") ? answer_lines(&k) : show_one(&k);
    script_files_free(k.files);
    arena_free(l.arena);
    arena_free(k.arena);
    return status;
}
