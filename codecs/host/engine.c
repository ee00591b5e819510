/*
 * engine.c - one question: context_open -> the script -> lookup -> run. A fresh
 * context for every question keeps decoding pure: published scripts leave
 * counters and half-filled objects in globals. The compiled script is kept.
 */
#include "codecs/host/engine.h"
#include "codecs/host/jsc.h"
#include "codecs/host/scripts.h"
#include "server/base/mem.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 10, KEEP_MIB = ENGINE_MEMORY_MIB * 5 / 8 };

struct kept {
    struct hash128 key;
    JSScriptRef script; /* NULL: a free place */
    /* Which of its functions need module, exports, require. */
    bool node[SCRIPT_FUNCTIONS];
    uint64_t used;
};

struct engine {
    JSContextGroupRef group;
    JSScriptRef prelude, shims, lookup;
    struct kept kept[ENGINE_SCRIPTS];
    uint64_t uses;
    int statm; /* /proc/self/statm, opened before the sandbox closed */
    int64_t began_us;
    enum wire_status verdict; /* WIRE_OK until a limit was passed */
};

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static long resident_mib(const struct engine *e)
{
    char text[128] = "";
    long pages = 0;

    if (pread(e->statm, text, sizeof text - 1, 0) > 0)
        sscanf(text, "%*d %ld", &pages);
    return pages * (sysconf(_SC_PAGESIZE) / 1024) / 1024;
}

/* Asked by JSC every POLL_MS of computing; has to arm itself again. */
static bool over_limit(JSContextRef c, void *arg)
{
    struct engine *e = arg;

    (void)c;
    if (resident_mib(e) > ENGINE_MEMORY_MIB)
        e->verdict = WIRE_MEMORY;
    else if (cpu_us() - e->began_us >= ENGINE_TIME_MS * 1000)
        e->verdict = WIRE_TIME;
    else
        JSContextGroupSetExecutionTimeLimit(e->group, POLL_MS / 1000.0,
                                            over_limit, e);
    return e->verdict != WIRE_OK;
}

/* ---- texts ---- */

static JSStringRef js_text(struct str s)
{
    JSStringRef r;
    char *z = mem_strndup(s.p, s.n);

    r = JSStringCreateWithUTF8CString(z);
    free(z);
    return r;
}

static JSValueRef js_value(JSContextRef c, struct str s)
{
    JSStringRef text = js_text(s);
    JSValueRef v = JSValueMakeString(c, text);

    JSStringRelease(text);
    return v;
}

/* Of a value that is a string; false when it is too long. */
static bool take_text(JSContextRef c, JSValueRef v, struct buf *out)
{
    JSStringRef s = JSValueToStringCopy(c, v, NULL);
    bool fits = s && JSStringGetLength(s) <= SCRIPT_RESULT_MAX;

    buf_clear(out);
    if (fits) {
        size_t room = JSStringGetMaximumUTF8CStringSize(s);
        size_t n = JSStringGetUTF8CString(s, (char *)buf_room(out, room), room);
        out->n = n ? n - 1 : 0;
        fits = out->n <= SCRIPT_RESULT_MAX;
    }
    if (s)
        JSStringRelease(s);
    return fits;
}

static JSObjectRef member(JSContextRef c, JSObjectRef o, const char *name)
{
    JSStringRef s = JSStringCreateWithUTF8CString(name);
    JSValueRef v = JSObjectGetProperty(c, o, s, NULL);

    JSStringRelease(s);
    return v && JSValueIsObject(c, v) ? (JSObjectRef)v : NULL;
}

/* ---- scripts ---- */

static JSScriptRef compile(JSContextGroupRef group, struct str source,
                           struct buf *error)
{
    JSStringRef text = js_text(source), url = js_text(STR("codec")),
                message = NULL;
    int line = 0;
    JSScriptRef s =
        JSScriptCreateFromString(group, url, 1, text, &message, &line);

    buf_clear(error);
    if (!s && message) {
        char why[256] = "";
        JSStringGetUTF8CString(message, why, sizeof why);
        buf_printf(error, "%s, line %d", why, line);
    }
    if (message)
        JSStringRelease(message);
    JSStringRelease(url);
    JSStringRelease(text);
    return s;
}

static struct kept *find(struct engine *e, const struct hash128 *key)
{
    for (size_t i = 0; i < ENGINE_SCRIPTS; i++) {
        struct kept *k = &e->kept[i];
        if (k->script && memcmp(&k->key, key, sizeof *key) == 0) {
            k->used = ++e->uses;
            return k;
        }
    }
    return NULL;
}

