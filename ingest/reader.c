/*
 * reader.c - see reader.h. One call reads one block of one segment, or one
 * damaged stretch; empty ends of segments are passed over on the way.
 * Promises: each call that gives no record has reached `until`.
 */
#include "ingest/reader.h"
#include "ingest/segment.h"
#include "server/base/mem.h"
#include <stdlib.h>

enum {
    BLOCK_MIN = 4 * 1024,
    BLOCK_MAX = 64 * 1024 * 1024,
    BLOCK_SCAN = 1024 * 1024, /* at start-up */
};

struct reader {
    int dir;
    int64_t size, until;
    int64_t position; /* how far it has come */
    size_t block;     /* bytes of one read */
    uint32_t max_records;
    struct journal_chunk *chunk;
};

/* The part of one segment that holds records to be read. */
struct part {
    struct segment segment;
    int64_t offset, bound; /* no record reaches over bound */
    int64_t behind;        /* position that follows the part */
    bool last;             /* bound is `until`: all before it was written */
};

static void chunk_add(struct journal_chunk *c, struct journal_record record)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->records = mem_grow(c->records, c->cap, sizeof(*c->records));
    }
    c->records[c->n++] = record;
}

static int load(struct reader *r, const struct part *p, size_t n)
{
    buf_clear(&r->chunk->data);
    int e =
        segment_read(&p->segment, p->offset, buf_room(&r->chunk->data, n), n);
    if (e == 0)
        r->chunk->data.n = n;
    return e;
}

/* Nothing proves what lies at p->offset: it is shown as it is, up to the next
 * record. Zeros up to the end of a segment are no damage: it was left early. */
static int read_damaged(struct reader *r, const struct part *p)
{
    const struct segment *s = &p->segment;
    struct segment_stretch st;
    int e = segment_scan(s, p->offset, p->bound, &st);

    if (e < 0)
        return e;
    bool to_end = st.found == p->bound;
    if (to_end && !p->last && !s->headless && !s->cut_off)
        st.found = st.dirty;
    int64_t skipped = st.found - p->offset;
    if (skipped > 0) {
        size_t kept = skipped < DAMAGE_KEPT ? (size_t)skipped : DAMAGE_KEPT;
        e = load(r, p, kept);
        if (e < 0)
            return e;
        chunk_add(r->chunk, (struct journal_record){
                                .position = segment_position(s, p->offset),
                                .bytes = buf_view(&r->chunk->data),
                                .damaged = true,
                                .skipped = skipped,
                            });
    }
    r->position = to_end ? p->behind : segment_position(s, st.found);
    return 0;
}

/* Takes records from the block at p->offset until something else comes. */
static enum record_state take_records(struct reader *r, struct part *p)
{
    const uint8_t *at = r->chunk->data.p;
    size_t left = r->chunk->data.n;
    enum record_state state = RECORD_GOOD;

    while (r->chunk->n < r->max_records &&
           p->offset + RECORD_HEAD <= p->bound) {
        struct str bytes;
        state =
            segment_check(&p->segment, p->offset, p->bound, at, left, &bytes);
        if (state != RECORD_GOOD)
            break;
        chunk_add(r->chunk,
                  (struct journal_record){
                      .position = segment_position(&p->segment, p->offset),
                      .bytes = bytes,
                  });
        size_t space = record_space(bytes.n);
        p->offset += (int64_t)space;
        at += space;
        left -= space < left ? space : left;
    }
    return state;
}

static int read_part(struct reader *r, struct part *p)
{
    const size_t whole = record_space(RECORD_MAX);
    enum record_state state = RECORD_PARTIAL;

    for (size_t n = r->block; state == RECORD_PARTIAL && r->chunk->n == 0;
         n = whole) {
        int64_t left = p->bound - p->offset;
        int e = load(r, p, left < (int64_t)n ? (size_t)left : n);
        if (e < 0)
            return e;
        state = take_records(r, p);
    }
    if (state == RECORD_BAD && r->chunk->n == 0)
        return read_damaged(r, p);
    bool over = state == RECORD_END || p->offset + RECORD_HEAD > p->bound;
    r->position = over ? p->behind : segment_position(&p->segment, p->offset);
    return 0;
}

/* The segment is not there: everything up to the next that is counts as one
 * damaged stretch, of which no bytes are left. */
static int read_missing(struct reader *r)
{
    struct segment_numbers list;
    int64_t to = r->until;
    int e = segment_list(r->dir, "seg", &list);

    if (e < 0)
        return e;
    for (size_t i = 0; i < list.n; i++)
        if (list.v[i] * r->size > r->position && list.v[i] * r->size < to)
            to = list.v[i] * r->size;
    free(list.v);
    chunk_add(r->chunk, (struct journal_record){
                            .position = r->position,
                            .damaged = true,
                            .skipped = to - r->position,
                        });
    r->position = to;
    return 0;
}

static int read_some(struct reader *r)
{
    int64_t number = r->position / r->size;
    struct part p = {
        .offset = r->position % r->size,
        .last = r->until / r->size == number,
    };

    p.behind = p.last ? r->until : (number + 1) * r->size;
    p.bound = r->size - SEGMENT_HEAD;
    if (p.last && r->until % r->size < p.bound)
        p.bound = r->until % r->size & ~INT64_C(7);
    if (p.offset < SEGMENT_HEAD)
        p.offset = SEGMENT_HEAD;
    if (p.offset + RECORD_HEAD > p.bound) {
        r->position = p.behind;
        return 0;
    }
    int e = segment_open(r->dir, r->size, number, false, &p.segment);
    if (e == UV_ENOENT)
        return read_missing(r);
    if (e < 0)
        return e;
    e = read_part(r, &p);
    segment_close(&p.segment);
    return e;
}

int reader_read(int dir, int64_t segment_size, int64_t from, int64_t until,
                size_t max_bytes, uint32_t max_records,
                struct journal_chunk *chunk)
{
    struct reader r = {
        .dir = dir,
        .size = segment_size,
        .until = until,
        .position = from < 0 ? 0 : from & ~INT64_C(7),
        .block = max_bytes < BLOCK_MIN   ? BLOCK_MIN
                 : max_bytes > BLOCK_MAX ? BLOCK_MAX
                                         : max_bytes,
        .max_records = max_records ? max_records : 1,
        .chunk = chunk,
    };
    int e = 0;

    chunk->n = 0;
    while (e == 0 && r.position < until && chunk->n == 0)
        e = read_some(&r);
    chunk->next = r.position;
    return e;
}

int reader_segment_end(int dir, int64_t segment_size, int64_t number,
                       int64_t *ret)
{
    struct journal_chunk chunk = {.next = number * segment_size};
    int64_t until = (number + 1) * segment_size, end = SEGMENT_HEAD;
    int e = 0;

    while (e == 0 && chunk.next < until) {
        e = reader_read(dir, segment_size, chunk.next, until, BLOCK_SCAN,
                        UINT32_MAX, &chunk);
        for (uint32_t i = 0; e == 0 && i < chunk.n; i++) {
            const struct journal_record *rec = &chunk.records[i];
            if (!rec->damaged)
                end = rec->position % segment_size +
                      (int64_t)record_space(rec->bytes.n);
        }
    }
    journal_chunk_done(&chunk);
    if (e == 0)
        *ret = end;
    return e;
}

void journal_chunk_done(struct journal_chunk *chunk)
{
    buf_done(&chunk->data);
    free(chunk->records);
    *chunk = (struct journal_chunk){0};
}
