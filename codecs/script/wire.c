/*
 * wire.c - records of wire.h to bytes and back.
 */
#include "codecs/script/wire.h"
#include "server/base/err.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 4 };

static size_t begin(struct buf *b)
{
    buf_u32(b, 0);
    return b->n;
}

static void end(struct buf *b, size_t at)
{
    uint32_t n = (uint32_t)(b->n - at);

    for (int i = 0; i < HEAD; i++)
        b->p[at - HEAD + (size_t)i] = (uint8_t)(n >> (8 * i));
}

static void put_str(struct buf *b, struct str s)
{
    buf_u32(b, (uint32_t)s.n);
    buf_str(b, s);
}

static struct str get_str(struct bytes *in)
{
    uint32_t n = bytes_u32(in);
    const uint8_t *p = bytes_take(in, n);

    return (struct str){(const char *)p, p ? n : 0};
}

void wire_put_request(struct buf *b, const struct wire_request *q)
{
    size_t at = begin(b);

    buf_u8(b, (uint8_t)q->op);
    buf_put(b, q->key.b, sizeof q->key.b);
    if (q->op == WIRE_LOAD) {
        put_str(b, q->script);
    } else {
        buf_u8(b, (uint8_t)q->function);
        buf_u8(b, q->normalize);
        buf_u8(b, (uint8_t)q->port);
        buf_u64(b, (uint64_t)q->time_ms);
        put_str(b, q->time);
        put_str(b, q->input);
        put_str(b, q->vars);
    }
    end(b, at);
}

int wire_get_request(struct str body, struct wire_request *ret)
{
    struct bytes in = bytes_of(body.p, body.n);
    struct wire_request q = {.op = (enum wire_op)bytes_u8(&in)};
    const uint8_t *key = bytes_take(&in, sizeof q.key.b);

    if (key)
        memcpy(q.key.b, key, sizeof q.key.b);
    if (q.op == WIRE_LOAD) {
        q.script = get_str(&in);
    } else {
        q.function = (enum script_function)bytes_u8(&in);
        q.normalize = bytes_u8(&in);
        q.port = bytes_u8(&in);
        q.time_ms = (int64_t)bytes_u64(&in);
        q.time = get_str(&in);
        q.input = get_str(&in);
        q.vars = get_str(&in);
    }
    if (in.ran_out)
        return ERR_SHORT;
    if (bytes_left(&in) || (q.op != WIRE_LOAD && q.op != WIRE_RUN) ||
        q.function >= SCRIPT_FUNCTIONS)
        return ERR_FORMAT;
    *ret = q;
    return 0;
}

void wire_put_answer(struct buf *b, const struct wire_answer *a)
{
    size_t at = begin(b);

    buf_u8(b, (uint8_t)a->status);
    buf_u32(b, a->cost_us);
    buf_str(b, a->text);
    end(b, at);
}

int wire_get_answer(struct str body, struct wire_answer *ret)
{
    struct bytes in = bytes_of(body.p, body.n);
    enum wire_status status = (enum wire_status)bytes_u8(&in);
    uint32_t cost_us = bytes_u32(&in);

    if (in.ran_out)
        return ERR_SHORT;
    if (status >= WIRE_STATUSES)
        return ERR_FORMAT;
    *ret = (struct wire_answer){
        status, cost_us, {(const char *)in.p, bytes_left(&in)}};
    return 0;
}

int wire_write(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes.p += n;
        bytes.n -= (size_t)n;
    }
    return 0;
}

/* Reads on until the buffer holds n bytes. */
static int fill(int fd, struct buf *b, size_t n, int (*wait)(void *), void *arg)
{
    while (b->n < n) {
        int err = wait ? wait(arg) : 0;
        if (err < 0)
            return err;
        ssize_t got = read(fd, buf_room(b, n - b->n), n - b->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return 0;
        b->n += (size_t)got;
    }
    return 1;
}

int wire_read(int fd, struct buf *b, int (*wait)(void *arg), void *arg)
{
    buf_clear(b);
    int r = fill(fd, b, HEAD, wait, arg);
    if (r <= 0)
        return r;
    struct bytes head = bytes_of(b->p, b->n);
    uint32_t n = bytes_u32(&head);
    if (n > WIRE_MAX)
        return ERR_FULL;
    buf_clear(b);
    return n ? fill(fd, b, n, wait, arg) : 1;
}