static struct wire_answer load(struct engine *e, const struct wire_request *q,
                               struct buf *text)
{
    struct kept *place = &e->kept[0];
    struct buf own = {0}, plain = {0};
    struct str source = scripts_text(q->script, &own);
    JSScriptRef s = compile(e->group, source, text);

    if (!s && scripts_is_module(source)) {
        scripts_from_module(source, &plain);
        s = compile(e->group, buf_view(&plain), text);
    }
    buf_done(&plain);
    buf_done(&own);
    if (!s)
        return (struct wire_answer){.status = WIRE_SYNTAX,
                                    .text = buf_view(text)};
    for (size_t i = 0; i < ENGINE_SCRIPTS; i++)
        if (e->kept[i].used < place->used)
            place = &e->kept[i];
    if (place->script)
        JSScriptRelease(place->script);
    *place = (struct kept){.key = q->key, .script = s, .used = ++e->uses};
    return (struct wire_answer){.status = WIRE_LOADED};
}

/* ---- a run ---- */

struct run {
    JSGlobalContextRef c;
    JSObjectRef prelude; /* { open, run, describe } */
    JSValueRef own;      /* what the script left: lookup.js */
    JSValueRef thrown;
};

static JSValueRef call(struct run *r, const char *name, size_t n,
                       const JSValueRef args[])
{
    JSObjectRef f = member(r->c, r->prelude, name);

    r->thrown = NULL;
    return f ? JSObjectCallAsFunction(r->c, f, NULL, n, args, &r->thrown)
             : NULL;
}

static bool context_open(struct engine *e, struct run *r, bool node,
                         int64_t time_ms)
{
    double now =
        time_ms == INT64_MIN ? (double)__builtin_nan("") : (double)time_ms;

    r->c = JSGlobalContextCreateInGroup(e->group, NULL);
    JSValueRef p = JSScriptEvaluate(r->c, e->prelude, NULL, NULL);
    JSValueRef shims = JSScriptEvaluate(r->c, e->shims, NULL, NULL);
    if (!p || !shims || !JSValueIsObject(r->c, p))
        return false;
    r->prelude = (JSObjectRef)p;
    JSValueRef args[] = {JSValueMakeNumber(r->c, now),
                         JSValueMakeBoolean(r->c, node), shims};
    return call(r, "open", 3, args) != NULL;
}

/* The script's own top level, and what it left. */
static bool start(struct engine *e, struct run *r, const struct kept *k)
{
    r->thrown = NULL;
    r->own = NULL;
    if (JSScriptEvaluate(r->c, k->script, NULL, &r->thrown))
        r->own = JSScriptEvaluate(r->c, e->lookup, NULL, &r->thrown);
    return r->own != NULL;
}

static void describe(struct run *r, struct buf *text)
{
    JSValueRef thrown = r->thrown;
    JSValueRef told = thrown ? call(r, "describe", 1, &thrown) : NULL;

    buf_clear(text);
    if (!told || !take_text(r->c, told, text))
        buf_z(text, "an exception without text");
}

static void put_question(struct buf *b, const struct wire_request *q)
{
    bool encode = q->function == SCRIPT_ENCODE_DOWNLINK;

    buf_printf(b, "{\"fPort\":%d,\"normalize\":%s,\"variables\":", q->port,
               q->normalize ? "true" : "false");
    buf_str(b, q->vars.n ? q->vars : STR("{}"));
    if (q->time_ms != INT64_MIN) {
        buf_printf(b, ",\"time\":%lld,\"timeText\":", (long long)q->time_ms);
        buf_json_str(b, q->time);
    }
    if (encode) {
        buf_z(b, ",\"data\":");
        buf_str(b, q->input);
    } else {
        buf_z(b, ",\"bytes\":[");
        for (size_t i = 0; i < q->input.n; i++)
            buf_printf(b, "%s%u", i ? "," : "", (uint8_t)q->input.p[i]);
        buf_z(b, "]");
    }
    buf_z(b, "}");
}

static struct wire_answer ask(struct run *r, const struct wire_request *q,
                              struct buf *text)
{
    static const char *const names[] = {"decodeUplink", "decodeDownlink",
                                        "encodeDownlink"};
    struct buf question = {0};

