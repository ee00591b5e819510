/*
 * main.c - codec-host: started by headend with a socket on descriptor 3. Warms
 * up, closes the sandbox, then answers questions until the socket ends. Its
 * exit status tells why: 0 the other end is gone, or it is worn and wants to be
 * replaced; 2 it could not start.
 */
#include "codecs/host/engine.h"
#include "codecs/host/sandbox.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Makes the engine start its threads and touch its tables. */
static bool warm_up(struct engine *e, struct buf *text)
{
    struct wire_request q = {
        .op = WIRE_LOAD,
        .script = STR("function decodeUplink(i) { var a = []; for (var n = 0;"
                      " n < 1000; n++) a.push({ n: [n] }); return { data: {"
                      " t: i.recvTime, n: JSON.stringify(a).length, l:"
                      " (1.5).toLocaleString() } }; }"),
        .function = SCRIPT_DECODE_UPLINK,
        .time_ms = 0};

    if (engine_answer(e, &q, text).status != WIRE_LOADED)
        return false;
    q.op = WIRE_RUN;
    return engine_answer(e, &q, text).status == WIRE_OK;
}

static int fail(const char *what, int err)
{
    fprintf(stderr, "codec-host: %s: %s\n", what, strerror(-err));
    return 2;
}

static bool say(const struct wire_answer *a, struct buf *out)
{
    buf_clear(out);
    wire_put_answer(out, a);
    return wire_write(WIRE_FD, buf_view(out)) == 0;
}

static void serve(struct engine *e)
{
    struct buf in = {0}, out = {0}, text = {0};
    struct wire_answer a = {.status = WIRE_READY,
                            .text = STR("codec-host " HEADEND_VERSION)};
    struct wire_request q;

    while (say(&a, &out) && !engine_worn(e) &&
           wire_read(WIRE_FD, &in, NULL, NULL) > 0 &&
           wire_get_request(buf_view(&in), &q) == 0)
        a = engine_answer(e, &q, &text);
    buf_done(&text);
    buf_done(&out);
    buf_done(&in);
}

int main(void)
{
    struct buf text = {0};
    int err = sandbox_limits();

    if (err < 0)
        return fail("limits", err);
    struct engine *e = engine_new();
    if (!e || !warm_up(e, &text))
        return fail("JavaScriptCore does not start", -1);
    buf_done(&text);
    err = sandbox_close();
    if (err < 0)
        return fail("seccomp", err);
    serve(e);
    _exit(0); /* the engine's threads may be at work */
}
