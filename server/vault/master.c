/*
 * master.c - see master.h.
 */
#include "server/vault/master.h"
#include "server/base/err.h"
#include "server/base/hex.h"
#include "server/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 8192, HEX = 2 * VAULT_KEY };

struct masters *masters_new(void)
{
    struct masters *m = sodium_malloc(sizeof *m);

    if (!m)
        abort(); /* as mem_alloc: out of (locked) memory */
    m->n = 0;
    return m;
}

void masters_free(struct masters *m)
{
    sodium_free(m);
}

static void name_of(struct master *k)
{
    uint8_t hash[8 + 8]; /* 16 is BLAKE2b's least */

    crypto_generichash(hash, sizeof hash, k->key, VAULT_KEY,
                       (const uint8_t *)"headend master key", 18);
    hex_encode(hash, 8, k->name);
}

int masters_add(struct masters *m)
{
    if (m->n == MASTER_KEYS)
        return ERR_FULL;
    memmove(&m->list[1], &m->list[0], m->n * sizeof m->list[0]);
    m->n++;
    randombytes_buf(m->list[0].key, VAULT_KEY);
    name_of(&m->list[0]);
    return 0;
}

static int take_line(struct masters *m, struct str line)
{
    struct master *k = &m->list[m->n];

    if (line.n == 0 || *line.p == '#')
        return 0;
    if (m->n == MASTER_KEYS)
        return ERR_FULL;
    if (line.n != HEX || hex_decode(line, k->key, VAULT_KEY) != VAULT_KEY)
        return ERR_FORMAT;
    name_of(k);
    m->n += masters_find(m, k->name) == NULL;
    return 0;
}

int masters_parse(struct masters *m, struct str text, char error[MASTER_ERROR])
{
    for (int number = 1; text.n > 0; number++) {
        const char *end = memchr(text.p, '\n', text.n);
        struct str line = {text.p, end ? (size_t)(end - text.p) : text.n};
        size_t taken = line.n + (end != NULL);
        int r = take_line(m, str_trim(line));

        if (r < 0) {
            snprintf(error, MASTER_ERROR,
                     r == ERR_FULL ? "line %d: more than %d keys"
                                   : "line %d: a key is %d hex digits",
                     number, r == ERR_FULL ? MASTER_KEYS : HEX);
            return r;
        }
        text = (struct str){text.p + taken, text.n - taken};
    }
    if (m->n > 0)
        return 0;
    snprintf(error, MASTER_ERROR, "there is no key in it");
    return ERR_FORMAT;
}

const struct master *masters_find(const struct masters *m, const char *name)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (strcmp(m->list[i].name, name) == 0)
            return &m->list[i];
    return NULL;
}

/* ---- environment and file ---- */

/* Wiped where the kernel shows it (/proc/PID/environ) as well. */
static int take_variable(struct masters *m, char error[MASTER_ERROR])
{
    char *text = getenv(MASTER_VARIABLE);
    char why[MASTER_ERROR];

    if (!text)
        return ERR_UNKNOWN;
    for (char *p = text; *p; p++)
        if (*p == ',')
            *p = '\n';
    int r = masters_parse(m, str_of(text), why);
    sodium_memzero(text, strlen(text));
    unsetenv(MASTER_VARIABLE);
    if (r < 0)
        snprintf(error, MASTER_ERROR, MASTER_VARIABLE ": %.200s", why);
    return r;
}

static int check_mode(int fd, const char *path, char error[MASTER_ERROR])
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_mode & 077) == 0)
        return 0;
    snprintf(error, MASTER_ERROR,
             "keys.master_file %.120s: others may read it (mode %o); "
             "chmod 600 it",
             path, (unsigned)st.st_mode & 0777);
    return ERR_CONFLICT;
}

static int read_file(struct masters *m, int fd, const char *path,
                     char error[MASTER_ERROR])
{
    char text[FILE_MAX], why[MASTER_ERROR];
    size_t n = 0;
    ssize_t got = 1;
    int r = check_mode(fd, path, error);

    while (r == 0 && got > 0 && n < sizeof text) {
        got = read(fd, text + n, sizeof text - n);
        n += got > 0 ? (size_t)got : 0;
    }
    if (r == 0) {
        r = got != 0 ? ERR_FORMAT
                     : masters_parse(m, (struct str){text, n}, why);
        if (r < 0)
            snprintf(error, MASTER_ERROR, "keys.master_file %.120s: %.100s",
                     path, got != 0 ? "cannot be read, or is too long" : why);
    }
    sodium_memzero(text, sizeof text);
    return r;
}

int masters_load(struct masters *m, const char *path, char error[MASTER_ERROR])
{
    m->n = 0;
    int r = take_variable(m, error);

    if (r != ERR_UNKNOWN || !path || !*path)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ERR_UNKNOWN;
    if (fd < 0) {
        snprintf(error, MASTER_ERROR, "keys.master_file %.120s: %s", path,
                 strerror(errno));
        return ERR_FORMAT;
    }
    r = read_file(m, fd, path, error);
    close(fd);
    return r;
}

static int sync_folder(const char *path)
{
    char copy[1024];

    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

static int write_keys(const struct masters *m, int fd)
{
    static const char head[] =
        "# Master keys of headend, made by `headend keys`. Whoever has them\n"
        "# and the database can read every secret; without them nobody can.\n";
    struct buf text = {0};
    char hex[HEX + 1];

    buf_z(&text, head);
    for (uint32_t i = 0; i < m->n; i++) {
        buf_z(&text, hex_encode(m->list[i].key, VAULT_KEY, hex));
        buf_u8(&text, '\n');
    }
    ssize_t put = write(fd, text.p, text.n);
    int r = put == (ssize_t)text.n ? 0 : put < 0 ? -errno : -ENOSPC;
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    sodium_memzero(text.p, text.n);
    sodium_memzero(hex, sizeof hex);
    buf_done(&text);
    return r;
}

int masters_write(const struct masters *m, const char *path, bool fresh)
{
    char beside[1024];

    snprintf(beside, sizeof beside, "%s.new", path);
    if (strlen(path) + 5 > sizeof beside)
        return -ENAMETOOLONG;
    unlink(beside); /* of a run that was killed */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = write_keys(m, fd);
    close(fd);
    /* link() refuses what is there already, rename() replaces it. */
    if (r == 0 && (fresh ? link(beside, path) : rename(beside, path)) < 0)
        r = -errno;
    if (fresh || r < 0)
        unlink(beside);
    return r < 0 ? r : sync_folder(path);
}
