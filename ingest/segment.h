/*
 * segment.h - one file of the journal: its bytes on disk, and what can be said
 * about any stretch of them. Knows nothing of loops, batches or callbacks.
 * All of it blocks; any thread, as long as two do not write the same segment.
 *
 * Layout, little-endian, every record on a multiple of 8:
 *   0           header: magic, u32 version, u32 0, u64 number, u64 size,
 *               u64 salt, u32 CRC32C over all that, zeros up to 64
 *   64          records: u32 length, u32 CRC32C over (salt, position, length,
 *               bytes), u64 position XOR salt, bytes, zeros up to 8
 *   after them  an end mark (a record of length 0xffffffff without bytes; what
 *               stands before it was synced), or zeros, or what the file's
 *               former life left there
 *   size - 64   a copy of the header: one bad sector must not cost the salt,
 *               without which no record can be proven
 */
#pragma once

#include "server/base/buf.h"
#include <stdint.h>
#include <uv.h>

enum {
    SEGMENT_HEAD = 64,  /* at both ends */
    SEGMENT_NAME = 32,  /* of a file name with its NUL */
    SEGMENT_SPARES = 2, /* released files kept for the next segments */
    SEGMENT_NUMBER_MAX = 1 << 28, /* no position overflows */
    RECORD_HEAD = 16,
    RECORD_MAX = 512 * 1024,
};

struct segment {
    int fd; /* -1: none */
    int64_t number, size;
    uint64_t salt;
    bool headless; /* both headers damaged: nothing in it can be proven */
    bool cut_off;  /* the file is shorter than `size` */
};
#define SEGMENT_NONE ((struct segment){.fd = -1})

/* Bytes that a record of n bytes takes. */
static inline size_t record_space(size_t n)
{
    return (RECORD_HEAD + n + 7) & ~(size_t)7;
}
/* Records end here or before, so that an end mark always fits. */
static inline int64_t segment_limit(int64_t size)
{
    return size - SEGMENT_HEAD - RECORD_HEAD;
}
static inline int64_t segment_position(const struct segment *s, int64_t offset)
{
    return s->number * s->size + offset;
}

/* "0000000000000007.seg"; spare files end in ".spare". */
char *segment_name(int64_t number, const char *suffix, char out[SEGMENT_NAME]);

struct segment_numbers {
    int64_t *v; /* ascending; the caller's to free() */
    size_t n;
};
/* The files of that suffix in the directory. */
int segment_list(int dir, const char *suffix, struct segment_numbers *ret);
/* Each turns into a spare file while `*spares` is below SEGMENT_SPARES (and
 * counts there), else it goes. */
int segment_retire(int dir, int64_t number, int64_t size, uint32_t *spares);

/* Makes the file under a temporary name (from a spare one, if there is any and
 * use_spare is set; else new and zeroed), then names it: whatever bears the
 * name has a synced header. */
int segment_create(int dir, int64_t size, int64_t number, uint64_t salt,
                   bool use_spare, struct segment *ret);
int segment_open(int dir, int64_t size, int64_t number, bool to_write,
                 struct segment *ret);
void segment_close(struct segment *s);

/* Length and bytes of a record at p (record_space(bytes.n) bytes)... */
void record_put(uint8_t *p, struct str bytes);
/* ...and, once their place is known, position and checksum of all records that
 * lie in p[0..n). */
void segment_seal(const struct segment *s, int64_t offset, uint8_t *p,
                  size_t n);
int segment_write(const struct segment *s, int64_t offset, const uint8_t *p,
                  size_t n);
int segment_mark_end(const struct segment *s, int64_t offset);
int segment_sync(const struct segment *s);
/* Zeros from offset to the end, headers as new; synced. */
int segment_cut(struct segment *s, int64_t offset);

/* Bytes that are missing or that the disk cannot read are zeros in p. */
int segment_read(const struct segment *s, int64_t offset, uint8_t *p, size_t n);

enum record_state {
    RECORD_BAD, /* nothing that was written here as a record */
    RECORD_GOOD,
    RECORD_PARTIAL, /* may be one, but goes on behind p[n] */
    RECORD_END,     /* end mark: no further record in this segment */
};
/* What lies at `offset`, whose bytes are p[0..n); no record reaches over
 * `bound`. *bytes is set when good. */
enum record_state segment_check(const struct segment *s, int64_t offset,
                                int64_t bound, const uint8_t *p, size_t n,
                                struct str *bytes);

struct segment_stretch {
    int64_t found;   /* next record or end mark; bound if there is none */
    int64_t dirty;   /* behind the last byte before it that is not zero */
    int64_t claimed; /* behind the last broken record that was written for its
                        place; `from` if there is none */
};
/* Looks forward from a bad place. Time is linear in bound - from: what is not
 * ours does not pass the masked position, so it is never checksummed. */
int segment_scan(const struct segment *s, int64_t from, int64_t bound,
                 struct segment_stretch *ret);

static inline int sys_err(int e)
{
    return uv_translate_sys_error(e);
}
