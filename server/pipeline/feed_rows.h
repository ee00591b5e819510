/*
 * feed_rows.h - the inside of feed.c, for those who take what is sealed or
 * opens frames (feed_keys.c).
 */
#pragma once

#include "server/pipeline/feed.h"

/* What was read up to where; the next round asks from there on. */
struct mark {
    char since[24], upto[24]; /* xid8 */
    uint32_t rows;            /* of this round */
};

struct feed {
    uv_loop_t *loop;
    struct pg_pool *pool;
    struct directory *directory;
    struct vault *vault;
    const char *master_file;
    void (*loaded)(void *);
    void *arg;
    struct ticker *soon;
    struct scripts *scripts;
    struct mark meters, codecs, keys, formats;
    uint64_t began; /* the oldest `since` of what the last round brought */
    uint32_t news;  /* rows of meters, keys and record lists in it */
    int step;
    bool running, again, first_done, stopped;
    bool missing;  /* a master key that the database names is not here ... */
    bool reread;   /* ... although this round has read the file again */
    bool unopened; /* a meter's key did not open: read it again next time */
    struct masters *fresh;
    struct integration *list;
    uint32_t n, cap;
};

static inline const char *feed_cell(const PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column) ? NULL : PQgetvalue(res, row, column);
}

/* Rows of the steps. */
void feed_tenant_key(void *arg, const PGresult *res, int row);
void feed_meter_key(void *arg, const PGresult *res, int row);
void feed_format(void *arg, const PGresult *res, int row);
void feed_tenant(void *arg, const PGresult *res, int row);
/* The password of an integration's row, on the heap; NULL where there is none,
 * or none that opens. One in clear is sealed. */
char *feed_password(struct feed *f, const PGresult *res, int row,
                    int32_t tenant);
