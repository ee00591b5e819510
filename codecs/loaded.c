/*
 * loaded.c - see loaded.h. A loaded codec is trusted code: it runs inside the
 * server with all its rights, and what it does wrong, the server does. What is
 * checked here guards against mistakes, not against malice.
 */
#include "codecs/loaded.h"
#include "server/base/err.h"
#include "server/base/mem.h"
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { NAME_MOST = 31, CHECK_ARENA = 64 << 20 };
static const char symbol[] = "headend_codec";

static struct codec_file files[CODECS_MAX];
static uint32_t n_files;

static void refuse(struct codec_file *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse(struct codec_file *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->why, sizeof f->why, fmt, ap);
    va_end(ap);
}

static bool is_safe(struct codec_file *f)
{
    struct stat st;

    if (stat(f->path, &st) != 0)
        refuse(f, "cannot be read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        refuse(f, "not a file");
    else if (st.st_mode & S_IWOTH)
        refuse(f, "everyone may write to it: chmod o-w");
    return !*f->why;
}

static bool is_name(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++) {
        bool dash = name[i] == '-' && i > 0 && i + 1 < n;
        if (!islower((unsigned char)name[i]) &&
            !isdigit((unsigned char)name[i]) && !dash)
            return false;
    }
    return n > 0 && n <= NAME_MOST;
}

/* The handshake: nothing but `abi` is read before it fits. */
static bool is_well_formed(struct codec_file *f, const struct codec *c)
{
    if (c->abi != CODEC_ABI)
        refuse(f, "codec ABI %u, this program speaks %u: build it again",
               c->abi, CODEC_ABI);
    else if (!c->name || !is_name(c->name))
        refuse(f,
               "codec name \"%.40s\": lower-case letters, digits and inner"
               " hyphens, at most %d",
               c->name ? c->name : "", NAME_MOST);
    else if (!c->title || !c->source || !c->decode || c->version == 0)
        refuse(f, "%s: title, source, decode or version is missing", c->name);
    else if ((unsigned)c->medium >= MEDIUM_COUNT)
        refuse(f, "%s: medium %d is none", c->name, (int)c->medium);
    else if (!c->vectors || !c->vectors->name)
        refuse(f, "%s: no vectors; a codec proves itself", c->name);
    return !*f->why;
}

static bool holds(struct codec_file *f, const struct codec *c)
{
    struct arena *arena = arena_new(CHECK_ARENA);

    for (const struct codec_vector *v = c->vectors; v->name && !*f->why; v++) {
        struct str got = {0};
        arena_reset(arena);
        if (codec_check(c, v, arena, &got) < 0)
            refuse(f, "%s: vector \"%s\" fails: got \"%.*s\"", c->name, v->name,
                   STR_ARGS(got));
    }
    arena_free(arena);
    return !*f->why;
}

static void load(struct codec_file *f)
{
    void *object = is_safe(f) ? dlopen(f->path, RTLD_NOW | RTLD_LOCAL) : NULL;
    const struct codec *c = object ? dlsym(object, symbol) : NULL;
    const struct codec *same;

    if (*f->why)
        return;
    if (!object)
        refuse(f, "%s", dlerror());
    else if (!c)
        refuse(f, "exports no `%s`", symbol);
    else if (is_well_formed(f, c) && (same = codec_find(str_of(c->name))))
        refuse(f, "%s: the name is taken (%s)", c->name, codec_origin(same));
    else if (!*f->why && holds(f, c) && codec_add(c) < 0)
        refuse(f, "%s: more than %d codecs", c->name, CODECS_MAX);
    if (!*f->why)
        f->codec = c;
    else if (object)
        dlclose(object);
}

static int is_object(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 3 && e->d_name[0] != '.' &&
           strcmp(e->d_name + n - 3, ".so") == 0;
}

int codec_load_dir(const char *dir)
{
    struct dirent **names;
    int refused = 0, n = *dir ? scandir(dir, &names, is_object, alphasort) : 0;

    if (n < 0)
        return ERR_UNKNOWN;
    for (int i = 0; i < n; i++) {
        if (n_files < CODECS_MAX) {
            struct codec_file *f = &files[n_files++];
            size_t size = strlen(dir) + strlen(names[i]->d_name) + 2;
            char *path = mem_alloc(size);
            snprintf(path, size, "%s/%s", dir, names[i]->d_name);
            f->path = path;
            load(f);
            refused += f->codec == NULL;
        }
        free(names[i]);
    }
    if (*dir)
        free(names);
    return refused;
}

const struct codec_file *codec_files(uint32_t *n)
{
    *n = n_files;
    return files;
}

const char *codec_origin(const struct codec *c)
{
    for (uint32_t i = 0; i < n_files; i++) {
        if (files[i].codec == c)
            return files[i].path;
    }
    return "built in";
}
