/*
 * script.c - a call: take a free host -> ask (load first where it does not know
 * the script) -> give it back; what a script costs is kept against its key.
 */
#include "codecs/script/script.h"
#include "codecs/script/host.h"
#include "server/base/clock.h"
#include "server/base/err.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOST_MAX = 4, CRASHED_MAX = 2 };
/* A frame may compute for FREE_US; what is above is taken from what its script
 * has to spare, which grows by a tenth of the time that passes. */
enum { FREE_US = 10000, SPARE_MAX_US = 5000000, SPARE_SHARE = 10 };

/* Scripts that were slow, or cost a host. */
struct strikes {
    struct hash128 key;
    int kills;
    int64_t spare_us, at_us; /* as of then */
};

struct scripts {
    char *program;
    int wall_ms;
    bool patient;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t free_host;
    struct host *hosts;
    bool *busy;
    int n;
    struct strikes *strikes;
    uint32_t n_strikes;
};

/* codec-host beside this executable. */
static char *beside(void)
{
    char path[4096] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    char *slash = n > 0 ? strrchr(path, '/') : NULL;

    snprintf(slash ? slash + 1 : path, 16, "codec-host");
    return mem_strdup(path);
}

struct scripts *scripts_new(const struct scripts_options *o)
{
    struct scripts *s = mem_alloc(sizeof *s);

    s->program = o->program && *o->program ? mem_strdup(o->program) : beside();
    s->wall_ms = o->wall_ms > 0 ? o->wall_ms : 500;
    s->patient = o->patient;
    s->n = o->hosts > 0 ? o->hosts : 1;
    s->hosts = mem_alloc((size_t)s->n * sizeof *s->hosts);
    s->busy = mem_alloc((size_t)s->n * sizeof *s->busy);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->free_host, NULL);
    return s;
}

void scripts_free(struct scripts *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        host_stop(&s->hosts[i]);
    pthread_cond_destroy(&s->free_host);
    pthread_mutex_destroy(&s->lock);
    free(s->strikes);
    free(s->busy);
    free(s->hosts);
    free(s->program);
    free(s);
}

struct hash128 script_key(int32_t tenant_id, struct str source)
{
    struct buf b = {0};

    buf_u32(&b, (uint32_t)tenant_id);
    buf_str(&b, source);
    struct hash128 key = hash128(b.p, b.n);
    buf_done(&b);
    return key;
}

/* ---- hosts and strikes ---- */

static struct host *host_take(struct scripts *s)
{
    int i = 0;

    pthread_mutex_lock(&s->lock);
    while (i < s->n && s->busy[i]) {
        if (++i < s->n)
            continue;
        pthread_cond_wait(&s->free_host, &s->lock);
        i = 0;
    }
    s->busy[i] = true;
    pthread_mutex_unlock(&s->lock);
    return &s->hosts[i];
}

static void host_give(struct scripts *s, const struct host *h)
{
    pthread_mutex_lock(&s->lock);
    s->busy[h - s->hosts] = false;
    pthread_cond_signal(&s->free_host);
    pthread_mutex_unlock(&s->lock);
}

/* Under the lock. NULL: nothing is held against it, and `make` was not said. */
static struct strikes *strikes_of(struct scripts *s, const struct hash128 *key,
                                  bool make)
{
    int64_t now_us = clock_mono(&clock_system);
    struct strikes *found = NULL;

    for (uint32_t i = 0; i < s->n_strikes && !found; i++)
        if (memcmp(&s->strikes[i].key, key, sizeof *key) == 0)
            found = &s->strikes[i];
    if (!found && make) {
        s->strikes = mem_grow(s->strikes, s->n_strikes + 1, sizeof *s->strikes);
        found = &s->strikes[s->n_strikes++];
        *found = (struct strikes){*key, 0, SPARE_MAX_US, now_us};
    }
    if (found) {
        found->spare_us += (now_us - found->at_us) / SPARE_SHARE;
        if (found->spare_us > SPARE_MAX_US)
            found->spare_us = SPARE_MAX_US;
        found->at_us = now_us;
    }
    return found;
}