    put_question(&question, q);
    JSValueRef args[] = {r->own, js_value(r->c, str_of(names[q->function])),
                         js_value(r->c, buf_view(&question))};
    buf_done(&question);
    JSValueRef v = call(r, "run", 3, args);
    if (!v || !take_text(r->c, v, text) || text->n == 0)
        return (struct wire_answer){.status =
                                        v ? WIRE_TOO_LARGE : WIRE_EXCEPTION};
    struct str whole = buf_view(text);
    enum wire_status status = (enum wire_status)(*whole.p - '0');
    bool told = status == WIRE_OK || status == WIRE_EXCEPTION ||
                status == WIRE_NO_FUNCTION;
    return (struct wire_answer){.status = told ? status : WIRE_BAD_RESULT,
                                .text = {whole.p + 1, whole.n - 1}};
}

static struct wire_answer run_once(struct engine *e, const struct kept *k,
                                   const struct wire_request *q, bool node,
                                   struct buf *text)
{
    struct wire_answer a = {.status = WIRE_EXCEPTION,
                            .text = STR("the engine gave up")};
    struct run r = {0};

    buf_clear(text);
    if (context_open(e, &r, node, q->time_ms)) {
        if (start(e, &r, k)) {
            a = ask(&r, q, text);
        } else {
            describe(&r, text);
            a.text = buf_view(text);
        }
    }
    JSGlobalContextRelease(r.c);
    return a;
}

static bool says(struct str text, const char *z)
{
    return memmem(text.p, text.n, z, strlen(z)) != NULL;
}

/* It asked for what only Node or a browser has, or left nothing elsewhere. That
 * is given only then: most scripts look first, and do other things where it
 * exists. */
static bool wants_node(const struct wire_answer *a)
{
    static const char *const names[] = {
        "variable: module", "variable: exports", "variable: require",
        "variable: global", "variable: self",    "variable: window"};

    if (a->status == WIRE_NO_FUNCTION)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (a->status == WIRE_EXCEPTION && says(a->text, names[i]))
            return true;
    return false;
}

/* Some read recvTime without a look; where no time is known, it is now. */
static bool wants_time(const struct wire_answer *a,
                       const struct wire_request *q)
{
    return q->time_ms == INT64_MIN && a->status == WIRE_EXCEPTION &&
           says(a->text, "recvTime");
}

static struct wire_answer run(struct engine *e, struct kept *k,
                              const struct wire_request *asked,
                              struct buf *text)
{
    struct wire_request q = *asked;
    bool *needs = &k->node[q.function], node = *needs;

    for (;;) {
        struct wire_answer a = run_once(e, k, &q, node, text);
        if (e->verdict == WIRE_OK && !node && wants_node(&a)) {
            node = true;
        } else if (e->verdict == WIRE_OK && wants_time(&a, &q)) {
            q.time_ms = time(NULL) * 1000LL;
        } else {
            *needs = node && a.status == WIRE_OK;
            return a;
        }
    }
}

struct wire_answer engine_answer(struct engine *e, const struct wire_request *q,
                                 struct buf *text)
{
    if (q->op == WIRE_LOAD)
        return load(e, q, text);
    struct kept *k = find(e, &q->key);
    if (!k)
        return (struct wire_answer){.status = WIRE_MISSING};
    e->verdict = WIRE_OK;
    e->began_us = cpu_us();
    JSContextGroupSetExecutionTimeLimit(e->group, POLL_MS / 1000.0, over_limit,
                                        e);
    struct wire_answer a = run(e, k, q, text);
    JSContextGroupClearExecutionTimeLimit(e->group);
    if (e->verdict != WIRE_OK)
        a = (struct wire_answer){.status = e->verdict};
    a.cost_us = (uint32_t)(cpu_us() - e->began_us);
    return a;
}

bool engine_worn(const struct engine *e)
{
    return resident_mib(e) > KEEP_MIB;
}

struct engine *engine_new(void)
{
    /* No code is made at run time; one marker; a heap that collects early. */
    static const char *const options[][2] = {
        {"JSC_useJIT", "0"},
        {"JSC_useWasm", "0"},
        {"JSC_useSharedArrayBuffer", "0"},
        {"JSC_numberOfGCMarkers", "1"},
        {"JSC_forceRAMSize", "134217728"},
        {"TZ", "UTC"},
    };
    struct engine *e = mem_alloc(sizeof *e);
    struct buf error = {0};

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        setenv(options[i][0], options[i][1], 1);
    e->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    e->group = JSContextGroupCreate();
    e->prelude = compile(e->group, str_of(scripts_prelude), &error);
    e->shims = compile(e->group, str_of(scripts_shims), &error);
    e->lookup = compile(e->group, str_of(scripts_lookup), &error);
    buf_done(&error);
    if (e->statm < 0 || !e->prelude || !e->shims || !e->lookup)
        return NULL;
    return e;
}
