/*
 * decode_script.c - headend decode with a payload codec in JavaScript: one
 * codec-host for the whole run, each script and mapping file read once.
 */
#include "codecs/script/mapping.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include "server/cli/decode.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { TENANT_NONE = -1 }; /* the command line belongs to no tenant */

struct file {
    struct str path, text;
    struct hash128 key;
    struct mapping *mapping;
    struct str why; /* it cannot be used */
};

struct script_files {
    struct scripts *scripts;
    struct arena *arena;
    struct file *files;
    uint32_t n;
};

struct script_files *script_files_new(const struct settings *s)
{
    struct script_files *f = mem_alloc(sizeof *f);

    f->arena = arena_new(0);
    f->scripts =
        scripts_new(&(struct scripts_options){.program = s->codecs_host,
                                              .wall_ms = (int)s->codecs_wall_ms,
                                              .patient = true});
    return f;
}

void script_files_free(struct script_files *f)
{
    if (!f)
        return;
    scripts_free(f->scripts);
    arena_free(f->arena);
    free(f->files);
    free(f);
}

static struct str read_file(struct arena *a, struct str path, size_t most,
                            struct str *why)
{
    enum { PIECE = 16384 };
    struct str z = arena_str(a, path), text;
    struct buf b = {0};
    FILE *in = fopen(z.p, "re");
    size_t got = 1;

    while (in && got && b.n <= most) {
        got = fread(buf_room(&b, PIECE), 1, PIECE, in);
        b.n += got;
    }
    if (!in || ferror(in))
        *why = arena_printf(a, "cannot read %.*s: %s", STR_ARGS(path),
                            strerror(errno));
    else if (b.n > most)
        *why = arena_printf(a, "%.*s is larger than %zu bytes", STR_ARGS(path),
                            most);
    if (in)
        fclose(in);
    text = arena_str(a, buf_view(&b));
    buf_done(&b);
    return text;
}

static struct file *file_of(struct script_files *f, struct str path,
                            bool script)
{
    struct str why = {0};

    for (uint32_t i = 0; i < f->n; i++)
        if (str_eq(f->files[i].path, path))
            return &f->files[i];
    f->files = mem_grow(f->files, f->n + 1, sizeof *f->files);
    struct file *new = &f->files[f->n++];
    *new = (struct file){.path = arena_str(f->arena, path)};
    new->text =
        read_file(f->arena, path, script ? SCRIPT_MAX : MAPPING_MAX, &new->why);
    if (new->why.n)
        return new;
    if (script)
        new->key = script_key(TENANT_NONE, new->text);
    else if (mapping_read(f->arena, new->text, &new->mapping, &why) < 0)
        new->why = arena_printf(f->arena, "mapping %.*s: %.*s", STR_ARGS(path),
                                STR_ARGS(why));
    return new;
}

static void map(struct job *j, const struct mapping *m)
{
    struct str from =
        mapping_of_normalized(m) ? j->result.normalized : j->result.data;

    j->err = decoded_init(&j->d, j->arena);
    if (j->err == 0)
        j->err = mapping_apply(m, from, &j->d);
    if (j->err < 0)
        decode_refuse(j, j->err, j->d.error ? j->d.error : err_text(j->err));
}

static int64_t stamp_of(struct job *j, struct str text)
{
    struct stamp t;

    if (text.n == 0)
        return TIME_NONE;
    if (stamp_parse(text, &t) == 0 && t.has_zone)
        return t.us;
    decode_refuse(j, ERR_FORMAT, "recvTime is no RFC 3339 time with a zone");
    return TIME_NONE;
}

void decode_script(struct script_files *f, struct job *j,
                   const struct script_ask *q)
{
    struct file *script, *mapping = NULL;
    struct mapping *rules = NULL;

    if (!j->error.n && q->script.n == 0)
        decode_refuse(j, ERR_UNKNOWN, "codec ts013 needs the path of a script");
    int64_t time_us = stamp_of(j, q->time);
    if (j->error.n)
        return;
    if (q->mapping.n) {
        mapping = file_of(f, q->mapping, false);
        rules = mapping->mapping;
        j->error = mapping->why;
    }
    script = file_of(f, q->script, true);
    if (script->why.n)
        j->error = script->why;
    if (j->error.n)
        return;
    struct script_call c = {.key = script->key,
                            .source = script->text,
                            .function = q->function,
                            .port = q->port,
                            .input = q->input,
                            .time_us = time_us,
                            .time = q->time,
                            .vars = q->vars,
                            .normalize =
                                q->normalize || mapping_of_normalized(rules)};
    j->scripted = true;
    j->err = script_run(f->scripts, &c, j->arena, &j->result);
    if (j->err < 0)
        j->error = j->result.error;
    else if (rules || q->extras)
        map(j, rules);
}