/* One kill more; how many. */
static int strike(struct scripts *s, const struct hash128 *key)
{
    pthread_mutex_lock(&s->lock);
    int kills = ++strikes_of(s, key, true)->kills;
    pthread_mutex_unlock(&s->lock);
    return kills;
}

static void charge(struct scripts *s, const struct hash128 *key,
                   uint32_t cost_us)
{
    if (cost_us <= FREE_US || s->patient)
        return;
    pthread_mutex_lock(&s->lock);
    strikes_of(s, key, true)->spare_us -= cost_us - FREE_US;
    pthread_mutex_unlock(&s->lock);
}

/* Why it is not run at all; NULL: it is. */
static const char *barred(struct scripts *s, const struct hash128 *key)
{
    pthread_mutex_lock(&s->lock);
    const struct strikes *k = strikes_of(s, key, false);
    const char *why = !k ? NULL
                      : k->kills >= SCRIPT_KILLS_MAX
                          ? "the codec is quarantined: codec-host had to be"
                            " replaced three times because of it; upload a"
                            " corrected version"
                      : k->spare_us < 0
                          ? "the codec is too slow: its frames computed for"
                            " more than 10 ms each, too often"
                          : NULL;
    pthread_mutex_unlock(&s->lock);
    return why;
}

/* ---- one call ---- */

static enum host_end ask(struct scripts *s, struct host *h,
                         const struct script_call *c, struct wire_answer *ret)
{
    struct wire_request q = {
        .op = WIRE_RUN,
        .key = c->key,
        .script = c->source,
        .function = c->function,
        .normalize = c->normalize,
        .port = c->port,
        .time_ms = c->time_us == TIME_NONE ? INT64_MIN : c->time_us / 1000,
        .time = c->time,
        .input = c->input,
        .vars = c->vars};
    enum host_end end = host_ask(h, s->program, s->wall_ms, &q, ret);

    if (end != HOST_ANSWERED || ret->status != WIRE_MISSING)
        return end;
    q.op = WIRE_LOAD;
    end = host_ask(h, s->program, s->wall_ms, &q, ret);
    if (end != HOST_ANSWERED || ret->status != WIRE_LOADED)
        return end;
    q.op = WIRE_RUN;
    return host_ask(h, s->program, s->wall_ms, &q, ret);
}

/* Asks again while it is not the script's doing, once more after a crash. */
static enum host_end ask_again(struct scripts *s, struct host *h,
                               const struct script_call *c,
                               struct wire_answer *ret)
{
    int lost = 0, crashed = 0;

    for (;;) {
        enum host_end end = ask(s, h, c, ret);
        if (end == HOST_ANSWERED || end == HOST_ABSENT)
            return end;
        if (end == HOST_LOST)
            log_warning("codec-host was lost", "attempt=%d", lost + 1);
        if (end == HOST_LOST || end == HOST_RETIRED) {
            if (++lost < LOST_MAX)
                continue;
            return HOST_LOST;
        }
        int kills = strike(s, &c->key);
        log_warning("codec-host replaced", "reason=%s kills=%d",
                    end == HOST_HUNG  ? "hung"
                    : end == HOST_FAT ? "memory"
                                      : "crashed",
                    kills);
        if (end != HOST_CRASHED || ++crashed >= CRASHED_MAX ||
            kills >= SCRIPT_KILLS_MAX)
            return end;
    }
}

static struct str line(struct str *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct str s = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
    size_t used = end ? s.n + 1 : s.n;

    *rest = (struct str){rest->p + used, rest->n - used};
    return s;
}

/* The script's own errors, joined. */
static struct str joined(struct arena *a, struct str errors)
{
    struct json *list = NULL;
    struct json_error why;
    struct str all = {0};

    if (!errors.n ||
        json_parse(a, errors, (struct json_limits){0}, &list, &why) < 0)
        return errors;
    json_each (e, list) {
        struct str one = e->type == JSON_STRING ? e->text : errors;
        all = all.n
                  ? arena_printf(a, "%.*s; %.*s", STR_ARGS(all), STR_ARGS(one))
                  : one;
    }
    return all;
}

static int take_result(struct arena *a, struct str text,
                       struct script_result *ret)
{
    struct str rest = arena_str(a, text);

    if (!rest.p)
        return ERR_FULL;
    ret->data = line(&rest);
    ret->errors = line(&rest);
    ret->warnings = line(&rest);
    ret->normalized = rest;
    ret->error = joined(a, ret->errors);
    return ret->error.n ? ERR_FORMAT : 0;
}

/* What a status that is no result means. */
static const struct {
    int err;
    const char *text; /* before the answer's own text */
} meanings[WIRE_STATUSES] = {
    [WIRE_SYNTAX] = {ERR_FORMAT, "the script does not compile: "},
    [WIRE_EXCEPTION] = {ERR_FORMAT, "the script threw "},
    [WIRE_NO_FUNCTION] = {ERR_UNSUPPORTED, ""},
    [WIRE_BAD_RESULT] = {ERR_FORMAT, ""},
    [WIRE_TIME] = {ERR_FULL, "the script was stopped: it computed for more than"
                             " 100 ms"},
    [WIRE_MEMORY] = {ERR_FULL, "the script was stopped: it took too much"
                               " memory"},
    [WIRE_TOO_LARGE] = {ERR_FULL, "the script's result is larger than 256 KiB"},
};

static const struct {
    int err;
    const char *text;
} ends[] = {
    [HOST_HUNG] = {ERR_FULL, "the script did not stop and its codec-host was"
                             " killed"},
    [HOST_FAT] = {ERR_FULL, "the script took too much memory and its codec-host"
                            " was killed"},
    [HOST_CRASHED] = {ERR_FULL, "codec-host crashed on this frame"},
    [HOST_LOST] = {ERR_AWAY, "codec-host was lost again and again"},
    [HOST_ABSENT] = {ERR_AWAY, "codec-host cannot be started"},
};

static int fail(struct script_result *ret, int err, struct str text)
{
    ret->error = text;
    return err;
}

int script_run(struct scripts *s, const struct script_call *c, struct arena *a,
               struct script_result *ret)
{
    struct wire_answer w = {0};
    int err;

    *ret = (struct script_result){0};
    if (c->source.n > SCRIPT_MAX || c->input.n > SCRIPT_RESULT_MAX ||
        c->vars.n > SCRIPT_RESULT_MAX)
        return fail(ret, ERR_FULL, STR("script over 1 MiB, or input too long"));
    const char *why = barred(s, &c->key);
    if (why) {
        ret->barred = true;
        return fail(ret, ERR_UNSUPPORTED, str_of(why));
    }
    struct host *h = host_take(s);
    enum host_end end = ask_again(s, h, c, &w);
    if (end != HOST_ANSWERED)
        err = fail(ret, ends[end].err, str_of(ends[end].text));
    else if (w.status == WIRE_OK)
        err = take_result(a, w.text, ret);
    else if (meanings[w.status].err)
        err = fail(ret, meanings[w.status].err,
                   arena_printf(a, "%s%.*s", meanings[w.status].text,
                                STR_ARGS(w.text)));
    else
        err = fail(ret, ERR_AWAY, STR("codec-host answered out of turn"));
    ret->cost_us = w.cost_us;
    ret->unusable = end == HOST_ANSWERED &&
                    (w.status == WIRE_SYNTAX || w.status == WIRE_NO_FUNCTION);
    host_give(s, h);
    charge(s, &c->key, end == HOST_ANSWERED ? w.cost_us : 0);
    return err;
}
